"""The 49 messages of RFC 4475: what each section asks, and that it is done.

The files are those of the archive in the RFC's appendix, octet for octet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.sip.digest import Challenge, DigestAuthenticator
from connectors.sip.inspection import ACCEPT, ALLOW, inspect
from connectors.sip.message.headers import MediaType
from connectors.sip.message.message import SipMessage, SipRequest, SipResponse, encode
from connectors.sip.message.parser import MalformedMessage, StreamParser, parse_datagram
from connectors.sip.message.uri import OtherUri, SipUri, TelUri

FOLDER = Path(__file__).parent / "torture"


@dataclass(frozen=True)
class Parsed:
    """Well-formed, or wrong where it does not concern us; `means` asserts what it says."""

    means: Callable[[SipMessage], None]


@dataclass(frozen=True)
class Answered:
    """Refused by the parser, with a reason phrase that says what is wrong."""

    status: int
    reason: str


@dataclass(frozen=True)
class Refused:
    """Well-formed, and refused by the server for what it asks."""

    status: int
    header: tuple[str, str] | None = None


@dataclass(frozen=True)
class Dropped:
    """A response that is discarded."""

    reason: str


Outcome = Parsed | Answered | Refused | Dropped


def load(name: str) -> bytes:
    return (FOLDER / f"{name}.dat").read_bytes()


def request(message: SipMessage) -> SipRequest:
    assert isinstance(message, SipRequest)
    return message


def response(message: SipMessage) -> SipResponse:
    assert isinstance(message, SipResponse)
    return message


def sip(uri: object) -> SipUri:
    assert isinstance(uri, SipUri)
    return uri


def wsinv(message: SipMessage) -> None:
    invite = request(message)
    assert sip(invite.uri).parameters["unknownparam"] is None
    assert sip(invite.to.uri).user == "vivekg"
    assert invite.to.tag == "1918181833n"
    assert invite.from_.display_name == 'J Rosenberg \\"'
    assert invite.from_.tag == "98asjd8"
    assert invite.max_forwards == 68
    assert (invite.cseq.number, invite.cseq.method) == (9, "INVITE")
    assert [(via.transport, via.host, via.branch) for via in invite.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert invite.via.transaction_branch is None
    assert invite.headers.get("Subject") == ""
    assert invite.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert invite.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert invite.headers.get("Route") == "<sip:services.example.com;lr;unknownwith=value;unknown-no-value>"
    (contact,) = invite.contacts
    assert contact.display_name == 'Quoted string ""'
    assert contact.parameters["newparam"] == "newvalue"
    assert contact.parameters["secondparam"] is None
    assert contact.q == 0.33
    assert len(invite.body) == 150


def intmeth(message: SipMessage) -> None:
    odd = request(message)
    assert odd.method == "!interesting-Method0123456789_*+`.%indeed'~" == odd.cseq.method
    assert sip(odd.uri).user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert sip(odd.uri).password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert odd.to.display_name == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert odd.from_.display_name == "token1~` token2'+_ token3*%!.-"
    assert odd.from_.parameters["fromParam''~+*_!.-%"] == "работающий"
    assert odd.from_.tag == "_token~1'+`*%!-."
    assert odd.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert odd.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"
    assert odd.via.branch == "z9hG4bK-.!%66*_+`'~"
    assert odd.max_forwards == 255
    refusal = inspect(odd)
    assert refusal is not None
    assert refusal.status == 501


def esc01(message: SipMessage) -> None:
    invite = request(message)
    assert (sip(invite.uri).user, sip(invite.uri).host) == ("sips:user@example.com", "example.net")
    assert sip(invite.to.uri).user == "user"
    assert sip(invite.from_.uri).user == "I have spaces"
    contact = sip(invite.contacts[0].uri)
    assert contact.user == "caller"
    assert contact.is_loose_router
    assert contact.parameters["name"] == "value%41"


def escnull(message: SipMessage) -> None:
    assert sip(message.to.uri).user == "null-\x00-null" == sip(message.from_.uri).user
    assert [sip(contact.uri).user for contact in message.contacts] == ["\x00", "\x00\x00"]


def esc02(message: SipMessage) -> None:
    odd = request(message)
    assert odd.method == "RE%47IST%45R" == odd.cseq.method
    assert odd.to.display_name == "%Z%45"
    assert odd.via.branch == "z9hG4bK209%fzsnel234"
    assert [sip(contact.uri).user for contact in odd.contacts] == ["alias1", "alias3"]
    assert odd.headers.get("C%6Fntact") == "<sip:alias2@host2.example.com>"
    refusal = inspect(odd)
    assert refusal is not None
    assert refusal.status == 501


def lwsdisp(message: SipMessage) -> None:
    assert message.from_.display_name == "caller"
    assert sip(message.from_.uri).user == "caller"


def longreq(message: SipMessage) -> None:
    assert message.to.display_name == f"I have a user name of {'extreme' * 10} proportion"
    assert sip(message.to.uri).port == 6000
    assert len(sip(message.from_.uri).user or "") == 5 * len("amazinglylongcallername")
    assert message.from_.tag == "12" + "982" * 50 + "424"
    assert len(message.vias) == 34
    assert message.vias[33].received == "192.0.2.5"
    assert message.call_id == f"longreq.one{'really' * 20}longcallid"
    assert len(message.body) == 150


def dblreq(message: SipMessage) -> None:
    """What follows in the datagram is thrown away (RFC 3261, section 18.3)."""
    assert request(message).method == "REGISTER"
    assert message.body == b""


def semiuri(message: SipMessage) -> None:
    uri = sip(request(message).uri)
    assert uri.user == "user;par=u@example.net"
    assert uri.host == "example.com"
    assert not uri.parameters
    assert message.headers.get_list("Accept")[-1] == "message/sipfrag"
    assert len(message.headers.get_list("Accept")) == 6


def transports(message: SipMessage) -> None:
    assert [via.transport for via in message.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def mpart01(message: SipMessage) -> None:
    kind = message.content_type
    assert isinstance(kind, MediaType)
    assert (kind.essence, kind.parameters["boundary"]) == ("multipart/mixed", "7a9cbec02ceef655")
    assert len(message.body) == 553
    assert message.body.startswith(b"--7a9cbec02ceef655\r\n")
    assert message.body.endswith(b"--7a9cbec02ceef655--\r\n")


def unreason(message: SipMessage) -> None:
    assert response(message).status == 200
    assert response(message).reason == "= 2**3 * 5**2 но сто девяносто девять - простое"


def noreason(message: SipMessage) -> None:
    assert (response(message).status, response(message).reason) == (100, "")


def baddate(message: SipMessage) -> None:
    """Nothing here is done by the date, so the request counts and the field is text."""
    assert message.headers.get("Date") == "Fri, 01 Jan 2010 16:00:00 EST"
    assert inspect(request(message)) is None


def badbranch(message: SipMessage) -> None:
    """The matching of RFC 2543 is for it."""
    assert message.via.branch == "z9hG4bK"
    assert message.via.transaction_branch is None


def unksm2(message: SipMessage) -> None:
    assert message.to.uri == OtherUri("isbn", "2983792873")
    assert message.from_.uri == OtherUri("http", "//www.example.com")
    assert message.contacts[0].uri == OtherUri("name", "John_Smith")


def bcast(message: SipMessage) -> None:
    """The server sends no requests outside its dialogs: no transaction takes a response with two Vias."""
    assert [via.host for via in message.vias] == ["192.0.2.198", "255.255.255.255"]


def zeromf(message: SipMessage) -> None:
    """An endpoint processes it as any other."""
    assert request(message).max_forwards == 0
    assert inspect(request(message)) is None


def cparam01(message: SipMessage) -> None:
    """Without angle brackets the parameter is the field's."""
    (contact,) = message.contacts
    assert contact.parameters["unknownparam"] is None
    assert not sip(contact.uri).parameters


def cparam02(message: SipMessage) -> None:
    """Within angle brackets it is the URI's."""
    (contact,) = message.contacts
    assert not contact.parameters
    assert sip(contact.uri).parameters["unknownparam"] is None


def regescrt(message: SipMessage) -> None:
    (contact,) = message.contacts
    assert sip(contact.uri).headers == (("Route", "<sip:sip.example.com>"),)


def inv2543(message: SipMessage) -> None:
    """Accepted: no branch, tag, Content-Length, or Max-Forwards."""
    invite = request(message)
    assert invite.via.branch is None
    assert invite.via.sent_by == ("iftgw.example.com", 5060)
    assert invite.from_.tag is None
    assert sip(invite.from_.uri).parameters["user"] == "phone"
    assert invite.to.parameters["user"] == "phone"
    assert invite.max_forwards is None
    assert invite.body.endswith(b"m=audio 49217 RTP/AVP 0\r\n")
    assert inspect(invite) is None


ASKED: dict[str, tuple[str, Outcome]] = {
    "wsinv": ("3.1.1.1", Parsed(wsinv)),
    "intmeth": ("3.1.1.2", Parsed(intmeth)),
    "esc01": ("3.1.1.3", Parsed(esc01)),
    "escnull": ("3.1.1.4", Parsed(escnull)),
    "esc02": ("3.1.1.5", Parsed(esc02)),
    "lwsdisp": ("3.1.1.6", Parsed(lwsdisp)),
    "longreq": ("3.1.1.7", Parsed(longreq)),
    "dblreq": ("3.1.1.8", Parsed(dblreq)),
    "semiuri": ("3.1.1.9", Parsed(semiuri)),
    "transports": ("3.1.1.10", Parsed(transports)),
    "mpart01": ("3.1.1.11", Parsed(mpart01)),
    "unreason": ("3.1.1.12", Parsed(unreason)),
    "noreason": ("3.1.1.13", Parsed(noreason)),
    "badinv01": ("3.1.2.1", Answered(400, "Empty value in Via")),
    "clerr": ("3.1.2.2", Answered(400, "Content-Length exceeds the message")),
    "ncl": ("3.1.2.3", Answered(400, "Malformed number in Content-Length")),
    "scalar02": ("3.1.2.4", Answered(400, "Number too large in CSeq")),
    "scalarlg": ("3.1.2.5", Dropped("Number too large in CSeq")),
    "quotbal": ("3.1.2.6", Answered(400, "Unbalanced quote in To")),
    "ltgtruri": ("3.1.2.7", Answered(400, "Illegal character in Request-URI")),
    "lwsruri": ("3.1.2.8", Answered(400, "Illegal character in Request-URI")),
    "lwsstart": ("3.1.2.9", Answered(400, "Extra white space in the request line")),
    "trws": ("3.1.2.10", Answered(400, "Extra white space in the request line")),
    "escruri": ("3.1.2.11", Answered(400, "Headers in Request-URI")),
    "baddate": ("3.1.2.12", Parsed(baddate)),
    "regbadct": ("3.1.2.13", Answered(400, "URI without angle brackets in Contact")),
    "badaspec": ("3.1.2.14", Answered(400, "Illegal character in URI of To")),
    "baddn": ("3.1.2.15", Answered(400, "Unquoted display name in From")),
    "badvers": ("3.1.2.16", Answered(505, "Version Not Supported")),
    "mismatch01": ("3.1.2.17", Answered(400, "CSeq names another method")),
    "mismatch02": ("3.1.2.18", Answered(501, "CSeq names another method")),
    "bigcode": ("3.1.2.19", Dropped("Malformed status line")),
    "badbranch": ("3.2.1", Parsed(badbranch)),
    "insuf": ("3.3.1", Answered(400, "Missing From")),
    "unkscm": ("3.3.2", Refused(416)),
    "novelsc": ("3.3.3", Refused(416)),
    "unksm2": ("3.3.4", Parsed(unksm2)),
    "bext01": ("3.3.5", Refused(420, ("Unsupported", "nothingSupportsThis, nothingSupportsThisEither"))),
    "invut": ("3.3.6", Refused(415, ("Accept", ACCEPT))),
    "regaut01": ("3.3.7", Refused(405, ("Allow", ALLOW))),
    "multi01": ("3.3.8", Answered(400, "Multiple Call-ID")),
    "mcl01": ("3.3.9", Answered(400, "Multiple Content-Length")),
    "bcast": ("3.3.10", Parsed(bcast)),
    "zeromf": ("3.3.11", Parsed(zeromf)),
    "cparam01": ("3.3.12", Parsed(cparam01)),
    "cparam02": ("3.3.13", Parsed(cparam02)),
    "regescrt": ("3.3.14", Parsed(regescrt)),
    "sdp01": ("3.3.15", Refused(406)),
    "inv2543": ("3.4.1", Parsed(inv2543)),
}
"""Section of the RFC, and what it asks, in its order."""


def test_every_message_of_the_rfc_is_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.dat")} == set(ASKED)
    assert len(ASKED) == 49


@pytest.mark.parametrize("name", ASKED, ids=[f"{section}-{name}" for name, (section, _) in ASKED.items()])
def test_message_is_treated_as_the_rfc_asks(name: str) -> None:
    _, outcome = ASKED[name]
    if isinstance(outcome, Answered | Dropped):
        with pytest.raises(MalformedMessage) as caught:
            parse_datagram(load(name))
        assert caught.value.reason == outcome.reason
        if isinstance(outcome, Dropped):
            assert caught.value.drop
            assert caught.value.partial is None
            return
        partial = caught.value.partial
        assert partial is not None
        assert not caught.value.drop
        assert caught.value.status == outcome.status
        answer = encode(partial.response(outcome.status, outcome.reason, to_tag="ours"))
        assert answer.startswith(f"SIP/2.0 {outcome.status} {outcome.reason}\r\nVia: SIP".encode())
        return
    message = parse_datagram(load(name))
    if isinstance(outcome, Parsed):
        outcome.means(message)
        return
    refusal = inspect(request(message))
    assert refusal is not None
    assert refusal.status == outcome.status
    if outcome.header is not None:
        assert outcome.header in refusal.headers


def through_a_stream(data: bytes) -> tuple[list[SipMessage | MalformedMessage], StreamParser]:
    parser = StreamParser()
    return [event for i in range(len(data)) for event in parser.feed(data[i : i + 1])], parser


@pytest.mark.parametrize(
    "name",
    [name for name, (_, outcome) in ASKED.items() if isinstance(outcome, Parsed | Refused) and name != "inv2543"],
)
def test_message_says_the_same_on_a_stream(name: str) -> None:
    events, parser = through_a_stream(load(name))
    assert events[0] == parse_datagram(load(name))
    assert parser.closed == (name == "dblreq")


def test_octets_after_a_message_are_the_next_one_on_a_stream() -> None:
    """The second message's length is two short: what is left over is none, and ends the connection."""
    first, second, error = through_a_stream(load("dblreq"))[0]
    assert isinstance(error, MalformedMessage)
    assert (error.reason, error.close, error.partial) == ("No SIP start line", True, None)
    assert isinstance(first, SipRequest)
    assert isinstance(second, SipRequest)
    assert (first.method, second.method) == ("REGISTER", "INVITE")
    assert len(second.body) == 150


def test_stream_waits_for_a_body_that_is_announced() -> None:
    events, parser = through_a_stream(load("clerr"))
    assert events == []
    assert not parser.closed


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ncl", "Malformed number in Content-Length"),
        ("mcl01", "Multiple Content-Length"),
        ("inv2543", "Missing Content-Length"),
    ],
)
def test_stream_without_a_usable_length_is_answered_and_closed(name: str, reason: str) -> None:
    events, parser = through_a_stream(load(name))
    (error,) = events
    assert isinstance(error, MalformedMessage)
    assert error.reason == reason
    assert error.close
    assert error.partial is not None
    assert parser.closed


@pytest.mark.parametrize("name", ["badinv01", "quotbal", "mismatch01", "badvers", "lwsstart", "scalar02"])
def test_stream_goes_on_after_a_wrong_message_whose_length_is_known(name: str) -> None:
    events, parser = through_a_stream(load(name) + load("zeromf"))
    error, message = events
    assert isinstance(error, MalformedMessage)
    assert not error.close
    assert request(message).method == "OPTIONS"  # type: ignore[arg-type]
    assert not parser.closed


def test_registrar_that_authenticates_challenges_an_unknown_scheme() -> None:
    """Section 3.3.7, for one that takes registrations."""
    verdict = DigestAuthenticator("trunkline", lambda _: None).check(request(parse_datagram(load("regaut01"))), now=0.0)
    assert isinstance(verdict, Challenge)
    assert verdict.status == 401


def test_expiry_that_is_no_number_is_an_hour() -> None:
    """Section 3.1.2.4, where nothing else is wrong."""
    data = load("scalar02").replace(b"36893488147419103232", b"1")
    message = request(parse_datagram(data))
    assert message.max_forwards is None
    assert message.contacts[0].expires == 3600


def test_answer_to_a_request_without_its_fields_copies_what_is_there() -> None:
    """Section 3.3.1."""
    with pytest.raises(MalformedMessage) as caught:
        parse_datagram(load("insuf"))
    assert caught.value.partial is not None
    answer = caught.value.partial.response(400, caught.value.reason, to_tag="ours")
    assert [name for name, _ in answer.headers] == ["Via", "CSeq"]


def test_answer_to_a_request_with_two_of_each_field_copies_the_first() -> None:
    """Section 3.3.8."""
    with pytest.raises(MalformedMessage) as caught:
        parse_datagram(load("multi01"))
    assert caught.value.partial is not None
    answer = parse_datagram(encode(caught.value.partial.response(400, caught.value.reason, to_tag="ours")))
    assert answer.call_id == "multi01.98asdh@192.0.2.1"
    assert answer.cseq.number == 5
    assert answer.to.tag == "ours"


def test_phone_number_in_a_request_uri_is_taken() -> None:
    data = load("unkscm").replace(b"nobodyKnowsThisScheme:totallyopaquecontent", b"tel:+1-201-555-0123;ext=7")
    message = request(parse_datagram(data))
    assert isinstance(message.uri, TelUri)
    assert message.uri.user == "+12015550123"
    assert inspect(message) is None
