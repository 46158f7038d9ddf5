"""What a message needs decides over it, and nothing else (RFC 3261, section 8.2.2)."""

import pytest

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.message import Oddity, SipRequest, SipResponse, encode
from connectors.sip.message.parser import parse_datagram
from connectors.sip.uas import Answer, Ended, EndReason
from tests.connectors.sip.peers import ANSWER, OFFER, Caller, answer_to, line, only

UNREADABLE = [
    ("Supported", "a b, timer"),
    ("Allow", "(INVITE), ACK"),
    ("Route", "<sip:192.0.2.9"),
    ("Route", "sip:a b@c"),
    ("Route", '"x <sip:a@b>'),
    ("Accept", "application/"),
    ("Content-Disposition", 'session;handling="optional'),
    ("Content-Encoding", "g zip"),
    ("Max-Forwards", "seventy"),
    ("Max-Forwards", "-1"),
]
"""Never needed here, and known by their names."""

EMPTY_ELEMENTS = [
    ("Supported", ",outbound"),
    ("Supported", "timer,,replaces , "),
    ("Allow", "INVITE, ACK, BYE,"),
    ("Accept", "application/sdp,"),
    ("Accept", ",application/sdp;"),
    ("Route", "<sip:192.0.2.9;lr>,"),
    ("Max-Forwards", "70;"),
]
"""The same with one plain meaning."""

UNREAD = [
    ("Date", "yesterday"),
    ("Privacy", ";;,"),
    ("User-Agent", '"(<'),
    ("Reason", ';cause="'),
    ("Subject", ""),
    ("P-Asserted-Identity", "<sip:"),
    ("Identity", ";;;"),
    ("Timestamp", "now"),
    ("Session-Expires", "soon"),
    ("Min-SE", "-"),
    ("Retry-After", "later"),
    ("Authorization", "Digest ,"),
    ("Geolocation", "<"),
    ("X-Anything", ';,<">'),
]
"""Text, or read where somebody needs it."""

BEGINS_ONLY = [
    ("Contact", "<>"),
    ("Contact", "nobody"),
    ("Contact", '"x <sip:a@b>'),
    ("Record-Route", "garbage here"),
    ("Record-Route", "<sip:a b>"),
    ("Content-Type", "sdp"),
]
"""Needed by an INVITE that begins a call, or with a body, alone."""

DECIDES_NOTHING = UNREADABLE + EMPTY_ELEMENTS + UNREAD


def with_field(request: SipRequest, name: str, value: str) -> SipRequest:
    request.headers.set(name, value)
    return request


@pytest.mark.parametrize("method", ["BYE", "OPTIONS", "UPDATE", "INFO", "INVITE"])
@pytest.mark.parametrize(("name", "value"), DECIDES_NOTHING + BEGINS_ONLY)
def test_request_of_a_running_call_is_done_whatever_its_other_fields_say(method: str, name: str, value: str) -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    body = OFFER if method == "INVITE" and name != "Content-Type" else b""
    answers = server.put(with_field(caller.request(method, body), name, value))
    if method == "INVITE":
        server.uas.calls.accept(call, Answer(ANSWER, is_offer=not body), server.now)
        answers = server.collect()
    assert only(answers).status == 200
    assert len(server.uas.calls) == (0 if method == "BYE" else 1)


@pytest.mark.parametrize("value", ["a b", '"', ",;,"])
def test_bye_and_ack_are_done_whatever_they_require(value: str) -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER)
    server.put(invite)
    server.uas.calls.accept(server.incoming(), Answer(ANSWER), server.now)
    caller.learn(only(server.collect()))
    server.put(with_field(caller.ack(invite), "Require", value))
    assert server.wait(10) == []
    assert only(server.put(with_field(caller.request("BYE"), "Require", value))).status == 200
    assert server.uas.stats.ignored_headers["Require"] == 2


@pytest.mark.parametrize(("name", "value"), DECIDES_NOTHING + BEGINS_ONLY)
def test_ack_ends_the_repetition_of_the_200_whatever_its_other_fields_say(name: str, value: str) -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER)
    server.put(invite)
    server.uas.calls.accept(server.incoming(), Answer(ANSWER), server.now)
    caller.learn(only(server.collect()))
    server.put(with_field(caller.ack(invite), name, value))
    assert server.wait(40) == []
    assert len(server.uas.calls) == 1


@pytest.mark.parametrize(("name", "value"), DECIDES_NOTHING + BEGINS_ONLY)
def test_cancel_is_done_whatever_its_other_fields_say(name: str, value: str) -> None:
    server = line()
    caller = Caller(server)
    server.put(caller.request("INVITE", OFFER, branch="z9hG4bKsame"))
    server.incoming()
    cancel = with_field(caller.request("CANCEL", cseq=1, branch="z9hG4bKsame"), name, value)
    answers = [one.status for one in server.put(cancel) if isinstance(one, SipResponse)]
    assert answers == [200, 487]


@pytest.mark.parametrize(("name", "value"), DECIDES_NOTHING)
def test_call_begins_whatever_fields_that_it_does_not_need_say(name: str, value: str) -> None:
    server = line()
    answers = server.put(with_field(Caller(server).request("INVITE", OFFER), name, value))
    assert answers == []
    assert server.incoming().request.headers.get(name) == value.strip()


@pytest.mark.parametrize(("name", "value"), DECIDES_NOTHING + BEGINS_ONLY)
def test_options_outside_of_a_call_is_answered_whatever_its_other_fields_say(name: str, value: str) -> None:
    server = line()
    assert only(server.put(with_field(Caller(server).request("OPTIONS"), name, value))).status == 200


@pytest.mark.parametrize(
    ("method", "status"),
    [("REFER", 603), ("NOTIFY", 405), ("MESSAGE", 405), ("SUBSCRIBE", 405), ("PUBLISH", 405), ("FETCH", 501)],
)
@pytest.mark.parametrize(("name", "value"), DECIDES_NOTHING + BEGINS_ONLY)
def test_method_that_is_not_done_is_refused_for_that(method: str, status: int, name: str, value: str) -> None:
    server = line()
    assert only(server.put(with_field(Caller(server).request(method), name, value))).status == status


@pytest.mark.parametrize(("name", "value"), DECIDES_NOTHING + BEGINS_ONLY)
def test_answers_to_requests_of_ours_count_whatever_their_other_fields_say(name: str, value: str) -> None:
    server = line()
    call = Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    (update,) = server.requests("UPDATE")
    fields = {} if name == "Session-Expires" else {"Session_Expires": "90;refresher=uac"}
    ok = answer_to(update, 200, **fields)
    ok.headers.set(name, value)
    server.put(ok)
    server.wait(40)
    assert len(server.requests("UPDATE")) == 1, "the answer was not taken"
    server.uas.calls.hang_up(call, server.now)
    server.collect()
    (bye,) = server.requests("BYE")
    ok = answer_to(bye, 200)
    ok.headers.set(name, value)
    server.put(ok)
    assert server.wait(40) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("From", "Bell, A <sip:a@b>;tag={tag}"),
        ("From", "<sip:a b@c>;tag={tag}"),
        ("From", '"Bell <sip:a@b>;tag={tag}'),
        ("From", "<>;tag={tag}"),
        ("To", "Watson, T <sip:c@d>;tag={to_tag}"),
        ("To", "< sip:c@d >;tag={to_tag}"),
        ("To", "<sip:c@d;tag={to_tag}"),
    ],
)
def test_within_a_call_the_tags_of_from_and_to_are_enough(field: str, value: str) -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    text = value.format(tag=caller.tag, to_tag=caller.to_tag)
    answer = only(server.put(with_field(caller.request("BYE"), field, text)))
    assert (answer.status, answer.headers.get(field)) == (200, text)
    assert server.take(Ended).reason is EndReason.BYE


@pytest.mark.parametrize("target", ["<sip:trunkline@192.0.2.1>", "sip:a b@c", "urn:service:sos", "sip:", "%%%"])
def test_within_a_call_the_request_uri_decides_nothing(target: str) -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    octets = encode(caller.request("BYE")).replace(b"BYE sip:trunkline@192.0.2.1:5060", f"BYE {target}".encode())
    server.uas.receive(parse_datagram(octets), server.flow, server.now)
    assert only(server.collect()).status == 200
    assert len(server.uas.calls) == 0


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Contact", "<>", "No scheme in URI of Contact"),
        ("Contact", "sip:a@b?x=y", "URI without angle brackets in Contact"),
        ("Contact", '"x <sip:a@b>', "Unbalanced quote in Contact"),
        ("Record-Route", "<sip:a b>", "Illegal character in URI of Record-Route"),
        ("Record-Route", "<sip:a@b>,nobody", "No scheme in URI of Record-Route"),
        ("Content-Type", "sdp", "Malformed media type in Content-Type"),
        ("Require", "a b", "Malformed token in Require"),
        ("From", "Bell, A <sip:a@b>;tag=1", "Unquoted display name in From"),
        ("From", "<sip:a@b>;tag=1 2", "Malformed parameter in From"),
        ("From", "<sip:a@b>, <sip:c@d>;tag=1", "Malformed parameters in From"),
        ("To", "< sip:c@d >", "Illegal character in URI of To"),
        ("CSeq", "one INVITE", "Malformed number in CSeq"),
        ("CSeq", "1 BYE", "CSeq names another method"),
        ("Call-ID", "a b", "Malformed Call-ID"),
        ("Via", "SIP/2.0/UDP 192.0.2.10;;,;,,", "Empty value in Via"),
        ("Via", "192.0.2.10", "Malformed Via"),
    ],
)
def test_what_a_call_needs_to_begin_and_is_ambiguous_is_refused(name: str, value: str, reason: str) -> None:
    server = line()
    with pytest.raises(SipParseError) as caught:
        parse_datagram(encode(with_field(Caller(server).request("INVITE", OFFER), name, value)))
    assert (caught.value.status, caught.value.reason) == (400, reason)


@pytest.mark.parametrize(
    "value",
    [
        "<sip:caller@192.0.2.10:5060",
        "<sip:caller@192.0.2.10:5060, ",
        "<sip:caller@192.0.2.10:5060;expires=60",
        "< sip:caller@192.0.2.10:5060 >",
        "<sip:caller@192.0.2.10:5060>;;",
        "<sip:caller@192.0.2.10:5060;>,",
        "<sip:caller@192.0.2.10:5060>;+sip.instance=<urn:uuid:1>",
        "Caller (desk) <sip:caller@192.0.2.10:5060>",
        '"Caller" sip:caller@192.0.2.10:5060',
        "<<sip:caller@192.0.2.10:5060>>",
        "<caller@192.0.2.10:5060>",
        "<sip:caller@192.0.2.10:5060>, <>",
    ],
)
def test_contact_with_one_plain_meaning_is_where_our_bye_goes(value: str) -> None:
    server = line()
    call = Caller(server).call(Contact=value)
    server.uas.calls.hang_up(call, server.now)
    server.collect()
    (bye,) = server.requests("BYE")
    assert str(bye.uri) == "sip:caller@192.0.2.10:5060"
    assert server.uas.stats.mended_headers == {"Contact": 1}
    assert not server.uas.stats.ignored_headers


def test_contact_without_brackets_may_have_them_in_a_quoted_parameter() -> None:
    """Section 25.1, as IMS and mobile clients write it."""
    server = line()
    contact = 'sip:field@127.0.0.1:5060;+sip.instance="<urn:gsma:imei:35000000-000000-0>"'
    call = Caller(server).call(Contact=contact)
    assert str(call.dialog.remote_target) == "sip:field@127.0.0.1:5060"
    assert not server.uas.stats.mended_headers


def test_record_route_with_one_plain_meaning_is_our_route() -> None:
    server = line()
    call = Caller(server).call(Record_Route="<sip:192.0.2.50;lr>, < sip:192.0.2.51;lr >,")
    server.uas.calls.hang_up(call, server.now)
    server.collect()
    assert server.requests("BYE")[0].headers.get_all("Route") == ["<sip:192.0.2.50;lr>", "<sip:192.0.2.51;lr>"]


@pytest.mark.parametrize("required", ["timer,", ",100rel,,timer", " timer , "])
def test_extensions_required_with_empty_elements_are_known(required: str) -> None:
    server = line()
    Caller(server).call(Require=required)
    assert len(server.uas.calls) == 1


@pytest.mark.parametrize("cseq", ["1INVITE", "1 invite", "01  INVITE ;"])
def test_cseq_with_one_plain_meaning_is_taken(cseq: str) -> None:
    server = line()
    server.put(with_field(Caller(server).request("INVITE", OFFER), "CSeq", cseq))
    assert server.incoming().dialog.remote_seq == 1


def test_methods_in_allow_are_known_in_any_case() -> None:
    server = line()
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="invite, Update,")
    server.wait(45)
    assert [one.method for one in server.requests()] == ["UPDATE"]


@pytest.mark.parametrize(("expires", "refresher"), [("90 ; refresher = uac", "uac"), ('90;refresher="uas";', "uas")])
def test_session_expires_is_read_with_blanks_quotes_and_a_semicolon(expires: str, refresher: str) -> None:
    server = line()
    Caller(server).call(Supported="timer", Session_Expires=expires)
    assert server.responses(200)[0].headers.get("Session-Expires") == f"90;refresher={refresher}"


@pytest.mark.parametrize("tag", [";tag=", ";tag", "; tag = "])
def test_empty_tag_is_none(tag: str) -> None:
    server = line()
    request = with_field(Caller(server).request("OPTIONS"), "To", f"<sip:trunkline@192.0.2.1>{tag}")
    answer = only(server.put(request))
    assert answer.status == 200
    assert (answer.headers.get("To") or "").count("tag") == 1
    assert answer.to.tag
    assert server.uas.stats.mended_headers == {"To": 1}


@pytest.mark.parametrize("name", ["Call-ID", "CSeq", "From", "To"])
def test_field_given_twice_alike_is_there_once(name: str) -> None:
    server = line()
    request = Caller(server).request("OPTIONS")
    request.headers.add(name, request.headers.get(name))
    assert only(server.put(request)).status == 200
    assert server.uas.stats.mended_headers == {name: 1}


def test_field_given_twice_is_ignored_where_nothing_needs_it() -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    bye = caller.request("BYE")
    for name, value in (("Max-Forwards", "9"), ("Content-Type", "a/b"), ("Content-Type", "c/d"), ("Contact", "<>")):
        bye.headers.add(name, value)
    assert only(server.put(bye)).status == 200
    assert server.uas.stats.ignored_headers == {"Max-Forwards": 1, "Content-Type": 1}


@pytest.mark.parametrize(
    ("line_", "oddity"),
    [
        (b"no colon here", "(line)"),
        (b": no name", "(line)"),
        (b"b@d: name", "(line)"),
        (b"X-A: a\rb", "(other)"),
        (b"X-A: a\0b", "(other)"),
        (b"X-A: a\x1b[31m", "(other)"),
        (b"X-A: " + b"a" * 9000, "(other)"),
        (b"Supported: timer\0", "Supported"),
        (b"Route: <sip:a" + b"a" * 9000, "Route"),
    ],
)
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE", "ACK"])
def test_line_that_is_no_field_is_ignored_and_counted_by_a_name_of_few(method: str, line_: bytes, oddity: str) -> None:
    data = encode(Caller(line()).request(method)).replace(b"Contact:", line_ + b"\r\nContact:")
    message = parse_datagram(data)
    assert message.oddities == [Oddity(oddity, ignored=True)]
    assert "X-A" not in message.headers


def test_what_is_ignored_and_mended_is_counted_by_header() -> None:
    server = line()
    caller = Caller(server)
    caller.call(Route='"x <sip:a', Supported=",timer,", Allow="INVITE,")
    server.put(caller.request("OPTIONS", Supported=",timer", Route="<sip:a b>"))
    assert server.uas.stats.ignored_headers == {"Route": 2}
    assert server.uas.stats.mended_headers == {"Supported": 2, "Allow": 1}
    assert server.uas.stats.malformed == 0


def test_line_end_in_a_field_ends_it_so_that_nothing_can_be_given_twice() -> None:
    data = encode(Caller(line()).request("OPTIONS")).replace(
        b"Contact:", b"X-A: a\nFrom: <sip:evil@x>;tag=9\r\nContact:"
    )
    with pytest.raises(SipParseError, match="Multiple From"):
        parse_datagram(data)


VIAS = [
    "SIP / 2.0 / UDP 192.0.2.10 : 5060 ; branch = {branch} ; rport",
    "SIP/2.0/UDP 192.0.2.10;branch={branch},",
    ",SIP/2.0/UDP 192.0.2.10;;branch={branch};",
    "SIP/2.0/UDP 192.0.2.10:0;rport;branch={branch}",
    "SIP/2.0/UDP [fe80::1%eth0]:5060;branch={branch};rport=7;maddr=224.0.1.75;ttl=;x=<y>",
    "sip/2.0/udp 192.0.2.10;BRANCH={branch};received=nowhere;alias;keep",
    "SIP/2.0/UDP 192.0.2.10;branch={branch}, SIP/9.0/X y, SIP/2.0/UDP h;;",
]


@pytest.mark.parametrize("via", VIAS)
def test_topmost_via_with_one_plain_meaning_is_answered_and_told_apart_by_its_branch(via: str) -> None:
    server = line()
    caller = Caller(server)
    for number in (1, 2):
        request = with_field(caller.request("OPTIONS"), "Via", via.format(branch=f"z9hG4bK{number}"))
        first, again = only(server.put(request)), only(server.put(request))
        assert (first.status, first.via.branch, again) == (200, f"z9hG4bK{number}", first)
    assert server.uas.transactions.stats.retransmissions == 2
