"""The calls of a SIP server, from their INVITE to their BYE (RFC 3261, sections 12 to 15; RFC 3262, 3311, 6086).

Sits between `uas.SipUas`, which hands each request to its call, and `outgoing`. Every step of a call's state goes
through `TABLE` in `call`. The user of the core answers what `events` bring with `ring`, `accept`, `reject` and
`hang_up`.
"""

import re
from collections import Counter
from collections.abc import Sequence

from connectors.errors import LocalProtocolError
from connectors.sip.call import (
    TABLE,
    Acknowledged,
    Answer,
    CallTimer,
    Ended,
    EndReason,
    IncomingCall,
    Info,
    Pending,
    Reoffer,
    SipCall,
    SipCallAction,
    SipCallEvent,
    SipCallState,
    UasEvent,
)
from connectors.sip.dialog import Dialog
from connectors.sip.inspection import ALLOW, SUPPORTED, Refusal
from connectors.sip.message.envelope import Envelope
from connectors.sip.message.extensions import parse_rack
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.options import UasOptions
from connectors.sip.outgoing import Outgoing
from connectors.sip.reliable_responses import ReliableResponses
from connectors.sip.session_refresh import SessionRefresh
from connectors.sip.stats import UasStats
from connectors.sip.timers import Deadlines
from connectors.sip.transaction import Flow, Transaction
from connectors.siprec.body import METADATA_REQUEST


class SipCalls:
    """All calls of a server, by dialog. `len`: those whose dialog is there."""

    def __init__(self, options: UasOptions, outgoing: Outgoing, stats: UasStats) -> None:
        self.events: list[UasEvent] = []
        self._options, self._outgoing, self._stats = options, outgoing, stats
        self._calls: dict[tuple[str, str, str], SipCall] = {}
        self._peers: Counter[str] = Counter()
        self._deadlines: Deadlines[tuple[SipCall, CallTimer]] = Deadlines()
        self._repeated = ReliableResponses(options.timers, outgoing.transactions, self._deadlines)
        self._sessions = SessionRefresh(options.session_timers, outgoing, self._deadlines)

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, call_id: str, local_tag: str, remote_tag: str) -> SipCall | None:
        return self._calls.get((call_id, local_tag, remote_tag))

    def is_full(self, peer: str) -> bool:
        """No further call of this peer is taken."""
        options = self._options
        return len(self._calls) >= options.max_calls or self._peers[peer] >= options.max_calls_per_peer

    def refusal_of_timer(self, request: SipRequest) -> Refusal | None:
        """422 for a session interval that is too short (RFC 4028)."""
        return self._sessions.refusal(request)

    # -- answers of the user

    def ring(self, call: SipCall, now: float, status: int = 180) -> None:
        """A provisional answer; reliable where the peer requires that (RFC 3262). One at a time: while another waits
        for its PRACK, this one is left out."""
        pending, outgoing = _pending(call), self._outgoing
        if call.unpracked is not None:
            return
        headers = [("Contact", outgoing.contact(call)), ("Allow", ALLOW), *_record_route(pending)]
        if call.is_reliable:
            call.rseq = call.rseq + 1 if call.rseq else outgoing.random(1 << 30) + 1
            headers += [("Require", "100rel"), ("RSeq", str(call.rseq))]
        response = outgoing.answer(pending, call.dialog.local_tag, status, now, headers)
        if call.is_reliable:
            self._repeated.start_1xx(call, pending, response, now)

    def accept(self, call: SipCall, answer: Answer, now: float) -> None:
        """200 to what is pending. It waits for the PRACK of a provisional answer that was sent reliably."""
        pending, outgoing = _pending(call), self._outgoing
        if call.unpracked is not None:
            call.deferred = answer
            return
        call.pending = None
        headers = [("Contact", outgoing.contact(call)), ("Allow", ALLOW), ("Supported", SUPPORTED)]
        headers += self._sessions.agree(call, pending.request, now)
        headers += answer.headers
        first = call.state is SipCallState.INCOMING
        if first:
            headers += _record_route(pending)
            call.dialog.confirmed = True
            self._stats.accepted += 1
            self._step(call, SipCallEvent.ACCEPT, now)
        else:
            call.dialog.refresh_target(pending.request, pending.transaction.flow)
        if answer.content_type == "application/sdp" and answer.body:
            call.local_sdp = answer.body
        response = outgoing.answer(pending, call.dialog.local_tag, 200, now, headers, answer)
        if pending.request.method == "INVITE":
            call.offering = answer.is_offer
            self._repeated.start_2xx(call, pending, response, now)
        if first and call.replaces is not None:
            replaced, call.replaces = call.replaces, None
            self._step(replaced, SipCallEvent.HANG_UP, now, EndReason.REPLACED)

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
            headers = [*headers, self._outgoing.retry_after]
        self._reject(call, Refusal(status, tuple(headers)), now)

    def hang_up(self, call: SipCall, now: float) -> None:
        """BYE, as soon as it may be sent; 480 where the call was not answered yet. No event follows."""
        self._step(call, SipCallEvent.HANG_UP, now)

    def ask_metadata(self, call: SipCall, reason: str, now: float) -> bool:
        """Ask a recording client for all its metadata anew (RFC 7866): they come in a request of its own.
        False where it does not say that it can be asked. `reason`: one line."""
        if call.is_over or not call.gives_metadata or "UPDATE" not in call.peer_allows:
            return False
        headers = [("Content-Disposition", "recording-session")]
        self._outgoing.request(call, "UPDATE", now, headers, f"{reason}\r\n".encode(), METADATA_REQUEST)
        return True

    # -- requests of peers

    def begin(self, pending: Pending, flow: Flow, replaced: SipCall | None) -> None:
        """A new call by an INVITE that is not refused, in the place of `replaced` once it is accepted. Raises
        `SipParseError`: no dialog can be made of it."""
        request = pending.request
        dialog = Dialog.from_invite(request, pending.envelope, self._outgoing.token(), flow)
        call = SipCall(self._stats.invites, dialog, request, flow, pending, replaces=replaced)
        call.is_recording = _is_recording(request)
        call.is_reliable = "100rel" in request.require
        call.peer_allows = request.allow
        accepted = request.accept or ()
        call.gives_metadata = call.is_recording and any(one.matches(METADATA_REQUEST) for one in accepted)
        pending.transaction.usage = call
        self._calls[dialog.id] = call
        self._peers[flow.remote[0]] += 1
        self.events.append(IncomingCall(call))

    def cancel(self, call: SipCall, invite: Transaction, now: float) -> None:
        """A CANCEL of this INVITE (section 9.2); after its final answer it changes nothing."""
        if call.pending is None or call.pending.transaction is not invite:
            return
        if call.state is SipCallState.INCOMING:
            self._step(call, SipCallEvent.CANCEL, now, EndReason.CANCELLED)
        else:
            self._reject(call, Refusal(487), now)

    def acknowledge(self, request: SipRequest, envelope: Envelope, now: float) -> None:
        """The ACK of a 2xx (section 13.3.1.4)."""
        call = self.find(envelope.call_id, envelope.to_tag or "", envelope.from_tag or "")
        if call is None or call.unacked is None or call.unacked.number != envelope.cseq:
            self._stats.stray_acks += 1
            return
        self._repeated.stop_2xx(call)
        offered, call.offering = call.offering, False
        was_running = call.state is SipCallState.CONFIRMED
        self._step(call, SipCallEvent.ACK, now)
        if call.is_over:
            return
        if not offered or request.body:
            self.events.append(Acknowledged(call, request if offered else None))
        elif was_running:  # of a re-INVITE without a body: the session goes on as it was
            self._stats.unanswered_offers += 1
            self.events.append(Acknowledged(call, None))
        else:
            self._step(call, SipCallEvent.HANG_UP, now, EndReason.NO_ANSWER)

    def reinvite(self, call: SipCall, pending: Pending, now: float) -> None:
        """Section 14.2: one at a time, and none while ours is on its way."""
        refusal = self._glare(call) or self.refusal_of_timer(pending.request)
        if refusal is None and call.unacked is not None:
            # A peer that goes on has got our 2xx: its ACK was lost.
            self._repeated.stop_2xx(call)
            self._step(call, SipCallEvent.ACK, now)
        self._offer(call, pending, refusal, now)

    def update(self, call: SipCall, pending: Pending, now: float) -> None:
        """RFC 3311, section 5.2. Without a body it is answered here: a new target, or the session timer."""
        has_body = bool(pending.request.body)
        refusal = self._glare(call) if has_body else None
        refusal = refusal or self.refusal_of_timer(pending.request)
        if refusal is not None or has_body:
            self._offer(call, pending, refusal, now)
            return
        headers = [("Contact", self._outgoing.contact(call)), ("Allow", ALLOW), ("Supported", SUPPORTED)]
        if call.state is not SipCallState.INCOMING:
            headers += self._sessions.agree(call, pending.request, now)
        call.dialog.refresh_target(pending.request, pending.transaction.flow)
        self._outgoing.answer(pending, call.dialog.local_tag, 200, now, headers)

    def bye(self, call: SipCall, pending: Pending, now: float) -> None:
        """Section 15.1.2."""
        self._outgoing.answer(pending, call.dialog.local_tag, 200, now)
        self._step(call, SipCallEvent.BYE, now, EndReason.BYE)

    def info(self, call: SipCall, pending: Pending, now: float) -> None:
        """Keys pressed. An INFO without a body is a way to ask whether we are there."""
        self._outgoing.answer(pending, call.dialog.local_tag, 200, now)
        kind = pending.request.content_type
        if pending.request.body and kind is not None and not call.is_over:
            whole = str(kind) if kind.essence.startswith("multipart/") else kind.essence
            self.events.append(Info(call, whole, pending.request.body))

    def prack(self, call: SipCall, pending: Pending, now: float) -> None:
        """RFC 3262, section 3."""
        outgoing, waiting = self._outgoing, call.unpracked
        rack = parse_rack(pending.request.headers.get("RAck") or "")
        known = None if waiting is None else (waiting.number, waiting.transaction.request.cseq.number, "INVITE")
        if (rack.rseq, rack.cseq, rack.method) != known:
            outgoing.refuse(pending, Refusal(481), now, call.dialog.local_tag)
            return
        if pending.request.body:  # our provisional answers carry no description, so there is nothing to renegotiate yet
            outgoing.refuse(pending, Refusal(488), now, call.dialog.local_tag)
            return
        outgoing.answer(pending, call.dialog.local_tag, 200, now)
        self._repeated.stop_1xx(call)
        if call.deferred is not None:
            answer, call.deferred = call.deferred, None
            self.accept(call, answer, now)

    def _glare(self, call: SipCall) -> Refusal | None:
        if call.is_over:
            return Refusal(481)
        if call.pending is not None:
            return Refusal(500, (("Retry-After", str(self._outgoing.random(11))),))
        if call.offering or (call.refresh is not None and call.refresh.request.method == "INVITE"):
            return Refusal(491)
        return None

    def _offer(self, call: SipCall, pending: Pending, refusal: Refusal | None, now: float) -> None:
        if refusal is not None:
            self._outgoing.refuse(pending, refusal, now, call.dialog.local_tag)
            return
        call.pending = pending
        pending.transaction.usage = call
        self.events.append(Reoffer(call))

    # -- answers to requests of ours

    def receive_response(self, transaction: Transaction, response: SipResponse, now: float) -> None:
        """An answer to a request of ours. Those to a BYE say nothing new."""
        call = transaction.usage
        if not isinstance(call, SipCall) or response.status < 200:
            return
        if response.status < 300 and transaction.request.method == "INVITE":
            self._outgoing.acknowledge(call, transaction)
        reason = self._sessions.receive_response(call, transaction, response, now)
        if reason is not None:
            self._step(call, SipCallEvent.HANG_UP, now, reason)

    def time_out(self, transaction: Transaction, now: float) -> None:
        """A request of ours was not answered. A BYE that was not is done all the same."""
        call = transaction.usage
        if isinstance(call, SipCall):
            reason = self._sessions.time_out(call, transaction)
            if reason is not None:
                self._step(call, SipCallEvent.HANG_UP, now, reason)

    # -- time

    def next_timer(self) -> float | None:
        """When `handle_timer` is due."""
        return self._deadlines.next()

    def handle_timer(self, now: float) -> None:
        """Whatever is due."""
        for call, timer in self._deadlines.due(now):
            if timer is CallTimer.LIMIT_2XX:
                self._repeated.stop_2xx(call)
                self._step(call, SipCallEvent.NO_ACK, now, EndReason.NO_ACK)
            elif timer is CallTimer.LIMIT_1XX:
                self._give_up_1xx(call, now)
            elif timer is CallTimer.SESSION:
                reason = self._sessions.handle_timer(call, now)
                if reason is not None:
                    self._step(call, SipCallEvent.HANG_UP, now, reason)
            else:
                self._repeated.repeat(call, timer, now)

    def _give_up_1xx(self, call: SipCall, now: float) -> None:
        """No PRACK came (RFC 3262, section 3)."""
        if call.pending is not None:
            self._repeated.stop_1xx(call)
            self._outgoing.refuse(call.pending, Refusal(504), now, call.dialog.local_tag)
            call.pending = None
            self._step(call, SipCallEvent.CANCEL, now, EndReason.NO_PRACK)

    # -- state

    def _step(self, call: SipCall, event: SipCallEvent, now: float, reason: EndReason | None = None) -> None:
        """One step of a call's table; what is not in it changes nothing. `reason`: of the `Ended`, where the user is to
        get one."""
        entry = TABLE.get((call.state, event))
        if entry is None:
            return
        call.state, actions = entry
        for action in actions:
            if action is SipCallAction.SEND_BYE:
                self._outgoing.request(call, "BYE", now)
            elif action is SipCallAction.REFUSE_INVITE:
                self._refuse_pending(call, 480 if event is SipCallEvent.HANG_UP else 487, now)
            elif action is SipCallAction.REPORT_END and reason is not None:
                self._stats.ended[reason.value] += 1
                self.events.append(Ended(call, reason))
        if call.is_over:  # 15.1.2: what is unanswered is answered with 487
            self._refuse_pending(call, 487, now)
        if call.state is SipCallState.ENDED:
            self._forget(call)

    def _reject(self, call: SipCall, refusal: Refusal, now: float) -> None:
        pending, call.pending = _pending(call), None
        self._outgoing.refuse(pending, refusal, now, call.dialog.local_tag)
        if call.state is SipCallState.INCOMING:
            self._step(call, SipCallEvent.REJECT, now)

    def _refuse_pending(self, call: SipCall, status: int, now: float) -> None:
        pending, call.pending = call.pending, None
        if pending is not None:
            self._outgoing.refuse(pending, Refusal(status), now, call.dialog.local_tag)

    def _forget(self, call: SipCall) -> None:
        if self._calls.pop(call.dialog.id, None) is None:
            return
        peer = call.flow.remote[0]
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]
        self._repeated.stop_1xx(call)
        self._repeated.stop_2xx(call)
        self._sessions.stop(call)


def _pending(call: SipCall) -> Pending:
    if call.pending is None:
        raise LocalProtocolError("nothing waits for an answer")
    return call.pending


def _record_route(pending: Pending) -> list[tuple[str, str]]:
    return [("Record-Route", value) for value in pending.request.headers.get_all("Record-Route")]


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
