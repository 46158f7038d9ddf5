"""What is known of the calls: the fold of records into the present state of each call.

Both live views are built on it: the in-process one reads it, the Redis sink mirrors the running calls in it so that
it can write them again after the server lost them.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sinks.record import (
    AnyRecord,
    CallAction,
    CallRecord,
    DtmfRecord,
    TranscriptRecord,
    as_builtins,
    is_partial,
)

KEYS_KEPT = 200
FORMER_RUNS = 16


class CallStatus(StrEnum):
    ACTIVE = "active"
    HELD = "held"
    ENDED = "ended"
    LOST = "lost"
    """Its server is gone; no record says so, a reader finds out."""


_STATUS = {
    CallAction.START: CallStatus.ACTIVE,
    CallAction.HOLD: CallStatus.HELD,
    CallAction.RESUME: CallStatus.ACTIVE,
    CallAction.END: CallStatus.ENDED,
}  # UPDATE and TRANSFER leave the status as it is


def supersedes(new: TranscriptRecord, old: TranscriptRecord) -> bool:
    """Whether `new` replaces `old` of the same segment: a final any partial, else the higher revision."""
    return (new.is_final, new.revision) > (old.is_final, old.revision)


def epoch_ms(at: str) -> int:
    """Milliseconds since 1970 of a record's `at`."""
    return round(datetime.fromisoformat(at).timestamp() * 1000)


@dataclass(slots=True)
class MirroredCall:
    """One call. `version` grows by one with every record that changed it.

    `call` has the keys `call_id`, `run`, `connector`, `from`, `to`, `metadata`, `legs`, `started_at`, `ended_at`,
    `status`, `reason`, `statistics`. `history` holds the newest records other than partials, each with its version;
    `versions` those of the segments; `dtmf` at most the first 200 key presses by event id. `former`: the newest runs of
    the call id before this one.
    """

    call: dict[str, Any]
    version: int
    history: deque[tuple[int, AnyRecord]]
    segments: dict[str, TranscriptRecord] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    dtmf: dict[str, DtmfRecord] = field(default_factory=dict)
    ended_s: float | None = None
    former: tuple[str, ...] = ()
    _call_seq: dict[str, int] = field(default_factory=dict)

    @property
    def call_id(self) -> str:
        return str(self.call["call_id"])

    @property
    def run(self) -> str:
        """Empty: of records of before there were runs."""
        return self.call["run"] or ""

    @property
    def started_at(self) -> str:
        return str(self.call["started_at"])

    def apply(self, record: AnyRecord) -> bool:
        """Fold in one record of this call. False: it is superseded or known already, and nothing changed."""
        if isinstance(record, TranscriptRecord):
            known = self.segments.get(record.segment_id)
            if known is not None and not supersedes(record, known):
                return False
            self.segments[record.segment_id] = record
        elif isinstance(record, CallRecord):
            if record.seq <= self._call_seq.get(record.leg, -1):
                return False
            self._call_seq[record.leg] = record.seq
            self._apply_call(record)
        elif isinstance(record, DtmfRecord):
            if record.event_id in self.dtmf:
                return False
            if len(self.dtmf) < KEYS_KEPT:
                self.dtmf[record.event_id] = record
        self.version += 1
        if isinstance(record, TranscriptRecord):
            self.versions[record.segment_id] = self.version
        if not is_partial(record):
            self.history.append((self.version, record))
        return True

    def _apply_call(self, record: CallRecord) -> None:
        """Fields that a record leaves empty keep what was known."""
        fields = as_builtins(record)
        self.call["connector"] = record.connector
        for name in ("from", "to", "reason", "statistics"):
            if fields[name] is not None:
                self.call[name] = fields[name]
        self.call["metadata"] = self.call["metadata"] | record.metadata
        if record.legs:
            self.call["legs"] = fields["legs"]
        self.call["status"] = _STATUS.get(record.action, self.call["status"])
        if record.action is CallAction.END:
            self.call["ended_at"] = record.at

    def in_order(self) -> list[TranscriptRecord]:
        """The segments by their start; at one time in the order of the legs' names."""
        return sorted(self.segments.values(), key=lambda record: (record.start, record.leg, record.segment_id))


class CallBook:
    """The calls by id. An ended call stays `retain_s`; beyond `max_calls` the longest ended call goes, then the oldest.

    A call appears with its first `call` record; other records of a call that is not known are ignored. A `call` record
    of a run not seen before begins the call anew under the same id; what comes late of a former run is ignored.
    """

    def __init__(
        self,
        *,
        retain_s: float,
        max_calls: int,
        history: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retain_s = retain_s
        self._max_calls = max_calls
        self._history = history
        self._clock = clock
        self._calls: dict[str, MirroredCall] = {}
        self._ended: deque[tuple[float, str]] = deque()  # (ended_s, call id), by time

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, call_id: str) -> MirroredCall | None:
        self._forget_old()
        return self._calls.get(call_id)

    def newest_first(self) -> list[MirroredCall]:
        self._forget_old()
        return sorted(self._calls.values(), key=lambda state: (state.started_at, state.call_id), reverse=True)

    def apply(self, record: AnyRecord) -> MirroredCall | None:
        """Fold in a record. None: it changed nothing."""
        self._forget_old()
        state = self._calls.get(record.call_id)
        run = record.run or ""
        if state is None or run != state.run:
            if not isinstance(record, CallRecord) or (state is not None and run in state.former):
                return None
            state = self._open(record, state)
        if not state.apply(record):
            return None
        if state.call["status"] is CallStatus.ENDED and state.ended_s is None:
            state.ended_s = self._clock()
            self._ended.append((state.ended_s, record.call_id))
        return state

    def retained_s(self, state: MirroredCall) -> float:
        """How long an ended call stays."""
        return self._retain_s - (self._clock() - (state.ended_s or self._clock()))

    def forget(self, call_id: str) -> None:
        self._calls.pop(call_id, None)

    def _open(self, record: CallRecord, former: MirroredCall | None) -> MirroredCall:
        if former is not None:
            del self._calls[record.call_id]
        elif len(self._calls) >= self._max_calls:
            ended = [state for state in self._calls.values() if state.ended_s is not None]
            oldest = min(ended or self._calls.values(), key=lambda state: (state.ended_s or 0.0, state.started_at))
            del self._calls[oldest.call_id]
        call: dict[str, Any] = {
            "call_id": record.call_id,
            "run": record.run or None,
            "connector": record.connector,
            "from": None,
            "to": None,
            "metadata": {},
            "legs": [],
            "started_at": record.at,
            "ended_at": None,
            "status": CallStatus.ACTIVE,
            "reason": None,
            "statistics": None,
        }
        state = MirroredCall(call=call, version=0, history=deque(maxlen=self._history))
        if former is not None:
            state.version = former.version
            state.former = (*former.former, former.run)[-FORMER_RUNS:]
        self._calls[record.call_id] = state
        return state

    def _forget_old(self) -> None:
        limit_s = self._clock() - self._retain_s
        while self._ended and self._ended[0][0] <= limit_s:
            ended_s, call_id = self._ended.popleft()
            state = self._calls.get(call_id)
            if state is not None and state.ended_s == ended_s:  # not begun anew since
                del self._calls[call_id]
