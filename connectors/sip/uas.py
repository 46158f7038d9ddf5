"""The SIP server without its sockets: requests in, answers and call events out (RFC 3261, section 8.2, 12 to 15).

Chain: driver -> `SipUas.receive` -> transactions -> inspection -> `SipCalls` -> `events()` -> connector, which answers
with `ring`, `accept`, `reject` and `hang_up` of `SipUas.calls`. After each of them the driver sends `to_send()` and
asks `next_timer()`. What peers do wrong is answered and counted; no exception leaves `receive`.
"""

import secrets
from collections.abc import Callable

from connectors.sip.call import (
    Acknowledged,
    Answer,
    Ended,
    EndReason,
    IncomingCall,
    Info,
    Pending,
    Reoffer,
    SipCall,
    UasEvent,
)
from connectors.sip.calls import SipCalls
from connectors.sip.digest import Challenge, DigestAuthenticator
from connectors.sip.inspection import ACCEPT, ALLOW, SUPPORTED, Refusal, inspect, takes_body
from connectors.sip.message.envelope import Envelope, mark_source
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.extensions import parse_replaces
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.message.parser import MalformedMessage
from connectors.sip.options import UasOptions
from connectors.sip.outgoing import Outgoing
from connectors.sip.stats import UasStats
from connectors.sip.transaction import Arrival, Flow, Transactions, response_flow

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
    hexadecimal. `available` False: no new calls, which answers to OPTIONS say, too."""

    def __init__(
        self,
        options: UasOptions | None = None,
        authenticator: DigestAuthenticator | None = None,
        *,
        token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        options = options or UasOptions()
        self.available = True
        self.stats = UasStats()
        self.transactions = Transactions(options.timers, options.max_transactions, options.max_transactions_per_peer)
        self._outgoing = Outgoing(options, self.transactions, self.stats, token)
        self.calls = SipCalls(options, self._outgoing, self.stats)
        self._options, self._authenticator = options, authenticator

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
                transaction = self.transactions.receive_response(message, Envelope.of(message), now)
                if transaction is not None:
                    self.calls.receive_response(transaction, message, now)
            else:
                self._receive_request(message, flow, now)
        except SipParseError:
            self.stats.malformed += 1  # a response or an ACK: requests are answered further in

    def handle_timer(self, now: float) -> None:
        """Whatever is due."""
        self.transactions.handle_timer(now)
        timed_out, self.transactions.timed_out = self.transactions.timed_out, []
        for transaction in timed_out:
            self.calls.time_out(transaction, now)
        self.calls.handle_timer(now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is due."""
        calls, transactions = self.calls.next_timer(), self.transactions.next_timer()
        return transactions if calls is None else calls if transactions is None else min(calls, transactions)

    def to_send(self) -> list[tuple[SipRequest | SipResponse, Flow]]:
        """Messages to be sent, in order; each comes once."""
        out, self.transactions.out = self.transactions.out, []
        return out

    def events(self) -> list[UasEvent]:
        """What happened, in order; each comes once."""
        events, self.calls.events = self.calls.events, []
        return events

    # -- requests

    def _receive_request(self, request: SipRequest, flow: Flow, now: float) -> None:
        envelope = Envelope.of(request)
        mark_source(request, envelope, flow.remote)
        answers = response_flow(flow, envelope.via)
        arrival, transaction = self.transactions.receive(request, envelope, answers, now)
        if arrival is Arrival.NEW and transaction is not None:
            pending = Pending(request, envelope, transaction)
            try:
                self._admit(pending, flow, now)
            except SipParseError as error:
                self._outgoing.refuse(pending, Refusal(error.status, reason=error.reason), now)
        elif arrival is Arrival.LOOSE_ACK:
            self.calls.acknowledge(request, envelope, now)
        elif arrival is Arrival.MERGED:
            self._outgoing.refuse_statelessly(request, answers, Refusal(482))
        elif arrival is Arrival.FULL:
            self._outgoing.refuse_statelessly(request, answers, Refusal(503, (self._outgoing.retry_after,)))

    def _admit(self, pending: Pending, flow: Flow, now: float) -> None:
        """A request that has not been here before."""
        request, envelope = pending.request, pending.envelope
        if request.method == "CANCEL":
            self._cancel(pending, now)
            return
        refusal = inspect(request, self._options.refer_status)
        call = None
        if envelope.to_tag is not None:
            call = self.calls.find(envelope.call_id, envelope.to_tag, envelope.from_tag or "")
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
            self._outgoing.refuse(pending, refusal, now, None if call is None else call.dialog.local_tag)
        elif request.method == "OPTIONS":
            self._answer_options(pending, call, now)
        elif call is None:
            self._invite(pending, flow, now)
        else:
            self._dispatch(call, pending, now)

    def _dispatch(self, call: SipCall, pending: Pending, now: float) -> None:
        """A request within a call."""
        match pending.request.method:
            case "INVITE":
                self.calls.reinvite(call, pending, now)
            case "UPDATE":
                self.calls.update(call, pending, now)
            case "BYE":
                self.calls.bye(call, pending, now)
            case "INFO":
                self.calls.info(call, pending, now)
            case "PRACK":
                self.calls.prack(call, pending, now)

    def _answer_options(self, pending: Pending, call: SipCall | None, now: float) -> None:
        """Section 11: the status is that of an INVITE, as far as it is known."""
        if call is None and not self.available:
            self._outgoing.refuse(pending, Refusal(503, (self._outgoing.retry_after,)), now)
            return
        tag = self._outgoing.token() if call is None else call.dialog.local_tag
        headers = [("Allow", ALLOW), ("Accept", ACCEPT), ("Accept-Encoding", "identity"), ("Supported", SUPPORTED)]
        self._outgoing.answer(pending, tag, 200, now, headers)

    def _cancel(self, pending: Pending, now: float) -> None:
        """Section 9.2. A CANCEL after the final answer is answered, and changes nothing."""
        invite = self.transactions.find_invite(pending.envelope)
        if invite is None:
            self._outgoing.refuse(pending, Refusal(481), now)
            return
        call = invite.usage
        if not isinstance(call, SipCall):
            self._outgoing.answer(pending, self._outgoing.token(), 200, now)
            return
        self._outgoing.answer(pending, call.dialog.local_tag, 200, now)
        self.calls.cancel(call, invite, now)

    def _invite(self, pending: Pending, flow: Flow, now: float) -> None:
        """A new call, unless it is refused."""
        request = pending.request
        self.stats.invites += 1
        if request.body and request.content_type is not None and not takes_body(request.content_type.essence):
            request.body = b""  # passed as optional (8.2.3)
        refusal = self._refusal_of_call(request, flow)
        replaced = None
        if refusal is None:
            refusal, replaced = self._find_replaced(request)
        if refusal is not None:
            self._outgoing.refuse(pending, refusal, now)
            return
        self.calls.begin(pending, flow, replaced)

    def _refusal_of_call(self, request: SipRequest, flow: Flow) -> Refusal | None:
        if not self.available or self.calls.is_full(flow.remote[0]):
            return Refusal(503, (self._outgoing.retry_after,))
        if request.max_forwards == 0:
            # An endpoint may take what has no hops left, and takes OPTIONS (RFC 4475, 3.3.11); a call that comes over
            # so many hops runs in a circle.
            return Refusal(483)
        if not request.contacts:
            return Refusal(400, reason="Missing Contact")
        return self.calls.refusal_of_timer(request)

    def _find_replaced(self, request: SipRequest) -> tuple[Refusal | None, SipCall | None]:
        """RFC 3891, section 3."""
        values = request.headers.get_all("Replaces")
        if not values:
            return None, None
        if len(values) > 1:
            return Refusal(400, reason="Several Replaces"), None
        replaces = parse_replaces(values[0])
        call = self.calls.find(replaces.call_id, replaces.to_tag, replaces.from_tag)
        if call is None or not call.dialog.confirmed:
            return Refusal(481), None  # an early dialog is replaced where it was begun, and we begin none
        if call.is_over:
            return Refusal(603), None
        return (Refusal(486), None) if replaces.early_only else (None, call)

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
        self._outgoing.refuse_statelessly(error.partial, flow, Refusal(error.status, reason=error.reason))
