"""SIP transactions (RFC 3261, section 17, with RFC 6026): what makes a message that came twice happen once.

Sits between the transports and `uas.SipUas`: requests and responses go in, those the user of the layer has to see come
out, and `out` holds what is to be sent. The machines themselves are in `transaction_tables`.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, NamedTuple

from connectors.sip.message.envelope import Envelope
from connectors.sip.message.headers import Via
from connectors.sip.message.message import Headers, SipRequest, SipResponse
from connectors.sip.timers import Deadlines
from connectors.sip.transaction_tables import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    REPEATING,
    SERVER,
    TRYING_AFTER_S,
    Table,
    TransactionAction,
    TransactionEvent,
    TransactionState,
)

Transport = Literal["UDP", "TCP", "TLS"]


class Flow(NamedTuple):
    """Where a message came from, and so where its answer goes. `connection`: number of the stream connection; 0 for
    datagrams, and for a connection that has to be made. `local`: our address as this peer sees it."""

    transport: Transport
    remote: tuple[str, int]
    local: tuple[str, int]
    connection: int = 0

    @property
    def reliable(self) -> bool:
        return self.transport != "UDP"


@dataclass(frozen=True, slots=True)
class TimerValues:
    """Section 17.1.1.1, in seconds: T1 is the round trip, T2 the longest interval between retransmissions, T4 the
    longest time a message stays in the network."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def limit(self) -> float:
        """64 T1: how long a message is repeated or waited for."""
        return 64 * self.t1


S, E, A = TransactionState, TransactionEvent, TransactionAction


class TransactionKey(NamedTuple):
    """Section 17.2.3. `branch` stands for all that RFC 2543 compares where a Via lacks the magic cookie."""

    branch: str
    sent_by: str
    method: str


@dataclass(eq=False, slots=True)
class Transaction:
    """One of ours (`client`) or a peer's. `message`: the last one sent."""

    key: TransactionKey
    flow: Flow
    table: Table
    state: TransactionState
    request: SipRequest
    client: bool = False
    message: SipRequest | SipResponse | None = None
    interval: float = 0.0
    merge_key: tuple[str, str, str] | None = None
    usage: object = None

    @property
    def is_answered(self) -> bool:
        """A final answer was sent or received."""
        return self.state not in (S.TRYING, S.CALLING, S.PROCEEDING)


@dataclass(slots=True)
class TransactionStats:
    """`retransmissions`: requests that came again and were answered from here. `repeated`: messages that we sent again.
    `merged`: the same request on two ways. `full`: refused for the limits. `stray`: answers to nothing."""

    requests: int = 0
    retransmissions: int = 0
    repeated: int = 0
    merged: int = 0
    full: int = 0
    stray: int = 0
    timeouts: int = 0
    unacknowledged: int = 0


class Arrival(Enum):
    """What a request is to the layer. `LOOSE_ACK` belongs to a 2xx, and so to a dialog (13.3.1.4)."""

    NEW = auto()
    ABSORBED = auto()
    LOOSE_ACK = auto()
    MERGED = auto()
    FULL = auto()


@dataclass(slots=True)
class Transactions:
    """All transactions of a server. `limit`, `limit_a_peer`: server transactions alive, with those that only wait for
    retransmissions."""

    timers: TimerValues = field(default_factory=TimerValues)
    limit: int = 50_000
    limit_a_peer: int = 50_000
    stats: TransactionStats = field(default_factory=TransactionStats)
    out: list[tuple[SipRequest | SipResponse, Flow]] = field(default_factory=list)
    timed_out: list[Transaction] = field(default_factory=list)
    _live: dict[TransactionKey, Transaction] = field(default_factory=dict)
    _merges: dict[tuple[str, str, str], Transaction] = field(default_factory=dict)
    _peers: dict[str, int] = field(default_factory=dict)
    _deadlines: Deadlines[tuple[Transaction, TransactionEvent]] = field(default_factory=Deadlines)

    def __len__(self) -> int:
        return len(self._live)

    @property
    def is_waiting(self) -> bool:
        """A request of ours waits for its answer."""
        return any(one.client and not one.is_answered for one in self._live.values())

    def receive(
        self, request: SipRequest, envelope: Envelope, flow: Flow, now: float
    ) -> tuple[Arrival, Transaction | None]:
        """A request. `NEW` comes with its transaction, which has to be answered with `respond`."""
        method = "INVITE" if request.method == "ACK" else request.method
        key = server_key(envelope, method)
        known = self._live.get(key)
        if known is not None:
            if request.method == "ACK":
                passed = self._fire(known, E.ACK, now)
                return (Arrival.LOOSE_ACK if passed else Arrival.ABSORBED), known
            self.stats.retransmissions += 1
            self._fire(known, E.REQUEST, now)
            return Arrival.ABSORBED, known
        if request.method == "ACK":
            return Arrival.LOOSE_ACK, None
        merge_key = None
        if envelope.to_tag is None and request.method != "CANCEL":
            # 8.2.2.2: same From tag, Call-ID and CSeq as a running transaction, yet not the same transaction
            merge_key = (envelope.from_tag or "", envelope.call_id, f"{envelope.cseq} {request.method}")
            if merge_key in self._merges:
                self.stats.merged += 1
                return Arrival.MERGED, None
        peer = flow.remote[0]
        if len(self._live) >= self.limit or self._peers.get(peer, 0) >= self.limit_a_peer:
            self.stats.full += 1
            return Arrival.FULL, None
        self.stats.requests += 1
        invite = request.method == "INVITE"
        table, state = (INVITE_SERVER, S.PROCEEDING) if invite else (SERVER, S.TRYING)
        transaction = Transaction(key, flow, table, state, request, merge_key=merge_key)
        self._live[key] = transaction
        self._peers[peer] = self._peers.get(peer, 0) + 1
        if merge_key is not None:
            self._merges[merge_key] = transaction
        if invite:
            self._deadlines.set((transaction, E.TIMER_TRYING), now + TRYING_AFTER_S)
        return Arrival.NEW, transaction

    def find_invite(self, envelope: Envelope) -> Transaction | None:
        """The INVITE that a CANCEL is about (9.2)."""
        return self._live.get(server_key(envelope, "INVITE"))

    def respond(self, transaction: Transaction, response: SipResponse, now: float) -> None:
        """Answer a peer's request. After a final answer, only the same 2xx may follow, and only to an INVITE."""
        self._fire(transaction, _event(response), now, response)

    def request(self, request: SipRequest, branch: str, flow: Flow, now: float) -> Transaction:
        """Send a request of ours. Its answers come out of `receive_response`, or it lands in `timed_out`."""
        invite = request.method == "INVITE"
        table, state = (INVITE_CLIENT, S.CALLING) if invite else (CLIENT, S.TRYING)
        key = TransactionKey(branch, "", f"client {request.method}")
        transaction = Transaction(key, flow, table, state, request, client=True, message=request)
        self._live[key] = transaction
        self.out.append((request, flow))
        repeat, limit = (E.TIMER_A, E.TIMER_B) if invite else (E.TIMER_E, E.TIMER_F)
        self._deadlines.set((transaction, limit), now + self.timers.limit)
        if not flow.reliable:
            transaction.interval = self.timers.t1
            self._deadlines.set((transaction, repeat), now + self.timers.t1)
        return transaction

    def receive_response(self, response: SipResponse, envelope: Envelope, now: float) -> Transaction | None:
        """An answer to a request of ours: its transaction where the user has to see it, None where not (17.1.3)."""
        transaction = self._live.get(TransactionKey(envelope.via.branch or "", "", f"client {envelope.cseq_method}"))
        if transaction is None:
            self.stats.stray += 1
            return None
        return transaction if self._fire(transaction, _event(response), now, response) else None

    def next_timer(self) -> float | None:
        """When `handle_timer` is due."""
        return self._deadlines.next()

    def handle_timer(self, now: float) -> None:
        """Repeat, give up, forget: whatever is due."""
        for transaction, event in self._deadlines.due(now):
            if event is E.TIMER_H:
                self.stats.unacknowledged += 1
            self._fire(transaction, event, now)

    def _fire(
        self, transaction: Transaction, event: TransactionEvent, now: float, message: SipResponse | None = None
    ) -> bool:
        """One step of a machine; True when the user has to see what came."""
        step = transaction.table.get((transaction.state, event))
        if step is None:
            return False
        transaction.state, actions = step
        passed = False
        for action in actions:
            passed |= self._act(transaction, action, now, message)
        if transaction.state is S.TERMINATED:
            self._forget(transaction)
        return passed

    def _act(
        self, transaction: Transaction, action: TransactionAction, now: float, message: SipResponse | None
    ) -> bool:
        match action:
            case A.SEND if message is not None:
                self._deadlines.cancel((transaction, E.TIMER_TRYING))
                self._send(transaction, message)
            case A.SEND_TRYING:
                self._send(transaction, transaction.request.response(100))
            case A.RESEND if transaction.message is not None:
                self.stats.repeated += 1
                self.out.append((transaction.message, transaction.flow))
            case A.SEND_ACK if message is not None:
                self.out.append((ack_failure(transaction.request, message), transaction.flow))
            case A.TIME_OUT:
                self.stats.timeouts += 1
                self.timed_out.append(transaction)
            case A.PASS:
                return True
            case _:
                self._set(transaction, action, now)
        return False

    def _set(self, transaction: Transaction, action: TransactionAction, now: float) -> None:
        """The actions that are about time."""
        timers, reliable = self.timers, transaction.flow.reliable
        if action in _STOPPED:
            for event in _STOPPED[action]:
                self._deadlines.cancel((transaction, event))
        elif action in _LASTING:
            event, datagrams, streams = _LASTING[action]
            scale = timers.t4 if event in (E.TIMER_I, E.TIMER_K) else timers.limit
            self._deadlines.set((transaction, event), now + scale * (streams if reliable else datagrams))
        elif action is A.START_G and not reliable:
            transaction.interval = timers.t1
            self._deadlines.set((transaction, E.TIMER_G), now + timers.t1)
        elif action is A.BACK_OFF:
            # 17.1.1.2: timer A knows no upper bound; E and G stop growing at T2, where E is from PROCEEDING on.
            repeat = REPEATING[id(transaction.table)]
            longest = timers.limit if repeat is E.TIMER_A else timers.t2
            transaction.interval = min(2 * transaction.interval, longest)
            if repeat is E.TIMER_E and transaction.state is S.PROCEEDING:
                transaction.interval = timers.t2
            self._deadlines.set((transaction, repeat), now + transaction.interval)

    def _send(self, transaction: Transaction, message: SipResponse) -> None:
        transaction.message = message
        self.out.append((message, transaction.flow))

    def _forget(self, transaction: Transaction) -> None:
        self._live.pop(transaction.key, None)
        if transaction.merge_key is not None:
            self._merges.pop(transaction.merge_key, None)
        for event in E:
            self._deadlines.cancel((transaction, event))
        if not transaction.client:
            peer = transaction.flow.remote[0]
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]


_STOPPED: dict[TransactionAction, tuple[TransactionEvent, ...]] = {
    A.STOP_REPEATING: (E.TIMER_A, E.TIMER_E, E.TIMER_G),
    A.STOP_WAITING: (E.TIMER_B, E.TIMER_F, E.TIMER_H),
}
_LASTING: dict[TransactionAction, tuple[TransactionEvent, float, float]] = {
    A.START_H: (E.TIMER_H, 1, 1),
    A.START_L: (E.TIMER_L, 1, 1),
    A.START_M: (E.TIMER_M, 1, 1),
    A.START_D: (E.TIMER_D, 1, 0),
    A.START_J: (E.TIMER_J, 1, 0),
    A.START_I: (E.TIMER_I, 1, 0),
    A.START_K: (E.TIMER_K, 1, 0),
}
"""Timers that end a state: the event, and their length over datagrams and over streams, in units of 64 T1 or T4."""


def _event(response: SipResponse) -> TransactionEvent:
    if response.status < 200:
        return E.PROVISIONAL
    return E.SUCCESS if response.status < 300 else E.FAILURE


def server_key(envelope: Envelope, method: str) -> TransactionKey:
    """Section 17.2.3. Without the magic cookie, what RFC 2543 compares takes the branch's place."""
    via = envelope.via
    host, port = via.sent_by
    branch = via.transaction_branch
    if branch is None:
        branch = f"{envelope.call_id} {envelope.from_tag} {envelope.cseq} {via.branch or ''}"
    return TransactionKey(branch, f"{host}:{port}", method)


def response_flow(flow: Flow, via: Via) -> Flow:
    """Where an answer goes (18.2.2, RFC 3581): back on its connection, or to the address the datagram came from, at
    its port where the peer asks for that, else at the one in its Via. `maddr` is not followed: anybody could have our
    answers sent to somebody else by it."""
    if flow.reliable or via.wants_rport:
        return flow
    return flow._replace(remote=(flow.remote[0], via.sent_by[1]))


def ack_failure(request: SipRequest, response: SipResponse) -> SipRequest:
    """The ACK to a failure answer, which belongs to the transaction of its INVITE (17.1.1.3)."""
    headers = Headers()
    headers.add("Via", request.headers.get("Via") or "")
    headers.add("Max-Forwards", "70")
    for name in ("Route", "From", "Call-ID"):
        for value in request.headers.get_all(name):
            headers.add(name, value)
    headers.add("To", response.headers.get("To") or "")
    headers.add("CSeq", f"{request.cseq.number} ACK")
    return SipRequest("ACK", request.uri, headers)
