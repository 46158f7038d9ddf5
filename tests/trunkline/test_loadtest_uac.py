"""The caller's side of one SIP call, against a server that is this test."""

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sip.digest import DigestAuthenticator, DigestClient
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.message import SipMessage, SipRequest, SipResponse
from connectors.sip.message.parser import parse_datagram
from connectors.sip.message.uri import SipUri
from trunkline.loadtest.bodies import Body
from trunkline.loadtest.uac import TIMEOUT_S, CallAnswered, CallOver, CallRefused, Identity, UacCall, UacState

SDP = Body("application/sdp", b"v=0\r\n")
MULTIPART = Body("multipart/mixed;boundary=x", b"--x--\r\n")
CONTACT = ("Contact", "<sip:server@192.0.2.9:5070>")


@dataclass
class Far:
    """The server's side: what was sent to it so far, and its answers."""

    call: UacCall
    sent: list[SipMessage] = field(default_factory=list)

    def read(self) -> list[SipMessage]:
        new = [parse_datagram(octets) for octets in self.call.take_outbox()]
        self.sent += new
        return new

    def request(self, method: str) -> SipRequest:
        """The one new request, of this method."""
        (message,) = self.read()
        assert isinstance(message, SipRequest)
        assert message.method == method
        return message

    def answer(self, request: SipRequest, status: int, *headers: tuple[str, str], now: float = 0.0) -> SipResponse:
        response = request.response(status, to_tag="far", headers=headers)
        self.call.receive(response, now)
        return response

    def ask(self, method: str, body: bytes = b"", now: float = 0.0) -> SipResponse:
        """A request of the server's in the dialog; what came back."""
        invite = next(one for one in self.sent if isinstance(one, SipRequest))
        request = SipRequest(method, invite.contacts[0].uri, invite.headers.copy(), body)
        request.headers.set("Via", "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKfar")
        request.headers.set("From", f"{invite.headers.get('To')};tag=far")
        request.headers.set("To", invite.headers.get("From"))
        request.headers.set("CSeq", f"7 {method}")
        self.call.receive(request, now)
        (answer,) = self.read()
        assert isinstance(answer, SipResponse)
        return answer


def far(*, transport: str = "UDP", digest: DigestClient | None = None, body: Body = SDP) -> Far:
    numbers = count()
    call = UacCall(
        SipUri.to("192.0.2.1", "1000", 5060),
        Identity("me", "192.0.2.50", 5080, transport, ";+sip.src" if body is MULTIPART else ""),
        body,
        SDP,
        call_id="id@test",
        new_token=lambda: f"token{next(numbers)}",
        digest=digest,
        extra=(("X-Loadtest", "key"),),
    )
    call.start(0.0)
    return Far(call)


def answered(**options: object) -> Far:
    """A call that is up, its ACK read."""
    server = far(**options)  # type: ignore[arg-type]
    server.answer(server.request("INVITE"), 200, CONTACT)
    server.request("ACK")
    server.call.take_events()
    return server


def test_call_is_invited_acknowledged_and_hung_up() -> None:
    server = far()
    invite = server.request("INVITE")
    assert str(invite.uri) == "sip:1000@192.0.2.1:5060"
    assert invite.headers.get("X-Loadtest") == "key"
    assert (invite.call_id, invite.body) == ("id@test", SDP.content)
    server.answer(invite, 180)
    assert server.read() == []
    server.answer(invite, 200, CONTACT)
    ack = server.request("ACK")
    assert str(ack.uri) == "sip:server@192.0.2.9:5070"
    assert ack.cseq.number == invite.cseq.number
    assert ack.via.branch != invite.via.branch  # RFC 3261, section 13.2.2.4
    assert ack.to.tag == "far"
    assert server.call.take_events() == [CallAnswered(b"")]
    server.call.hang_up(10.0)
    bye = server.request("BYE")
    assert bye.cseq.number == invite.cseq.number + 1
    server.answer(bye, 200)
    assert server.call.take_events() == [CallOver(by_server=False)]
    assert server.call.next_timer() is None


def test_routes_of_the_answer_are_taken_in_reverse() -> None:
    server = far()
    route = ("Record-Route", "<sip:near.example;lr>, <sip:far.example;lr>")
    server.answer(server.request("INVITE"), 200, CONTACT, route)
    ack = server.request("ACK")
    assert ack.headers.get_all("Route") == ["<sip:far.example;lr>", "<sip:near.example;lr>"]


def test_invite_is_repeated_until_something_comes_and_not_after() -> None:
    server = far()
    invite = server.request("INVITE")
    times = []
    for _ in range(4):
        due = server.call.next_timer()
        assert due is not None
        times.append(due)
        server.call.handle_timer(due)
        assert server.request("INVITE") == invite
    assert times == [0.5, 1.5, 3.5, 7.5]
    server.answer(invite, 100, now=8.0)
    assert server.call.next_timer() == 8.0 + TIMEOUT_S
    assert server.call.retransmissions == 4


def test_bye_is_repeated_every_four_seconds_at_most() -> None:
    server = answered()
    server.call.hang_up(100.0)
    server.request("BYE")
    times = []
    while server.call.state is UacState.HANGING_UP:
        due = server.call.next_timer()
        assert due is not None
        times.append(due - 100.0)
        server.call.handle_timer(due)
    assert times[:6] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5]
    assert times[-1] == TIMEOUT_S
    assert server.call.take_events() == [CallOver(by_server=False)]


def test_nothing_is_repeated_over_tcp() -> None:
    server = far(transport="TCP")
    assert "SIP/2.0/TCP" in str(server.request("INVITE").via)
    server.call.handle_timer(TIMEOUT_S - 0.1)
    assert server.read() == []
    server.call.handle_timer(TIMEOUT_S)
    (event,) = server.call.take_events()
    assert isinstance(event, CallRefused)
    assert "no final response" in event.cause


def test_refusal_is_acknowledged_in_its_transaction_each_time() -> None:
    server = far()
    invite = server.request("INVITE")
    server.answer(invite, 503)
    ack = server.request("ACK")
    assert (ack.via.branch, ack.cseq.number, ack.uri) == (invite.via.branch, invite.cseq.number, invite.uri)
    assert ack.to.tag == "far"
    assert server.call.take_events() == [CallRefused("503 Service Unavailable")]
    server.answer(invite, 503)
    assert server.request("ACK") == ack
    assert server.call.take_events() == []
    assert server.call.next_timer() is None


def test_redirection_is_a_refusal_and_nobody_else_is_called() -> None:
    server = far()
    server.answer(server.request("INVITE"), 302, ("Contact", "<sip:victim@198.51.100.1>"))
    server.request("ACK")
    assert server.call.take_events() == [CallRefused("302 Moved Temporarily")]


def test_repeated_answer_brings_the_same_acknowledgement() -> None:
    server = far()
    invite = server.request("INVITE")
    server.answer(invite, 200, CONTACT)
    ack = server.request("ACK")
    server.answer(invite, 200, CONTACT)
    assert server.request("ACK") == ack
    assert server.call.take_events() == [CallAnswered(b"")]


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_challenge_is_answered_once(password: str) -> None:
    authenticator = DigestAuthenticator("realm", {"user": "right"}.get)
    server = far(digest=DigestClient("user", password))
    first = server.request("INVITE")
    challenge = authenticator.challenge(0.0)
    server.answer(first, challenge.status, *challenge.headers)
    ack, second = server.read()
    assert isinstance(ack, SipRequest)
    assert isinstance(second, SipRequest)
    assert (ack.method, ack.via.branch) == ("ACK", first.via.branch)
    assert second.cseq.number == first.cseq.number + 1
    assert second.via.branch != first.via.branch
    assert second.call_id == first.call_id
    assert (type(authenticator.check(second, 0.0)).__name__ == "Authenticated") is (password == "right")
    server.answer(first, challenge.status, *challenge.headers)  # once more, as its ACK was lost: not the second's
    assert server.request("ACK") == ack
    assert server.call.take_events() == []
    server.answer(second, 401, *challenge.headers)
    assert server.call.take_events() == [CallRefused("401 Unauthorized")]


def test_challenge_without_a_password_is_a_refusal() -> None:
    server = far()
    server.answer(server.request("INVITE"), 407)
    assert server.call.take_events() == [CallRefused("407 Proxy Authentication Required")]


def test_ringing_call_is_cancelled() -> None:
    server = far()
    invite = server.request("INVITE")
    server.answer(invite, 180)
    server.call.hang_up(1.0)
    cancel = server.request("CANCEL")
    assert (cancel.via.branch, cancel.cseq.number) == (invite.via.branch, invite.cseq.number)
    server.answer(cancel, 200)
    server.answer(invite, 487)
    server.request("ACK")
    assert server.call.take_events() == [CallRefused("487 Request Terminated")]


def test_cancel_waits_for_a_provisional_response() -> None:
    server = far()
    invite = server.request("INVITE")
    server.call.hang_up(0.1)
    assert server.read() == []
    server.answer(invite, 100)
    server.request("CANCEL")


def test_answer_that_crosses_the_hang_up_is_taken_and_ended() -> None:
    server = far()
    invite = server.request("INVITE")
    server.call.hang_up(0.1)
    server.answer(invite, 200, CONTACT)
    ack, bye = server.read()
    assert [message.method for message in (ack, bye) if isinstance(message, SipRequest)] == ["ACK", "BYE"]


def test_server_that_hangs_up_is_answered_and_told_of() -> None:
    server = answered()
    assert server.ask("BYE").status == 200
    assert server.call.take_events() == [CallOver(by_server=True)]
    server.call.hang_up(1.0)
    assert server.read() == []


def test_byes_of_both_sides_at_once_end_the_call_once() -> None:
    server = answered()
    server.call.hang_up(1.0)
    bye = server.request("BYE")
    assert server.ask("BYE").status == 200
    server.answer(bye, 481)
    assert server.call.take_events() == [CallOver(by_server=False)]


@pytest.mark.parametrize(
    ("method", "body", "status", "answer"),
    [
        ("INVITE", b"v=0\r\n", 200, SDP.content),
        ("INVITE", b"", 200, SDP.content),
        ("UPDATE", b"v=0\r\n", 200, SDP.content),
        ("UPDATE", b"", 200, b""),
        ("OPTIONS", b"", 200, b""),
        ("INFO", b"", 200, b""),
        ("CANCEL", b"", 481, b""),
        ("REFER", b"", 501, b""),
    ],
)
def test_request_of_the_server_is_answered_and_the_call_goes_on(
    method: str, body: bytes, status: int, answer: bytes
) -> None:
    server = answered(body=MULTIPART)
    response = server.ask(method, body)
    assert (response.status, response.body) == (status, answer)
    assert server.call.state is UacState.ANSWERED
    assert server.call.take_events() == []


def test_recording_client_says_so_in_its_contact() -> None:
    invite = far(body=MULTIPART).request("INVITE")
    assert "+sip.src" in (invite.headers.get("Contact") or "")
    assert invite.headers.get("Content-Type") == MULTIPART.content_type


MESSAGES = st.builds(
    lambda start, fields, body: "\r\n".join([start, *fields, "", body]).encode(),
    st.sampled_from(["SIP/2.0 200 OK", "SIP/2.0 401 No", "SIP/2.0 180 R", "SIP/2.0 603 D", "BYE sip:a@b SIP/2.0"]),
    st.lists(
        st.sampled_from(
            [
                "Via: SIP/2.0/UDP a;branch=z9hG4bKa",
                "From: <sip:a@b>;tag=1",
                "To: <sip:a@b>",
                "Call-ID: id@test",
                "CSeq: 1 INVITE",
                "CSeq: 1 BYE",
                "CSeq: 2 CANCEL",
                "CSeq: 4294967295 INVITE",
                "Contact: *",
                "Contact: <tel:1>",
                "Record-Route: <",
                "Record-Route: <sip:x>",
                'WWW-Authenticate: Digest realm="x"',
                'WWW-Authenticate: Digest realm="x", nonce="y", algorithm=MD5, qop="auth"',
            ]
        ),
        max_size=9,
    ),
    st.text(max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(MESSAGES, max_size=12), hang_up_at=st.integers(0, 12))
def test_no_message_raises_or_makes_the_caller_talk_without_end(messages: list[bytes], hang_up_at: int) -> None:
    call = far(digest=DigestClient("a", "b")).call
    sent = 0
    for index, octets in enumerate(messages):
        if index == hang_up_at:
            call.hang_up(float(index))
        try:
            message = parse_datagram(octets)
        except SipParseError:
            continue
        call.receive(message, float(index))
        call.handle_timer(float(index))
        sent += len(call.take_outbox())
    assert sent <= 4 * len(messages) + 8
    for now in range(0, 200, 2):
        call.handle_timer(100.0 + now)
    assert len(call._open) == 0
