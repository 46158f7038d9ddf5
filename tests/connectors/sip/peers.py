"""Two ends of a line without a network: a `SipUas` under a clock that the test moves, and who calls it.

Every message crosses as octets, parsed anew on the other side.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from connectors.sip.digest import DigestAuthenticator
from connectors.sip.message.message import Headers, SipRequest, SipResponse, encode
from connectors.sip.message.parser import parse_datagram
from connectors.sip.message.uri import SipUri, Uri
from connectors.sip.transaction import Flow
from connectors.sip.uas import Answer, IncomingCall, SipCall, SipUas, UasEvent, UasOptions

E = TypeVar("E")

PEER = ("192.0.2.10", 5060)
SERVER = ("192.0.2.1", 5060)
UDP = Flow("UDP", PEER, SERVER)
TCP = Flow("TCP", PEER, SERVER, 7)
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = b"v=0\r\no=- 9 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 10000 RTP/AVP 0\r\n"


@dataclass
class Line:
    """`sent`: what the server sent, with when and where to. `lost`: messages of the server for which it is True never
    arrive."""

    uas: SipUas
    flow: Flow = UDP
    now: float = 1000.0
    sent: list[tuple[float, SipRequest | SipResponse, Flow]] = field(default_factory=list)
    happened: list[UasEvent] = field(default_factory=list)

    def put(self, message: SipRequest | SipResponse, flow: Flow | None = None) -> list[SipRequest | SipResponse]:
        """A message of the peer; what comes back at once."""
        self.uas.receive(parse_datagram(encode(message)), flow or self.flow, self.now)
        return self.collect()

    def collect(self) -> list[SipRequest | SipResponse]:
        out = self.uas.to_send()
        messages = [parse_datagram(encode(message)) for message, _ in out]
        self.sent += [(self.now, message, flow) for message, (_, flow) in zip(messages, out, strict=True)]
        self.happened += self.uas.events()
        return messages

    def wait(self, seconds: float) -> list[SipRequest | SipResponse]:
        """So much time passes, each timer at its moment; what the server sent in it."""
        until, messages = self.now + seconds, []
        while (due := self.uas.next_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.uas.handle_timer(self.now)
            messages += self.collect()
        self.now = until
        return messages

    def responses(self, status: int | None = None) -> list[SipResponse]:
        return [one for _, one, _ in self.sent if isinstance(one, SipResponse) and status in (None, one.status)]

    def requests(self, method: str | None = None) -> list[SipRequest]:
        return [one for _, one, _ in self.sent if isinstance(one, SipRequest) and method in (None, one.method)]

    def times(self, wanted: Callable[[SipRequest | SipResponse], bool]) -> list[float]:
        """When such messages were sent, in seconds since the first of them."""
        times = [at for at, message, _ in self.sent if wanted(message)]
        return [round(at - times[0], 3) for at in times]

    def take(self, kind: type[E]) -> E:
        """The next event, which has to be of this kind."""
        event = self.happened.pop(0)
        assert isinstance(event, kind), event
        return event

    def incoming(self) -> SipCall:
        return self.take(IncomingCall).call


class HasFlow(Protocol):
    """An end of a line, whatever it is made of."""

    flow: Flow


class Caller:
    """Makes the requests of one dialog; knows its tags and the server's Contact once it was answered."""

    _numbers = itertools.count(1)

    def __init__(
        self, line: HasFlow, *, contact: str = "<sip:caller@192.0.2.10:5060>", via: str = "192.0.2.10"
    ) -> None:
        self.line = line
        number = next(self._numbers)
        self.call_id = f"call-{number}@192.0.2.10"
        self.tag = f"tag{number}"
        self.contact = contact
        self.via = via
        self.cseq = 0
        self.to_tag: str | None = None
        self.target: Uri = SipUri.to("192.0.2.1", "trunkline")
        self.branches = (f"z9hG4bK-{number}-{count}" for count in itertools.count(1))

    def request(
        self,
        method: str,
        body: bytes = b"",
        *,
        cseq: int | None = None,
        branch: str | None = None,
        content_type: str = "application/sdp",
        **fields: Any,
    ) -> SipRequest:
        """`fields`: more header fields, an underscore in place of each hyphen."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        to = "<sip:trunkline@192.0.2.1>" + (f";tag={self.to_tag}" if self.to_tag else "")
        headers = Headers(
            [
                ("Via", f"SIP/2.0/{self.line.flow.transport} {self.via};branch={branch or next(self.branches)}"),
                ("Max-Forwards", "70"),
                ("From", f"<sip:caller@192.0.2.10>;tag={self.tag}"),
                ("To", to),
                ("Call-ID", self.call_id),
                ("CSeq", f"{cseq} {method}"),
                ("Contact", self.contact),
            ]
        )
        for name, value in fields.items():
            headers.set(name.replace("_", "-"), value)
        if body:
            headers.set("Content-Type", content_type)
        return SipRequest(method, self.target, headers, body)

    def learn(self, response: SipResponse) -> None:
        """The dialog of an answer."""
        self.to_tag = response.to.tag
        if response.contacts:
            self.target = response.contacts[0].uri

    def ack(self, invite: SipRequest, body: bytes = b"") -> SipRequest:
        """Of a 2xx to this INVITE."""
        return self.request("ACK", body, cseq=invite.cseq.number)

    def call(self, body: bytes = OFFER, *, answer: Answer | None = None, **fields: Any) -> SipCall:
        """A whole set-up on a `Line`: INVITE, 200, ACK."""
        assert isinstance(self.line, Line)
        invite = self.request("INVITE", body, **fields)
        self.line.put(invite)
        call = self.line.incoming()
        self.line.uas.calls.accept(call, answer or Answer(ANSWER), self.line.now)
        ok = self.line.collect()[-1]
        assert isinstance(ok, SipResponse)
        assert ok.status == 200
        self.learn(ok)
        self.line.put(self.ack(invite, b"" if body else ANSWER))
        self.line.happened.clear()
        return call


def line(
    options: UasOptions | None = None, authenticator: DigestAuthenticator | None = None, *, flow: Flow = UDP
) -> Line:
    """A server with tokens that count up."""
    numbers = itertools.count(1)
    return Line(SipUas(options, authenticator, token=lambda: f"{next(numbers):016x}"), flow)


def only(messages: list[SipRequest | SipResponse]) -> SipResponse:
    """The one response there has to be."""
    (message,) = messages
    assert isinstance(message, SipResponse)
    return message


def refused(server: Line, request: SipRequest) -> SipResponse:
    """The failure that a request gets at once; nobody hears of it."""
    answer = only(server.put(request))
    assert answer.status >= 400
    assert server.happened == []
    return answer


def answer_to(request: SipRequest, status: int, **fields: str) -> SipResponse:
    """The peer's answer to a request of the server."""
    headers = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return request.response(status, headers=headers)
