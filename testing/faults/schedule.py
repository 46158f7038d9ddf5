"""What is done when, as a pure function of a seed.

Schedules come in groups that share a broker: what is done to the broker is drawn from the number of the group, all
else from the seed. So many of them may wait for the same frozen broker, and one alone is still the same schedule.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

GROUP = 4
"""Seeds in a row that share their brokers' faults."""

BROKER_AT_S = 1.5
LAST_OWN_S = 5.0
FREEZE_S = 5.0, 40.0


class Kind(StrEnum):
    """`detail` of a fault in brackets."""

    BROKER_KILLED = "kill -9 of the broker"
    BROKER_FROZEN = "SIGSTOP of the broker"
    LEADER_RESTARTED = "restart of a leader"  # [node:signal]
    SERVER_KILLED = "kill -9 of the server"
    KILLED_AT = "kill -9 at a point"  # [method:when:how many times from now:who]
    DELIVERY_KILLED = "kill -9 of the delivery process"
    POWER_LOST = "power failure"  # [the seed of what of the unsynced sectors is left]
    DISK = "the disk refuses"  # [how]
    TOPIC_DELETED = "topic deleted"  # [which]
    RECORD_REJECTED = "record that is rejected"  # [characters]
    CREDENTIALS_REVOKED = "credentials revoked"
    WRITE_DENIED = "right to write denied"  # [which topic]
    CLOCK_STEPPED = "step of the clock"  # [seconds]


BROKER_KINDS = frozenset({Kind.BROKER_KILLED, Kind.BROKER_FROZEN, Kind.LEADER_RESTARTED})

TOPICS = "transcripts", "events"

POINTS_OF_SERVER = "spool._commit", "spool._delete", "spool._bury", "spool.settle"
POINTS_OF_DELIVERY = "spool.read", "lane._send", "lane._on_acknowledged", "lane._settle"
"""Between write, commit, send, acknowledge and delete: before or after the n-th call of one of these, in the server or
in its delivery process."""

REFUSALS = "no space", "no write", "no sync", "no read"

TOO_LARGE_FOR_TOPIC, TOO_LARGE_FOR_CLIENT = 80_000, 1_200_000
TOPIC_MAX_BYTES = 50_000


@dataclass(frozen=True, slots=True)
class Fault:
    """`at_s`: after all servers of the group are up; `for_s`: how long it lasts, or the process or topic is away."""

    kind: Kind
    at_s: float
    for_s: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.at_s:.2f} s: {self.kind}{detail}{f' for {self.for_s:.2f} s' if self.for_s else ''}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """`cluster`: on three brokers. `broker`: faults shared by its group; `own`: those of this one; by time."""

    seed: int
    cluster: bool
    broker: tuple[Fault, ...]
    own: tuple[Fault, ...]

    def __str__(self) -> str:
        faults = sorted((*self.broker, *self.own), key=lambda fault: fault.at_s)
        return f"seed {self.seed}{' (cluster)' if self.cluster else ''}: " + "; ".join(map(str, faults))


def drawn(seed: int) -> Schedule:
    """The schedule of a seed: one to three faults."""
    cluster, broker = _of_group(seed // GROUP)
    rng = Random(f"schedule {seed}")
    count = rng.choice((0, 1, 1, 2, 2)) if broker else rng.randint(1, 3)
    until_s = broker[0].at_s + broker[0].for_s + 1.0 if broker else LAST_OWN_S
    own = [_own(rng, cluster, rng.uniform(0.3, min(until_s, 15.0))) for _ in range(count)]
    return Schedule(seed, cluster, broker, tuple(sorted(own, key=lambda fault: fault.at_s)))


def _of_group(number: int) -> tuple[bool, tuple[Fault, ...]]:
    rng = Random(f"group {number}")
    kind = rng.choice((None, None, Kind.BROKER_KILLED, Kind.BROKER_FROZEN, Kind.LEADER_RESTARTED))
    if kind is None:
        return False, ()
    if kind is Kind.BROKER_FROZEN:
        return False, (Fault(kind, BROKER_AT_S, rng.uniform(*FREEZE_S)),)
    if kind is Kind.BROKER_KILLED:
        return False, (Fault(kind, BROKER_AT_S, rng.uniform(0.0, 8.0)),)
    detail = f"{rng.randint(1, 3)}:{rng.choice(('SIGTERM', 'SIGKILL'))}"
    return True, (Fault(kind, BROKER_AT_S, rng.uniform(0.0, 5.0), detail),)


def _own(rng: Random, cluster: bool, at_s: float) -> Fault:
    kinds = sorted(set(Kind) - BROKER_KINDS - ({Kind.CREDENTIALS_REVOKED, Kind.WRITE_DENIED} if cluster else set()))
    kind = rng.choice([*kinds, Kind.KILLED_AT, Kind.DISK])
    for_s, detail = rng.uniform(0.2, 4.0), ""
    match kind:
        case Kind.SERVER_KILLED:
            for_s = rng.uniform(0.0, 1.0)
        case Kind.KILLED_AT:
            for_s = 0.0
            point = rng.choice((*POINTS_OF_SERVER, *POINTS_OF_DELIVERY))
            who = rng.choice(("both", "delivery")) if point in POINTS_OF_DELIVERY else "server"
            detail = f"{point}:{rng.choice(('before', 'after'))}:{int(rng.expovariate(0.1)) + 1}:{who}"
        case Kind.DELIVERY_KILLED:
            for_s = 0.0
        case Kind.POWER_LOST:
            for_s, detail = rng.uniform(0.0, 1.0), str(rng.randrange(2**32))
        case Kind.DISK:
            detail = rng.choice(REFUSALS)
        case Kind.TOPIC_DELETED | Kind.WRITE_DENIED:
            detail = rng.choice(TOPICS)
        case Kind.RECORD_REJECTED:
            for_s, detail = 0.0, str(rng.choice((TOO_LARGE_FOR_TOPIC, TOO_LARGE_FOR_CLIENT)))
        case Kind.CLOCK_STEPPED:
            for_s, detail = 0.0, str(rng.choice((-86_400, -60, 60, 86_400)))
    return Fault(kind, at_s, for_s, detail)
