"""One call of `uas.SipUas`: its state as a table, the answer that is owed, the offer that waits for its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from connectors.sip.dialog import Dialog
from connectors.sip.message.envelope import Envelope
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.session_timer import SessionTimer
from connectors.sip.transaction import Flow, Transaction


class SipCallState(Enum):
    """`ANSWERED`: our 2xx waits for its ACK. `HANGING_UP`: so does our BYE."""

    INCOMING = auto()
    ANSWERED = auto()
    CONFIRMED = auto()
    HANGING_UP = auto()
    ENDED = auto()


class SipCallEvent(Enum):
    ACCEPT = auto()
    REJECT = auto()
    CANCEL = auto()
    ACK = auto()
    NO_ACK = auto()
    BYE = auto()
    HANG_UP = auto()


class SipCallAction(Enum):
    """`REPORT_END`: the user of the core gets an `Ended`."""

    SEND_BYE = auto()
    REFUSE_INVITE = auto()
    REPORT_END = auto()


S, E, A = SipCallState, SipCallEvent, SipCallAction

TABLE: dict[tuple[SipCallState, SipCallEvent], tuple[SipCallState, tuple[SipCallAction, ...]]] = {
    (S.INCOMING, E.ACCEPT): (S.ANSWERED, ()),
    (S.INCOMING, E.REJECT): (S.ENDED, ()),
    (S.INCOMING, E.CANCEL): (S.ENDED, (A.REFUSE_INVITE, A.REPORT_END)),  # 9.2: 487 to the INVITE
    (S.INCOMING, E.BYE): (S.ENDED, (A.REFUSE_INVITE, A.REPORT_END)),  # 15.1.2: in an early dialog, 487 too
    (S.INCOMING, E.HANG_UP): (S.ENDED, (A.REFUSE_INVITE, A.REPORT_END)),
    (S.ANSWERED, E.ACK): (S.CONFIRMED, ()),
    (S.ANSWERED, E.NO_ACK): (S.ENDED, (A.SEND_BYE, A.REPORT_END)),  # 13.3.1.4
    (S.ANSWERED, E.BYE): (S.ENDED, (A.REPORT_END,)),
    (S.ANSWERED, E.HANG_UP): (S.HANGING_UP, (A.REPORT_END,)),  # 15: no BYE of ours before the ACK
    (S.CONFIRMED, E.NO_ACK): (S.ENDED, (A.SEND_BYE, A.REPORT_END)),  # of a re-INVITE
    (S.CONFIRMED, E.BYE): (S.ENDED, (A.REPORT_END,)),
    (S.CONFIRMED, E.HANG_UP): (S.ENDED, (A.SEND_BYE, A.REPORT_END)),
    (S.HANGING_UP, E.ACK): (S.ENDED, (A.SEND_BYE,)),
    (S.HANGING_UP, E.NO_ACK): (S.ENDED, (A.SEND_BYE,)),
    (S.HANGING_UP, E.BYE): (S.ENDED, ()),
}


@dataclass(slots=True)
class Pending:
    """A request that the user of the core has to answer: an INVITE, or an UPDATE with an offer."""

    request: SipRequest
    envelope: Envelope
    transaction: Transaction


@dataclass(slots=True)
class Repeated:
    """A response that is sent again until its ACK or PRACK comes. `number`: the CSeq, or the RSeq."""

    response: SipResponse
    transaction: Transaction
    number: int
    interval: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a 2xx bears. `is_offer`: the request had none, so that the ACK has to bring the answer. `headers` come on
    top of those of the core."""

    body: bytes = b""
    content_type: str = "application/sdp"
    is_offer: bool = False
    headers: Sequence[tuple[str, str]] = ()


@dataclass(eq=False, slots=True)
class SipCall:
    """`id`: a number, never used twice by one core. `request`: the INVITE it began with. `replaces`: the running call
    that it takes over once it is accepted (RFC 3891). `is_recording`: a recording client asks for a recording server
    (RFC 7866); `gives_metadata`: it can be asked for its metadata."""

    id: int
    dialog: Dialog
    request: SipRequest
    flow: Flow
    pending: Pending | None
    replaces: "SipCall | None" = None
    is_recording: bool = False
    gives_metadata: bool = False
    is_reliable: bool = False
    state: SipCallState = SipCallState.INCOMING
    offering: bool = False
    unacked: Repeated | None = None
    unpracked: Repeated | None = None
    deferred: Answer | None = None
    rseq: int = 0
    timer: SessionTimer | None = None
    refresh: Transaction | None = None
    acked: tuple[int, SipRequest, Flow] | None = None
    peer_allows: frozenset[str] = frozenset()
    min_se_s: int = 0
    local_sdp: bytes = b""

    @property
    def is_over(self) -> bool:
        return self.state in (SipCallState.ENDED, SipCallState.HANGING_UP)


class CallTimer(IntEnum):
    """What a call has deadlines for: an answer that is sent again and how long it is, and its session timer."""

    REPEAT_2XX = auto()
    LIMIT_2XX = auto()
    REPEAT_1XX = auto()
    LIMIT_1XX = auto()
    SESSION = auto()


class EndReason(Enum):
    """Why a call is over, as the END of its record says it."""

    BYE = "completed"
    CANCELLED = "cancelled"
    NO_ACK = "no ACK"
    NO_PRACK = "no PRACK"
    NO_ANSWER = "no answer to the offer"
    EXPIRED = "session expired"
    REFRESH_FAILED = "session refresh failed"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """To be answered with `accept` or `reject`, after any number of `ring`s. Without a body it wants our offer."""

    call: SipCall


@dataclass(frozen=True, slots=True)
class Reoffer:
    """A re-INVITE or UPDATE (`call.pending`), to be answered with `accept` or `reject`; a refused one changes nothing.
    A re-INVITE without a body wants our offer."""

    call: SipCall


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The ACK of a 2xx came. `answer`: to the offer in it; None where there was none, or where a running call goes on
    without one, as it was before the offer."""

    call: SipCall
    answer: SipRequest | None


@dataclass(frozen=True, slots=True)
class Info:
    """An INFO with a body that may be DTMF (`dtmf_info`); it is answered already."""

    call: SipCall
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a call."""

    call: SipCall
    reason: EndReason


UasEvent = IncomingCall | Reoffer | Acknowledged | Info | Ended
