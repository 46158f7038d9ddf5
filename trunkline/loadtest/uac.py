"""One call as its caller has it: INVITE, ACK, BYE, CANCEL and the digest answer (RFC 3261). No socket, no clock.

Messages and `now` (seconds, monotonic) go in; `take_outbox` has what to send, all of it to the named server, and
`take_events` what happened. The server's own requests in the call (re-INVITE, UPDATE, OPTIONS, INFO, BYE) are answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from connectors.errors import LocalProtocolError
from connectors.sip.digest import DigestClient
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.headers import MAGIC_COOKIE, RouteSet
from connectors.sip.message.message import Headers, SipMessage, SipRequest, SipResponse, encode
from connectors.sip.message.uri import SipUri, Uri
from trunkline.loadtest.bodies import Body

T1, T2 = 0.5, 4.0
TIMEOUT_S = 64 * T1
ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE"


class UacState(StrEnum):
    CALLING = "calling"
    PROCEEDING = "proceeding"
    ANSWERED = "answered"
    HANGING_UP = "hanging up"
    OVER = "over"


class UacInput(StrEnum):
    PROVISIONAL = "1xx"
    ANSWER = "2xx"
    CHALLENGE = "401 or 407"
    REFUSAL = "3xx to 6xx"
    BYE_ANSWER = "final of the BYE"
    HANG_UP = "we hang up"
    PEER_BYE = "BYE of the server"
    TIMEOUT = "no answer"


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """`body`: the SDP of the 200."""

    body: bytes


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The call never was. `cause`: status and reason, or that nothing came."""

    cause: str


@dataclass(frozen=True, slots=True)
class CallOver:
    """The call is over; `by_server` before we had hung up."""

    by_server: bool


UacEvent = CallAnswered | CallRefused | CallOver


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls: `user` of the From, `host` and `port` that answers come to, `transport` UDP or TCP.
    `contact_parameters`: appended to the Contact."""

    user: str
    host: str
    port: int
    transport: str = "UDP"
    contact_parameters: str = ""

    @property
    def sent_by(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(slots=True)
class _Transaction:
    request: SipRequest
    octets: bytes
    interval: float
    due: float
    ends: float


class UacCall:
    """A call to `uri`. `body`: of the INVITE; `sdp`: what answers an offer of the server's. `extra`: header fields of
    the INVITE. `new_token`: random, for tags and branches."""

    def __init__(
        self,
        uri: SipUri,
        identity: Identity,
        body: Body,
        sdp: Body,
        *,
        call_id: str,
        new_token: Callable[[], str],
        digest: DigestClient | None = None,
        extra: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.state = UacState.CALLING
        self.retransmissions = 0
        self.call_id = call_id
        self._uri, self._identity, self._body, self._sdp = uri, identity, body, sdp
        self._new_token, self._digest, self._extra = new_token, digest, extra
        self._from = f"<sip:{identity.user}@{identity.sent_by}>;tag={new_token()}"
        self._to = f"<{uri.without_headers()}>"
        self._contact = f"<sip:{identity.user}@{identity.sent_by};transport={identity.transport.lower()}>"
        self._contact += identity.contact_parameters
        self._cseq = self._invite_cseq = 0
        self._tried = False
        self._unwanted = False
        self._target: Uri = uri
        self._routes = RouteSet()
        self._ack = self._challenge_ack = b""
        self._challenged_cseq = 0
        self._open: dict[str, _Transaction] = {}
        self._outbox: list[bytes] = []
        self._events: list[UacEvent] = []

    def start(self, now: float) -> None:
        self._invite(now)

    def hang_up(self, now: float) -> None:
        """BYE where the call was answered, CANCEL where it rings; else as soon as it is one of them."""
        self._step(UacInput.HANG_UP, None, now)

    def receive(self, message: SipMessage, now: float) -> None:
        """A message with this call's Call-ID; what cannot be made sense of is ignored."""
        try:
            if isinstance(message, SipRequest):
                self._request(message, now)
            else:
                self._response(message, now)
        except (SipParseError, LocalProtocolError):
            return

    def next_timer(self) -> float | None:
        return min((min(one.due, one.ends) for one in self._open.values()), default=None)

    def handle_timer(self, now: float) -> None:
        for method, one in list(self._open.items()):
            if now >= one.ends:
                del self._open[method]
                if method != "CANCEL":
                    self._step(UacInput.TIMEOUT, None, now)
            elif now >= one.due:
                self.retransmissions += 1
                self._outbox.append(one.octets)
                one.interval = 2 * one.interval if method == "INVITE" else min(2 * one.interval, T2)
                one.due = now + one.interval

    def take_outbox(self) -> list[bytes]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def take_events(self) -> list[UacEvent]:
        events, self._events = self._events, []
        return events

    # -- messages in

    def _response(self, response: SipResponse, now: float) -> None:
        cseq = response.cseq
        one = self._open.get(cseq.method)
        if cseq.method == "INVITE":
            if cseq.number != self._invite_cseq:
                if cseq.number == self._challenged_cseq:  # its ACK was lost
                    self._outbox.append(self._challenge_ack)
                return
            if response.status < 200:
                kind = UacInput.PROVISIONAL
            elif response.status < 300:
                kind = UacInput.ANSWER
            elif response.status in (401, 407) and self._digest is not None and not self._tried:
                kind = UacInput.CHALLENGE
            else:
                kind = UacInput.REFUSAL
            self._step(kind, response, now)
        elif one is not None and one.request.cseq.number == cseq.number and response.status >= 200:
            del self._open[cseq.method]
            if cseq.method == "BYE":
                self._step(UacInput.BYE_ANSWER, response, now)

    def _request(self, request: SipRequest, now: float) -> None:
        if request.method == "ACK":
            return
        headers = (("Contact", self._contact), ("Allow", ALLOW))
        if request.method in ("INVITE", "UPDATE") and self.state is not UacState.ANSWERED:
            answer = request.response(481)
        elif request.method == "INVITE" or (request.method == "UPDATE" and request.body):
            # Nothing of ours has changed: the same description answers an offer, or is offered where there is none.
            content, kind = self._sdp.content, self._sdp.content_type
            answer = request.response(200, headers=headers, body=content, content_type=kind)
        elif request.method in ("UPDATE", "BYE", "OPTIONS", "INFO"):
            answer = request.response(200, headers=headers)
        else:
            answer = request.response(481 if request.method == "CANCEL" else 501)
        self._outbox.append(encode(answer))
        if request.method == "BYE":
            self._step(UacInput.PEER_BYE, None, now)

    # -- the state machine

    def _step(self, kind: UacInput, response: SipResponse | None, now: float) -> None:
        action = _TABLE.get((self.state, kind))
        if action is not None:
            action(self, response, now)

    def _proceed(self, _response: SipResponse | None, now: float) -> None:
        self.state = UacState.PROCEEDING
        one = self._open["INVITE"]
        one.due = one.ends = now + TIMEOUT_S  # RFC 3261, section 17.1.1.2: no retransmission once something came
        if self._unwanted:
            self._cancel(None, now)

    def _cancel(self, _response: SipResponse | None, now: float) -> None:
        """RFC 3261, section 9.1: the INVITE's Request-URI, branch, From, To and sequence number, one hop."""
        self._unwanted = True
        invite = self._open["INVITE"].request
        headers = Headers([("Via", str(invite.via)), ("Max-Forwards", "70")])
        for name in ("From", "To", "Call-ID"):
            headers.add(name, invite.headers.get(name))
        headers.add("CSeq", f"{invite.cseq.number} CANCEL")
        self._send(SipRequest("CANCEL", invite.uri, headers), now)

    def _later(self, _response: SipResponse | None, _now: float) -> None:
        """RFC 3261, section 9.1: no CANCEL before the first provisional response."""
        self._unwanted = True

    def _authorize(self, response: SipResponse | None, now: float) -> None:
        assert response is not None
        assert self._digest is not None
        self._acknowledge_refusal(response, now)
        self._challenge_ack, self._challenged_cseq = self._ack, self._invite_cseq
        self._tried = True
        self.state = UacState.CALLING
        self._invite(now, self._digest.authorize(response, "INVITE", self._uri))

    def _refuse(self, response: SipResponse | None, now: float) -> None:
        assert response is not None
        self._acknowledge_refusal(response, now)
        self._open.clear()
        self.state = UacState.OVER
        self._events.append(CallRefused(f"{response.status} {response.reason}"))

    def _acknowledge_refusal(self, response: SipResponse | None, _now: float) -> None:
        """RFC 3261, section 17.1.1.3: part of the INVITE's transaction, with its branch; again if it comes again."""
        assert response is not None
        if "INVITE" in self._open:
            invite = self._open.pop("INVITE").request
            headers = Headers([("Via", str(invite.via)), ("Max-Forwards", "70"), ("From", self._from)])
            headers.add("To", response.headers.get("To") or self._to)
            headers.add("Call-ID", self.call_id)
            headers.add("CSeq", f"{invite.cseq.number} ACK")
            self._ack = encode(SipRequest("ACK", invite.uri, headers))
        self._outbox.append(self._ack)

    def _answer(self, response: SipResponse | None, now: float) -> None:
        """RFC 3261, section 13.2.2.4: the ACK of a 2xx is a request of the dialog, with a branch of its own."""
        assert response is not None
        self._open.clear()
        contacts = response.contacts
        self._target = contacts[0].uri if contacts else self._uri
        self._routes = RouteSet.recorded(response.headers.get_all("Record-Route"), as_server=False)
        self._to = response.headers.get("To") or self._to
        self._ack = encode(self._in_dialog("ACK", self._invite_cseq))
        self._outbox.append(self._ack)
        self.state = UacState.ANSWERED
        self._events.append(CallAnswered(response.body))
        if self._unwanted:
            self._bye(None, now)

    def _acknowledge(self, _response: SipResponse | None, _now: float) -> None:
        self._outbox.append(self._ack)

    def _bye(self, _response: SipResponse | None, now: float) -> None:
        self._cseq += 1
        self.state = UacState.HANGING_UP
        self._send(self._in_dialog("BYE", self._cseq), now)

    def _finish(self, _response: SipResponse | None, _now: float) -> None:
        self._open.clear()
        by_server = self.state is UacState.ANSWERED
        self.state = UacState.OVER
        self._events.append(CallOver(by_server))

    def _give_up(self, _response: SipResponse | None, _now: float) -> None:
        self._open.clear()
        self.state = UacState.OVER
        self._events.append(CallRefused(f"no final response within {TIMEOUT_S:g} s"))

    # -- messages out

    def _invite(self, now: float, credentials: tuple[str, str] | None = None) -> None:
        self._cseq += 1
        self._invite_cseq = self._cseq
        headers = self._headers("INVITE", self._cseq)
        headers.add("Contact", self._contact)
        headers.add("Allow", ALLOW)
        for name, value in (*self._extra, *(() if credentials is None else (credentials,))):
            headers.add(name, value)
        headers.add("Content-Type", self._body.content_type)
        self._send(SipRequest("INVITE", self._uri, headers, self._body.content), now)

    def _in_dialog(self, method: str, number: int) -> SipRequest:
        uri, routes = self._routes.target(self._target)
        headers = self._headers(method, number)
        for route in routes:
            headers.add("Route", route)
        return SipRequest(method, uri, headers)

    def _headers(self, method: str, number: int) -> Headers:
        via = f"SIP/2.0/{self._identity.transport} {self._identity.sent_by};rport;branch={MAGIC_COOKIE}"
        return Headers(
            [
                ("Via", via + self._new_token()),
                ("Max-Forwards", "70"),
                ("From", self._from),
                ("To", self._to),
                ("Call-ID", self.call_id),
                ("CSeq", f"{number} {method}"),
            ]
        )

    def _send(self, request: SipRequest, now: float) -> None:
        """Open a client transaction (RFC 3261, section 17.1); over TCP nothing is repeated."""
        octets, ends = encode(request), now + TIMEOUT_S
        due = now + T1 if self._identity.transport == "UDP" else ends
        self._open[request.method] = _Transaction(request, octets, T1, due, ends)
        self._outbox.append(octets)


_Action = Callable[[UacCall, SipResponse | None, float], None]

_TABLE: dict[tuple[UacState, UacInput], _Action] = {
    (UacState.CALLING, UacInput.PROVISIONAL): UacCall._proceed,
    (UacState.CALLING, UacInput.ANSWER): UacCall._answer,
    (UacState.CALLING, UacInput.CHALLENGE): UacCall._authorize,
    (UacState.CALLING, UacInput.REFUSAL): UacCall._refuse,
    (UacState.CALLING, UacInput.TIMEOUT): UacCall._give_up,
    (UacState.CALLING, UacInput.HANG_UP): UacCall._later,
    (UacState.PROCEEDING, UacInput.ANSWER): UacCall._answer,
    (UacState.PROCEEDING, UacInput.CHALLENGE): UacCall._authorize,
    (UacState.PROCEEDING, UacInput.REFUSAL): UacCall._refuse,
    (UacState.PROCEEDING, UacInput.TIMEOUT): UacCall._give_up,
    (UacState.PROCEEDING, UacInput.HANG_UP): UacCall._cancel,
    (UacState.ANSWERED, UacInput.ANSWER): UacCall._acknowledge,  # our ACK was lost
    (UacState.ANSWERED, UacInput.HANG_UP): UacCall._bye,
    (UacState.ANSWERED, UacInput.PEER_BYE): UacCall._finish,
    (UacState.HANGING_UP, UacInput.ANSWER): UacCall._acknowledge,
    (UacState.HANGING_UP, UacInput.BYE_ANSWER): UacCall._finish,
    (UacState.HANGING_UP, UacInput.PEER_BYE): UacCall._finish,  # both at once (RFC 5407, section 3.1.6)
    (UacState.HANGING_UP, UacInput.TIMEOUT): UacCall._finish,
    (UacState.OVER, UacInput.ANSWER): UacCall._acknowledge,
    (UacState.OVER, UacInput.REFUSAL): UacCall._acknowledge_refusal,
}
"""What happens on an input in a state; a pair that is not here changes nothing."""
