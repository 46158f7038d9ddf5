"""The calls of a `uas.SipUas`, from their INVITE to their BYE: answers, what is repeated until it is acknowledged,
session timers, and the requests of ours that belong to them.

Sits between the requests, which `uas` and `in_dialog` sort out, and the transactions. Every step of a call's state goes
through `TABLE` in `call`.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from connectors.errors import LocalProtocolError
from connectors.sip.call import (
    TABLE,
    Answer,
    CallAction,
    CallEvent,
    CallState,
    Ended,
    EndReason,
    Pending,
    Repeated,
    SipCall,
    UasEvent,
)
from connectors.sip.dialog import bracketed
from connectors.sip.message.inspection import ALLOW, SUPPORTED, Refusal
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.session_timer import (
    LONGEST_S,
    Due,
    SessionExpires,
    SessionTimer,
    SessionTimerOptions,
    Terms,
    TooSmall,
    negotiate,
    seconds,
)
from connectors.sip.timers import Alarms
from connectors.sip.transaction import TimerValues, Transaction, Transactions
from connectors.siprec.body import METADATA_REQUEST

REPEAT_2XX, LIMIT_2XX, REPEAT_1XX, LIMIT_1XX, SESSION = range(5)
"""What a call has alarms for."""

GONE = frozenset({408, 481})
"""Answers to a request of ours that end its dialog (section 12.2.1.2)."""


@dataclass(frozen=True, slots=True)
class UasOptions:
    """`refer_status`: 603 or 405. `retry_after_s`: with every 503. `user`: of our Contact. A peer is an address."""

    timers: TimerValues = field(default_factory=TimerValues)
    session_timers: SessionTimerOptions = field(default_factory=SessionTimerOptions)
    refer_status: int = 603
    retry_after_s: int = 5
    server_name: str = "trunkline"
    user: str = "trunkline"
    max_calls: int = 5_000
    max_calls_per_peer: int = 5_000
    max_transactions: int = 50_000
    max_transactions_per_peer: int = 50_000


@dataclass(slots=True)
class UasStats:
    """`refused`: requests answered with a failure, by status. `malformed`: messages answered with the parser's words or
    not at all. `ignored_headers`, `mended_headers`: of messages that were taken, header fields that cannot be read and
    that nothing needed, and those that break the grammar and have one plain meaning (`needs`, `leniency`), by name.
    `unanswered_offers`: ACKs of running calls without the answer to our offer. `ended`: calls, by reason."""

    invites: int = 0
    accepted: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    malformed: int = 0
    ignored_headers: Counter[str] = field(default_factory=Counter)
    mended_headers: Counter[str] = field(default_factory=Counter)
    unanswered_offers: int = 0
    stray_acks: int = 0
    ended: Counter[str] = field(default_factory=Counter)


class Usages:
    """All calls of a server, by dialog. `token`: makes tags and branches that nobody can guess, in hexadecimal."""

    def __init__(self, options: UasOptions, token: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self.options = options
        self.stats = UasStats()
        self.token = token
        self.transactions = Transactions(options.timers, options.max_transactions, options.max_transactions_per_peer)
        self.calls: dict[tuple[str, str, str], SipCall] = {}
        self.peers: Counter[str] = Counter()
        self.events: list[UasEvent] = []
        self._alarms: Alarms[tuple[SipCall, int]] = Alarms()

    def random(self, below: int) -> int:
        return int(self.token(), 16) % below

    # -- answers

    def answer(
        self,
        pending: Pending,
        tag: str,
        status: int,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        content: Answer | None = None,
    ) -> SipResponse:
        """Answer a request."""
        if self.options.server_name:
            headers = [*headers, ("Server", self.options.server_name)]
        body = b"" if content is None else content.body
        kind = content.content_type if content is not None and body else None
        response = pending.request.response(status, to_tag=tag, headers=headers, body=body, content_type=kind)
        self.transactions.respond(pending.transaction, response, now)
        return response

    def refuse(self, pending: Pending, refusal: Refusal, now: float, tag: str | None = None) -> None:
        """Answer a request with a failure."""
        self.stats.refused[refusal.status] += 1
        request = pending.request
        response = request.response(refusal.status, refusal.reason, to_tag=tag or self.token(), headers=refusal.headers)
        self.transactions.respond(pending.transaction, response, now)

    def ring(self, call: SipCall, now: float, status: int) -> None:
        """See `SipUas.ring`."""
        pending = self._pending(call)
        if call.unpracked is not None:
            return
        headers = [("Contact", self.contact(call)), ("Allow", ALLOW), *self._record_route(pending)]
        if call.is_reliable:
            call.rseq = call.rseq + 1 if call.rseq else self.random(1 << 30) + 1
            headers += [("Require", "100rel"), ("RSeq", str(call.rseq))]
        response = self.answer(pending, call.dialog.local_tag, status, now, headers)
        if call.is_reliable:
            timers = self.options.timers
            call.unpracked = Repeated(response, pending.transaction, call.rseq, timers.t1)
            self._alarms.set((call, REPEAT_1XX), now + timers.t1)
            self._alarms.set((call, LIMIT_1XX), now + timers.limit)

    def accept(self, call: SipCall, answer: Answer, now: float) -> None:
        """See `SipUas.accept`."""
        pending = self._pending(call)
        if call.unpracked is not None:
            call.deferred = answer
            return
        call.pending = None
        headers = [("Contact", self.contact(call)), ("Allow", ALLOW), ("Supported", SUPPORTED)]
        headers += self.agree_timer(call, pending.request, now)
        headers += answer.headers
        first = call.state is CallState.INCOMING
        if first:
            headers += self._record_route(pending)
            call.dialog.confirmed = True
            self.stats.accepted += 1
            self.step(call, CallEvent.ACCEPT, now)
        else:
            call.dialog.refresh_target(pending.request, pending.transaction.flow)
        if answer.content_type == "application/sdp" and answer.body:
            call.local_sdp = answer.body
        response = self.answer(pending, call.dialog.local_tag, 200, now, headers, answer)
        if pending.request.method == "INVITE":
            timers = self.options.timers
            call.offering = answer.is_offer
            call.unacked = Repeated(response, pending.transaction, pending.envelope.cseq, timers.t1)
            self._alarms.set((call, REPEAT_2XX), now + timers.t1)
            self._alarms.set((call, LIMIT_2XX), now + timers.limit)
        if first and call.replaces is not None:
            replaced, call.replaces = call.replaces, None
            self.end(replaced, CallEvent.HANG_UP, EndReason.REPLACED, now)

    def reject(self, call: SipCall, refusal: Refusal, now: float) -> None:
        """See `SipUas.reject`."""
        pending = self._pending(call)
        call.pending = None
        self.refuse(pending, refusal, now, call.dialog.local_tag)
        if call.state is CallState.INCOMING:
            self.step(call, CallEvent.REJECT, now)

    # -- state

    def step(self, call: SipCall, event: CallEvent, now: float, reason: EndReason | None = None) -> None:
        """One step of a call's table; what is not in it changes nothing. `reason`: for those who are told."""
        entry = TABLE.get((call.state, event))
        if entry is None:
            return
        call.state, actions = entry
        for action in actions:
            if action is CallAction.SEND_BYE:
                self._request(call, "BYE", now)
            elif action is CallAction.REFUSE_INVITE and call.pending is not None:
                pending, call.pending = call.pending, None
                status = 480 if event is CallEvent.HANG_UP else 487
                self.refuse(pending, Refusal(status), now, call.dialog.local_tag)
            elif action is CallAction.TELL and reason is not None:
                self.stats.ended[reason.value] += 1
                self.events.append(Ended(call, reason))
        if call.is_over and call.pending is not None:  # 15.1.2: what is unanswered is answered with 487
            pending, call.pending = call.pending, None
            self.refuse(pending, Refusal(487), now, call.dialog.local_tag)
        if call.state is CallState.ENDED:
            self._forget(call)

    def end(self, call: SipCall, event: CallEvent, reason: EndReason, now: float) -> None:
        """The same for what ends a call."""
        self.step(call, event, now, reason)

    def stop_repeating_2xx(self, call: SipCall) -> None:
        call.unacked = None
        self._alarms.cancel((call, REPEAT_2XX))
        self._alarms.cancel((call, LIMIT_2XX))

    def stop_repeating_1xx(self, call: SipCall) -> None:
        call.unpracked = None
        self._alarms.cancel((call, REPEAT_1XX))
        self._alarms.cancel((call, LIMIT_1XX))

    def _forget(self, call: SipCall) -> None:
        if self.calls.pop(call.dialog.id, None) is None:
            return
        peer = call.flow.remote[0]
        self.peers[peer] -= 1
        if not self.peers[peer]:
            del self.peers[peer]
        call.timer = None
        self.stop_repeating_1xx(call)
        self.stop_repeating_2xx(call)
        self._alarms.cancel((call, SESSION))

    # -- session timers (RFC 4028)

    def terms(self, request: SipRequest) -> Terms | TooSmall | None:
        """What a request asks for comes to."""
        asked = request.headers.get("Session-Expires")
        least = request.headers.get("Min-SE")
        supported = "timer" in request.supported or "timer" in request.require
        return negotiate(
            None if asked is None else SessionExpires.parse(asked),
            seconds(least),
            supported=supported,
            options=self.options.session_timers,
        )

    def refusal_of_timer(self, request: SipRequest) -> Refusal | None:
        """422 for an interval that is too short."""
        terms = self.terms(request)
        return Refusal(422, (("Min-SE", str(terms.min_se_s)),)) if isinstance(terms, TooSmall) else None

    def agree_timer(self, call: SipCall, request: SipRequest, now: float) -> list[tuple[str, str]]:
        """Start the session timer that a 2xx agrees to; its header fields."""
        terms = self.terms(request)
        if not isinstance(terms, Terms):
            self._set_timer(call, None)
            return []
        we_refresh = terms.expires.refresher == "uas"
        self._set_timer(call, SessionTimer(terms.expires.interval_s, we_refresh=we_refresh, now=now))
        return [("Session-Expires", str(terms.expires)), *([("Require", "timer")] if terms.require else [])]

    def _set_timer(self, call: SipCall, timer: SessionTimer | None) -> None:
        call.timer = timer
        if timer is None:
            self._alarms.cancel((call, SESSION))
        else:
            self._alarms.set((call, SESSION), timer.next_timer())

    def _refresh(self, call: SipCall, now: float) -> None:
        """UPDATE where the peer knows it, else a re-INVITE that repeats our description (section 7.4)."""
        assert call.timer is not None
        if call.refresh is not None or call.pending is not None or call.unacked is not None:
            call.timer.retry_at(now + 1 + self.random(200) / 100)  # never two offers at a time
            return
        method = "UPDATE" if "UPDATE" in call.peer_allows else "INVITE"
        interval = max(call.timer.interval_s, call.min_se_s)
        headers = [("Supported", SUPPORTED), ("Session-Expires", f"{interval};refresher=uac")]
        if call.min_se_s:
            headers.append(("Min-SE", str(call.min_se_s)))
        body = call.local_sdp if method == "INVITE" else b""
        call.refresh = self._request(call, method, now, headers, body)

    # -- requests of ours

    def ask_metadata(self, call: SipCall, reason: str, now: float) -> bool:
        """See `SipUas.ask_metadata`."""
        if call.is_over or not call.gives_metadata or "UPDATE" not in call.peer_allows:
            return False
        headers = [("Content-Disposition", "recording-session")]
        self._request(call, "UPDATE", now, headers, f"{reason}\r\n".encode(), METADATA_REQUEST)
        return True

    def _request(
        self,
        call: SipCall,
        method: str,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str = "application/sdp",
    ) -> Transaction:
        branch = f"z9hG4bK{self.token()}"
        request, flow = call.dialog.request(method, branch)
        request.headers.add("Contact", self.contact(call))
        request.headers.add("Allow", ALLOW)
        for name, value in headers:
            request.headers.add(name, value)
        if self.options.server_name:
            request.headers.add("User-Agent", self.options.server_name)
        if body:
            request.headers.add("Content-Type", content_type)
            request.body = body
        transaction = self.transactions.request(request, branch, flow, now)
        transaction.usage = call
        return transaction

    def receive_answer(self, transaction: Transaction, response: SipResponse, now: float) -> None:
        """An answer to a request of ours. Those to a BYE say nothing new."""
        call = transaction.usage
        if not isinstance(call, SipCall) or response.status < 200:
            return
        success = response.status < 300
        if success and transaction.request.method == "INVITE":
            self._acknowledge(call, transaction)
        if call.refresh is not transaction:
            return
        call.refresh = None
        if call.is_over or call.timer is None:
            return
        if success:
            self._refreshed(call, response, now)
        elif response.status in GONE:
            self.end(call, CallEvent.HANG_UP, EndReason.REFRESH_FAILED, now)
        elif response.status == 422 and (least := seconds(response.headers.get("Min-SE"))):
            call.min_se_s = min(max(call.min_se_s, least), LONGEST_S)
            call.timer.retry_at(now)
        elif response.status in (405, 501) and transaction.request.method == "UPDATE":
            call.peer_allows -= {"UPDATE"}
            call.timer.retry_at(now)
        elif response.status == 491:  # 14.1: who does not own the Call-ID waits up to 2 s
            call.timer.retry_at(now + self.random(200) / 100)
        else:
            call.timer.refused(now, seconds(response.headers.get("Retry-After")))
        self._set_timer(call, call.timer)

    def _refreshed(self, call: SipCall, response: SipResponse, now: float) -> None:
        """Section 7.2: the answer says who refreshes the next time; without the field there is no timer any more. A
        field that cannot be read leaves what was asked for."""
        contacts = response.contacts
        if contacts:
            call.dialog.remote_target = contacts[0].uri
        agreed = response.headers.get("Session-Expires")
        expires = None if agreed is None else SessionExpires.parse(agreed)
        if expires is None:
            if agreed is not None and call.timer is not None:
                call.timer.refreshed(now)
            self._set_timer(call, call.timer if agreed is not None else None)
            return
        interval = max(expires.interval_s, 1)
        self._set_timer(call, SessionTimer(interval, we_refresh=expires.refresher != "uas", now=now))

    def _acknowledge(self, call: SipCall, transaction: Transaction) -> None:
        """The ACK of a 2xx, again with every repetition of it (13.2.2.4)."""
        number = transaction.request.cseq.number
        if call.acked is None or call.acked[0] != number:
            request, flow = call.dialog.request("ACK", f"z9hG4bK{self.token()}", cseq=number)
            call.acked = (number, request, flow)
        self.transactions.out.append(call.acked[1:])

    def unanswered(self, transaction: Transaction, now: float) -> None:
        """A request of ours timed out. A BYE that did is done all the same."""
        call = transaction.usage
        if isinstance(call, SipCall) and call.refresh is transaction:
            call.refresh = None
            self.end(call, CallEvent.HANG_UP, EndReason.REFRESH_FAILED, now)

    # -- time

    def next_timer(self) -> float | None:
        mine, theirs = self._alarms.next(), self.transactions.next_timer()
        return theirs if mine is None else mine if theirs is None else min(mine, theirs)

    def handle_timer(self, now: float) -> None:
        self.transactions.handle_timer(now)
        silent, self.transactions.timed_out = self.transactions.timed_out, []
        for transaction in silent:
            self.unanswered(transaction, now)
        for call, alarm in self._alarms.due(now):
            self._alarm(call, alarm, now)

    def _alarm(self, call: SipCall, alarm: int, now: float) -> None:
        timers = self.options.timers
        if alarm == REPEAT_2XX and call.unacked is not None:
            # 13.3.1.4: over streams, too, as a proxy on the way may use datagrams
            again = call.unacked
            self.transactions.stats.repeated += 1
            self.transactions.respond(again.transaction, again.response, now)
            again.interval = min(2 * again.interval, timers.t2)
            self._alarms.set((call, alarm), now + again.interval)
        elif alarm == LIMIT_2XX:
            self.stop_repeating_2xx(call)
            self.end(call, CallEvent.NO_ACK, EndReason.NO_ACK, now)
        elif alarm == REPEAT_1XX and call.unpracked is not None:
            again = call.unpracked
            self.transactions.stats.repeated += 1
            self.transactions.respond(again.transaction, again.response, now)
            again.interval *= 2  # RFC 3262, section 3: without an upper bound
            self._alarms.set((call, alarm), now + again.interval)
        elif alarm == LIMIT_1XX and call.pending is not None:
            self.stop_repeating_1xx(call)
            self.refuse(call.pending, Refusal(504), now, call.dialog.local_tag)
            call.pending = None
            self.end(call, CallEvent.CANCEL, EndReason.NO_PRACK, now)
        elif alarm == SESSION and call.timer is not None:
            due = call.timer.due(now)
            if due is Due.EXPIRED:
                self.end(call, CallEvent.HANG_UP, EndReason.EXPIRED, now)
                return
            if due is Due.REFRESH:
                self._refresh(call, now)
            self._set_timer(call, call.timer)

    # -- pieces

    def contact(self, call: SipCall) -> str:
        """Ours, with the feature tag of a recording server towards a recording client (RFC 7866, section 6.1.2)."""
        flow = call.flow
        host, port = flow.local
        transport = "" if flow.transport == "UDP" else f";transport={flow.transport.lower()}"
        tag = ";+sip.srs" if call.is_recording else ""
        return f"<sip:{self.options.user}@{bracketed(host)}:{port}{transport}>{tag}"

    def _record_route(self, pending: Pending) -> list[tuple[str, str]]:
        return [("Record-Route", value) for value in pending.request.headers.get_all("Record-Route")]

    def _pending(self, call: SipCall) -> Pending:
        if call.pending is None:
            raise LocalProtocolError("nothing waits for an answer")
        return call.pending
