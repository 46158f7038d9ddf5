"""The SIP server without its sockets: requests in, answers and call events out (RFC 3261, section 8.2, 12 to 15).

Chain: driver -> `SipUas.receive` -> transactions -> inspection -> dialog -> `SipCall` -> `events()` -> connector, which
answers with `ring`, `accept`, `reject` and `hang_up`. After each of them the driver sends `to_send()` and asks
`next_timer()`. What peers do wrong is answered and counted; no exception leaves `receive`.
"""

import re
import secrets
from collections.abc import Callable, Sequence

from connectors.sip.call import (
    Acknowledged,
    Answer,
    CallEvent,
    CallState,
    Ended,
    EndReason,
    IncomingCall,
    Info,
    Pending,
    Reoffer,
    SipCall,
    UasEvent,
)
from connectors.sip.calls import UasOptions, UasStats, Usages
from connectors.sip.dialog import Dialog
from connectors.sip.digest import Challenge, DigestAuthenticator
from connectors.sip.in_dialog import HANDLERS, acknowledge
from connectors.sip.message.envelope import Envelope, mark_source
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.extensions import parse_replaces
from connectors.sip.message.inspection import ACCEPT, ALLOW, SUPPORTED, Refusal, inspect, takes_body
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.message.parser import MalformedMessage
from connectors.sip.transaction import Arrival, Flow, response_flow
from connectors.siprec.body import METADATA_REQUEST

__all__ = [
    "Acknowledged",
    "Answer",
    "EndReason",
    "Ended",
    "IncomingCall",
    "Info",
    "Reoffer",
    "SipCall",
    "SipUas",
    "UasEvent",
    "UasOptions",
    "UasStats",
]

_NO_DIALOG = frozenset({"BYE", "UPDATE", "INFO", "PRACK"})
"""Methods that mean nothing outside of a dialog."""


class SipUas:
    """`authenticator`: who may call, None for everybody. `token`: makes tags and branches that nobody can guess, in
    hexadecimal. `available` False: no new calls, as OPTIONS is told, too."""

    def __init__(
        self,
        options: UasOptions | None = None,
        authenticator: DigestAuthenticator | None = None,
        *,
        token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.available = True
        self._usages = Usages(options or UasOptions(), token)
        self._authenticator = authenticator
        self.stats = self._usages.stats
        self.transaction_stats = self._usages.transactions.stats

    @property
    def calls(self) -> int:
        """Calls whose dialog is there."""
        return len(self._usages.calls)

    @property
    def transactions(self) -> int:
        """Transactions alive, with those that only wait for retransmissions."""
        return len(self._usages.transactions)

    @property
    def is_waiting(self) -> bool:
        """A request of ours waits for its answer."""
        return self._usages.transactions.is_waiting

    # -- in and out

    def receive(self, message: SipRequest | SipResponse | MalformedMessage, flow: Flow, now: float) -> None:
        """A message from the network, or what the parser says of it."""
        try:
            if isinstance(message, MalformedMessage):
                self._refuse_malformed(message, flow)
                return
            for oddity in message.oddities:
                counted = self.stats.ignored_headers if oddity.ignored else self.stats.mended_headers
                counted[oddity.header] += 1
            if isinstance(message, SipResponse):
                envelope = Envelope.of(message)
                transaction = self._usages.transactions.receive_response(message, envelope, now)
                if transaction is not None:
                    self._usages.receive_answer(transaction, message, now)
            else:
                self._receive_request(message, flow, now)
        except SipParseError:
            self.stats.malformed += 1  # a response or an ACK: requests are answered further in

    def handle_timer(self, now: float) -> None:
        """Whatever is due."""
        self._usages.handle_timer(now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is due."""
        return self._usages.next_timer()

    def to_send(self) -> list[tuple[SipRequest | SipResponse, Flow]]:
        """Messages to be sent, in order; each comes once."""
        transactions = self._usages.transactions
        out, transactions.out = transactions.out, []
        return out

    def events(self) -> list[UasEvent]:
        """What happened, in order; each comes once."""
        events, self._usages.events = self._usages.events, []
        return events

    # -- answers of the user

    def ring(self, call: SipCall, now: float, status: int = 180) -> None:
        """A provisional answer; reliable where the peer requires that (RFC 3262). One at a time: while another waits
        for its PRACK, this one is left out."""
        self._usages.ring(call, now, status)

    def accept(self, call: SipCall, answer: Answer, now: float) -> None:
        """200 to what is pending. It waits for the PRACK of a provisional answer that was sent reliably."""
        self._usages.accept(call, answer, now)

    def reject(
        self,
        call: SipCall,
        status: int,
        now: float,
        *,
        headers: Sequence[tuple[str, str]] = (),
        retry_after_s: int | None = None,
    ) -> None:
        """A failure answer to what is pending; 503 always bears Retry-After. A refused re-INVITE or UPDATE leaves the
        call as it was."""
        if retry_after_s is not None:
            headers = [*headers, ("Retry-After", str(retry_after_s))]
        elif status == 503:
            headers = [*headers, self._retry_after]
        self._usages.reject(call, Refusal(status, tuple(headers)), now)

    def hang_up(self, call: SipCall, now: float) -> None:
        """BYE, as soon as it may be sent; 480 where the call was not answered yet. No event follows."""
        self._usages.step(call, CallEvent.HANG_UP, now)

    def ask_metadata(self, call: SipCall, reason: str, now: float) -> bool:
        """Ask a recording client for all its metadata anew (RFC 7866): they come in a request of its own.
        False where it does not say that it can be asked. `reason`: one line."""
        return self._usages.ask_metadata(call, reason, now)

    # -- requests

    def _receive_request(self, request: SipRequest, flow: Flow, now: float) -> None:
        envelope = Envelope.of(request)
        mark_source(request, envelope, flow.remote)
        answers = response_flow(flow, envelope.via)
        arrival, transaction = self._usages.transactions.receive(request, envelope, answers, now)
        if arrival is Arrival.NEW and transaction is not None:
            pending = Pending(request, envelope, transaction)
            try:
                self._admit(pending, flow, now)
            except SipParseError as error:
                self._usages.refuse(pending, Refusal(error.status, reason=error.reason), now)
        elif arrival is Arrival.LOOSE_ACK:
            acknowledge(self._usages, request, envelope, now)
        elif arrival is Arrival.MERGED:
            self._refuse_statelessly(request, answers, Refusal(482))
        elif arrival is Arrival.FULL:
            self._refuse_statelessly(request, answers, Refusal(503, (self._retry_after,)))

    def _admit(self, pending: Pending, flow: Flow, now: float) -> None:
        """A request that has not been here before."""
        usages, request, envelope = self._usages, pending.request, pending.envelope
        if request.method == "CANCEL":
            self._cancel(pending, now)
            return
        refusal = inspect(request, usages.options.refer_status)
        call = None
        if envelope.to_tag is not None:
            call = usages.calls.get((envelope.call_id, envelope.to_tag, envelope.from_tag or ""))
            if call is None:
                refusal = refusal or Refusal(481)
            elif not call.dialog.advance(envelope.cseq):
                refusal = Refusal(500, reason="CSeq out of order")
        elif request.method in _NO_DIALOG:
            refusal = refusal or Refusal(481)
        if refusal is None and call is None and request.method == "INVITE" and self._authenticator is not None:
            outcome = self._authenticator.check(request, now)
            if isinstance(outcome, Challenge):
                refusal = Refusal(outcome.status, outcome.headers)
        if refusal is not None:
            usages.refuse(pending, refusal, now, None if call is None else call.dialog.local_tag)
        elif request.method == "OPTIONS":
            self._options(pending, call, now)
        elif call is None:
            self._invite(pending, flow, now)
        else:
            HANDLERS[request.method](usages, call, pending, now)

    def _options(self, pending: Pending, call: SipCall | None, now: float) -> None:
        """Section 11: the status is that of an INVITE, as far as it is known."""
        if call is None and not self.available:
            self._usages.refuse(pending, Refusal(503, (self._retry_after,)), now)
            return
        tag = self._usages.token() if call is None else call.dialog.local_tag
        headers = [("Allow", ALLOW), ("Accept", ACCEPT), ("Accept-Encoding", "identity"), ("Supported", SUPPORTED)]
        self._usages.answer(pending, tag, 200, now, headers)

    def _cancel(self, pending: Pending, now: float) -> None:
        """Section 9.2. A CANCEL after the final answer is answered, and changes nothing."""
        usages, invite = self._usages, self._usages.transactions.find_invite(pending.envelope)
        if invite is None:
            usages.refuse(pending, Refusal(481), now)
            return
        call = invite.usage
        if not isinstance(call, SipCall):
            usages.answer(pending, usages.token(), 200, now)
            return
        usages.answer(pending, call.dialog.local_tag, 200, now)
        if call.pending is None or call.pending.transaction is not invite:
            return
        if call.state is CallState.INCOMING:
            usages.end(call, CallEvent.CANCEL, EndReason.CANCELLED, now)
        else:
            usages.reject(call, Refusal(487), now)

    def _invite(self, pending: Pending, flow: Flow, now: float) -> None:
        """A new call."""
        usages, request = self._usages, pending.request
        self.stats.invites += 1
        if request.body and request.content_type is not None and not takes_body(request.content_type.essence):
            request.body = b""  # passed as optional (8.2.3)
        refusal = self._refusal_of_call(request, flow)
        replaced = None
        if refusal is None:
            refusal, replaced = self._find_replaced(request)
        if refusal is not None:
            usages.refuse(pending, refusal, now)
            return
        dialog = Dialog.from_invite(request, pending.envelope, usages.token(), flow)
        call = SipCall(self.stats.invites, dialog, request, flow, pending, replaces=replaced)
        call.is_recording = _is_recording(request)
        call.is_reliable = "100rel" in request.require
        call.peer_allows = request.allow
        accepted = request.accept or ()
        call.gives_metadata = call.is_recording and any(one.matches(METADATA_REQUEST) for one in accepted)
        pending.transaction.usage = call
        usages.calls[dialog.id] = call
        usages.peers[flow.remote[0]] += 1
        usages.events.append(IncomingCall(call))

    def _refusal_of_call(self, request: SipRequest, flow: Flow) -> Refusal | None:
        usages, options = self._usages, self._usages.options
        full = self.calls >= options.max_calls or usages.peers[flow.remote[0]] >= options.max_calls_per_peer
        if full or not self.available:
            return Refusal(503, (self._retry_after,))
        if request.max_forwards == 0:
            # An endpoint may take what has no hops left, and takes OPTIONS (RFC 4475, 3.3.11); a call that comes over
            # so many hops runs in a circle.
            return Refusal(483)
        if not request.contacts:
            return Refusal(400, reason="Missing Contact")
        return usages.refusal_of_timer(request)

    def _find_replaced(self, request: SipRequest) -> tuple[Refusal | None, SipCall | None]:
        """RFC 3891, section 3."""
        values = request.headers.get_all("Replaces")
        if not values:
            return None, None
        if len(values) > 1:
            return Refusal(400, reason="Several Replaces"), None
        replaces = parse_replaces(values[0])
        call = self._usages.calls.get((replaces.call_id, replaces.to_tag, replaces.from_tag))
        if call is None or not call.dialog.confirmed:
            return Refusal(481), None  # an early dialog is replaced where it was begun, and we begin none
        if call.is_over:
            return Refusal(603), None
        return (Refusal(486), None) if replaces.early_only else (None, call)

    # -- answers without a transaction

    def _refuse_malformed(self, error: MalformedMessage, flow: Flow) -> None:
        """400 and the like. Retransmissions get the same again, so that nothing has to be remembered of them."""
        self.stats.malformed += 1
        if error.drop or error.partial is None or error.partial.headers.get("Via") is None:
            return
        try:
            via = error.partial.via
        except SipParseError:
            return
        if flow.transport == "UDP" and not via.wants_rport:
            flow = response_flow(flow, via)
        self._refuse_statelessly(error.partial, flow, Refusal(error.status, reason=error.reason))

    def _refuse_statelessly(self, request: SipRequest, flow: Flow, refusal: Refusal) -> None:
        self.stats.refused[refusal.status] += 1
        response = request.response(
            refusal.status, refusal.reason, to_tag=self._usages.token(), headers=refusal.headers
        )
        self._usages.transactions.out.append((response, flow))

    @property
    def _retry_after(self) -> tuple[str, str]:
        return ("Retry-After", str(self._usages.options.retry_after_s))


def _is_recording(request: SipRequest) -> bool:
    """Of a recording client: by its option tag or feature tag (RFC 7866, section 6.1; `src` in its drafts), or, where a
    client sends neither, by its metadata: their type, their purpose, or the namespace of RFC 7865 and its drafts."""
    return (
        "siprec" in request.require
        or any("+sip.src" in one.parameters or one.parameters.get("src", "") is None for one in request.contacts)
        or _HAS_METADATA.search(request.body) is not None
    )


_HAS_METADATA = re.compile(
    rb"application/(?:rs-metadata|recording\+xml)|content-disposition[ \t]*:[ \t]*recording-session"
    rb"|urn:ietf:params:xml:ns:(?:recording|siprec)\b",
    re.IGNORECASE,
)
