"""What the server refuses before anybody hears of it, and how it says so (RFC 3261, section 8.2)."""

import pytest

from connectors.sip.message.message import SipRequest, SipResponse, encode
from connectors.sip.message.parser import MalformedMessage, parse_datagram
from connectors.sip.uas import UasOptions
from tests.connectors.sip.peers import OFFER, UDP, Caller, line, only, refused

# -- what is refused before anybody hears of it


@pytest.mark.parametrize("method", ["REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE"])
def test_method_that_we_do_not_do(method: str) -> None:
    server = line()
    answer = refused(server, Caller(server).request(method))
    assert answer.status == 405
    assert "INVITE" in answer.headers.get_list("Allow")


def test_method_that_nobody_knows() -> None:
    server = line()
    answer = refused(server, Caller(server).request("DANCE"))
    assert answer.status == 501
    assert "INVITE" in answer.headers.get_list("Allow")


@pytest.mark.parametrize("status", [603, 405])
def test_transfer_is_declined_and_the_call_goes_on(status: int) -> None:
    server = line(UasOptions(refer_status=status))
    caller = Caller(server)
    caller.call()
    answer = refused(server, caller.request("REFER", Refer_To="<sip:other@example.com>"))
    assert answer.status == status
    assert len(server.uas.calls) == 1


def test_unknown_extension_is_named() -> None:
    server = line()
    answer = refused(server, Caller(server).request("INVITE", OFFER, Require="timer, precondition, magic"))
    assert answer.status == 420
    assert answer.headers.get_list("Unsupported") == ["precondition", "magic"]


def test_body_that_nobody_reads_is_refused_with_what_is_read() -> None:
    server = line()
    answer = refused(server, Caller(server).request("INVITE", b"hello", content_type="text/plain"))
    assert answer.status == 415
    assert "application/sdp" in answer.headers.get_list("Accept")
    answer = refused(server, Caller(server).request("INVITE", OFFER, Content_Encoding="gzip"))
    assert (answer.status, answer.headers.get("Accept-Encoding")) == (415, "identity")


def test_optional_body_that_nobody_reads_is_ignored() -> None:
    server = line()
    invite = Caller(server).request(
        "INVITE", b"hello", content_type="text/plain", Content_Disposition="render;handling=optional"
    )
    server.put(invite)
    assert server.incoming().request.body == b""


def test_call_over_too_many_hops_is_refused_and_options_is_not() -> None:
    server = line()
    assert refused(server, Caller(server).request("INVITE", OFFER, Max_Forwards="0")).status == 483
    assert only(server.put(Caller(server).request("OPTIONS", Max_Forwards="0"))).status == 200


def test_invite_without_a_contact() -> None:
    server = line()
    invite = Caller(server).request("INVITE", OFFER)
    invite.headers.remove("Contact")
    answer = refused(server, invite)
    assert (answer.status, answer.reason) == (400, "Missing Contact")


def test_scheme_that_is_no_telephone() -> None:
    server = line()
    data = encode(Caller(server).request("OPTIONS")).replace(
        b"OPTIONS sip:trunkline", b"OPTIONS soap.beep:trunkline", 1
    )
    server.uas.receive(parse_datagram(data), UDP, server.now)
    assert only(server.collect()).status == 416


def test_malformed_request_is_answered_with_its_fault() -> None:
    server = line()
    data = encode(Caller(server).request("OPTIONS")).replace(b"1 OPTIONS", b"one OPTIONS", 1)
    with pytest.raises(MalformedMessage) as error:
        parse_datagram(data)
    server.uas.receive(error.value, UDP, server.now)
    ((answer, _),) = server.uas.to_send()
    assert isinstance(answer, SipResponse)
    assert answer.status == 400
    assert "CSeq" in answer.reason
    assert server.uas.stats.malformed == 1


def test_what_cannot_be_answered_is_not() -> None:
    server = line()
    server.uas.receive(MalformedMessage("No Via"), UDP, server.now)
    server.uas.receive(MalformedMessage("a response", drop=True), UDP, server.now)
    server.uas.receive(
        MalformedMessage("bad Via", partial=SipRequest("INVITE", Caller(server).target)), UDP, server.now
    )
    assert server.collect() == []
    assert server.uas.stats.malformed == 3


def test_options_tells_what_the_server_can() -> None:
    server = line()
    answer = only(server.put(Caller(server).request("OPTIONS")))
    assert answer.status == 200
    assert "application/sdp" in answer.headers.get_list("Accept")
    assert "INVITE" in answer.headers.get_list("Allow")
    assert answer.to.tag is not None


def test_draining_server_refuses_calls_and_says_so_to_options() -> None:
    server = line(UasOptions(retry_after_s=7))
    caller = Caller(server)
    caller.call()
    server.uas.available = False
    for method in ("INVITE", "OPTIONS"):
        answer = refused(server, Caller(server).request(method, OFFER if method == "INVITE" else b""))
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "7")
    assert only(server.put(caller.request("OPTIONS"))).status == 200
    assert only(server.put(caller.request("BYE"))).status == 200


def test_full_server_refuses_with_retry_after() -> None:
    server = line()
    server.put(Caller(server).request("INVITE", OFFER))
    server.uas.calls.reject(server.incoming(), 503, server.now)
    answer = only(server.collect())
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "5")


def test_calls_of_a_peer_are_bounded_and_others_are_not_touched() -> None:
    server = line(UasOptions(max_calls=3, max_calls_per_peer=2))
    calls = [Caller(server) for _ in range(2)]
    for caller in calls:
        caller.call()
    assert refused(server, Caller(server).request("INVITE", OFFER)).status == 503
    other = UDP._replace(remote=("192.0.2.99", 5060))
    server.put(Caller(server).request("INVITE", OFFER), other)
    server.incoming()
    server.put(calls[0].request("BYE"))
    server.happened.clear()
    server.put(Caller(server).request("INVITE", OFFER))
    server.incoming()
    assert refused(server, calls[1].request("INVITE", OFFER, To="<sip:trunkline@192.0.2.1>")).status == 503
