"""The four transaction machines of RFC 3261, section 17, with RFC 6026, as tables keyed (state, event)."""

from enum import Enum, auto


class TransactionState(Enum):
    TRYING = auto()
    CALLING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


class TransactionEvent(Enum):
    """`REQUEST` in a server transaction: a retransmission. The timers bear the letters of the RFC."""

    REQUEST = auto()
    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    ACK = auto()
    TIMER_TRYING = auto()
    TIMER_A = auto()
    TIMER_B = auto()
    TIMER_D = auto()
    TIMER_E = auto()
    TIMER_F = auto()
    TIMER_G = auto()
    TIMER_H = auto()
    TIMER_I = auto()
    TIMER_J = auto()
    TIMER_K = auto()
    TIMER_L = auto()
    TIMER_M = auto()


class TransactionAction(Enum):
    """`SEND`: the message the event came with. `RESEND`: the last one sent. `PASS`: to the layer's user. `BACK_OFF`:
    set the retransmission timer again, at the next interval."""

    SEND = auto()
    RESEND = auto()
    SEND_TRYING = auto()
    SEND_ACK = auto()
    PASS = auto()
    BACK_OFF = auto()
    STOP_REPEATING = auto()
    STOP_WAITING = auto()
    TIME_OUT = auto()
    START_G = auto()
    START_H = auto()
    START_I = auto()
    START_J = auto()
    START_L = auto()
    START_D = auto()
    START_K = auto()
    START_M = auto()


Table = dict[tuple[TransactionState, TransactionEvent], tuple[TransactionState, tuple[TransactionAction, ...]]]
S, E, A = TransactionState, TransactionEvent, TransactionAction

INVITE_SERVER: Table = {
    (S.PROCEEDING, E.REQUEST): (S.PROCEEDING, (A.RESEND,)),
    (S.PROCEEDING, E.TIMER_TRYING): (S.PROCEEDING, (A.SEND_TRYING,)),  # 17.2.1: no answer within 200 ms
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (A.SEND,)),
    (S.PROCEEDING, E.SUCCESS): (S.ACCEPTED, (A.SEND, A.START_L)),  # RFC 6026, 7.1
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.SEND, A.START_G, A.START_H)),
    (S.COMPLETED, E.REQUEST): (S.COMPLETED, (A.RESEND,)),
    (S.COMPLETED, E.TIMER_G): (S.COMPLETED, (A.RESEND, A.BACK_OFF)),
    (S.COMPLETED, E.TIMER_H): (S.TERMINATED, ()),
    (S.COMPLETED, E.ACK): (S.CONFIRMED, (A.STOP_REPEATING, A.STOP_WAITING, A.START_I)),
    (S.CONFIRMED, E.TIMER_I): (S.TERMINATED, ()),
    (S.ACCEPTED, E.SUCCESS): (S.ACCEPTED, (A.SEND,)),  # RFC 6026, 8.7: the user repeats the 2xx until the ACK
    (S.ACCEPTED, E.ACK): (S.ACCEPTED, (A.PASS,)),  # a peer that keeps the INVITE's branch in its ACK
    (S.ACCEPTED, E.TIMER_L): (S.TERMINATED, ()),
}

SERVER: Table = {
    (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (A.SEND,)),
    (S.TRYING, E.SUCCESS): (S.COMPLETED, (A.SEND, A.START_J)),
    (S.TRYING, E.FAILURE): (S.COMPLETED, (A.SEND, A.START_J)),
    (S.PROCEEDING, E.REQUEST): (S.PROCEEDING, (A.RESEND,)),
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (A.SEND,)),
    (S.PROCEEDING, E.SUCCESS): (S.COMPLETED, (A.SEND, A.START_J)),
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.SEND, A.START_J)),
    (S.COMPLETED, E.REQUEST): (S.COMPLETED, (A.RESEND,)),
    (S.COMPLETED, E.TIMER_J): (S.TERMINATED, ()),
}

INVITE_CLIENT: Table = {
    (S.CALLING, E.TIMER_A): (S.CALLING, (A.RESEND, A.BACK_OFF)),
    (S.CALLING, E.TIMER_B): (S.TERMINATED, (A.TIME_OUT,)),
    (S.CALLING, E.PROVISIONAL): (S.PROCEEDING, (A.STOP_REPEATING, A.PASS)),
    (S.CALLING, E.SUCCESS): (S.ACCEPTED, (A.STOP_REPEATING, A.STOP_WAITING, A.PASS, A.START_M)),
    (S.CALLING, E.FAILURE): (S.COMPLETED, (A.STOP_REPEATING, A.STOP_WAITING, A.SEND_ACK, A.PASS, A.START_D)),
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (A.PASS,)),
    (S.PROCEEDING, E.TIMER_B): (S.TERMINATED, (A.TIME_OUT,)),  # ours are re-INVITEs: nobody has to pick up first
    (S.PROCEEDING, E.SUCCESS): (S.ACCEPTED, (A.STOP_WAITING, A.PASS, A.START_M)),
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.STOP_WAITING, A.SEND_ACK, A.PASS, A.START_D)),
    (S.COMPLETED, E.FAILURE): (S.COMPLETED, (A.SEND_ACK,)),
    (S.COMPLETED, E.TIMER_D): (S.TERMINATED, ()),
    (S.ACCEPTED, E.SUCCESS): (S.ACCEPTED, (A.PASS,)),  # RFC 6026, 7.2: the user repeats its ACK
    (S.ACCEPTED, E.TIMER_M): (S.TERMINATED, ()),
}

CLIENT: Table = {
    (S.TRYING, E.TIMER_E): (S.TRYING, (A.RESEND, A.BACK_OFF)),
    (S.TRYING, E.TIMER_F): (S.TERMINATED, (A.TIME_OUT,)),
    (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (A.PASS,)),
    (S.TRYING, E.SUCCESS): (S.COMPLETED, (A.STOP_REPEATING, A.STOP_WAITING, A.PASS, A.START_K)),
    (S.TRYING, E.FAILURE): (S.COMPLETED, (A.STOP_REPEATING, A.STOP_WAITING, A.PASS, A.START_K)),
    (S.PROCEEDING, E.TIMER_E): (S.PROCEEDING, (A.RESEND, A.BACK_OFF)),
    (S.PROCEEDING, E.TIMER_F): (S.TERMINATED, (A.TIME_OUT,)),
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, ()),
    (S.PROCEEDING, E.SUCCESS): (S.COMPLETED, (A.STOP_REPEATING, A.STOP_WAITING, A.PASS, A.START_K)),
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.STOP_REPEATING, A.STOP_WAITING, A.PASS, A.START_K)),
    (S.COMPLETED, E.TIMER_K): (S.TERMINATED, ()),
}

REPEATING = {id(INVITE_SERVER): E.TIMER_G, id(INVITE_CLIENT): E.TIMER_A, id(CLIENT): E.TIMER_E}
TRYING_AFTER_S = 0.2
