"""How far Redis is with one call: what it has acknowledged, and what it still lacks.

A call is written in two ways. Changes name the version, the segments and the entries of the stream that were
acknowledged before: where the server has less (a key was evicted, a failover lost the last writes) it writes nothing
and says so. Then the whole call goes, which is all that the mirror has of it; the server takes what it lacks. So a call
in Redis is either complete up to its `version`, or known to be incomplete.
"""

from dataclasses import dataclass
from typing import NamedTuple

from sinks.calls import CallStatus, MirroredCall
from sinks.record import AnyRecord, TranscriptRecord, TurnRecord, encode

FRESH_S = 0.05
STALE_S = 0.2
"""Where there is not time for all calls: a partial older than `FRESH_S` waits for the next one of its leg, which most
likely comes, but not for longer than `STALE_S`."""


class Item(NamedTuple):
    """One record as the script takes it. `segment_id` is empty where it is none of a segment. `mode`: `s` into the
    stream, `p` published."""

    version: int
    segment_id: str
    revision: int
    is_final: int
    mode: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """What went out together, and what Redis has of the call once it is acknowledged. `expected`: version, segments
    and entries that must be there already, or -1, 0, 0 for the whole call."""

    at_s: float
    version: int
    segments: int
    entries: int
    expected: tuple[int, int, int]
    with_call: bool
    items: list[Item]
    partials: dict[str, Item]
    durable: int

    @property
    def whole(self) -> bool:
        return self.expected[0] < 0


class Standing:
    """`durable`: records that are not acknowledged yet; `since_s`: since when the oldest of them waits. `newest_s`,
    `sent_s`: when the newest record came, and when it was taken last.

    `coalesced`: partials that were replaced before they were sent.
    """

    def __init__(self, state: MirroredCall, *, whole: bool) -> None:
        self.state = state
        self.whole = whole
        self.indexed = False
        self.durable = 0
        self.since_s = self.newest_s = self.sent_s = 0.0
        self.coalesced = 0
        self.partials: dict[str, Item] = {}
        self._events: list[Item] = []
        self._call_changed = False
        self._version = self._segments = self._entries = 0  # acknowledged

    @property
    def ended(self) -> bool:
        return self.state.call["status"] is CallStatus.ENDED

    def urgency(self, now_s: float) -> tuple[int, float]:
        """The smallest goes first: finals and events (0), partials that no newer one follows, fresh partials, others;
        of each, what was sent longest ago."""
        if self.durable:
            return 0, 0.0
        age_s = now_s - self.newest_s
        return 1 if age_s > STALE_S else 2 if age_s <= FRESH_S else 3, self.sent_s

    def add(self, record: AnyRecord, data: bytes, now_s: float) -> None:
        """A record that the mirror has just taken."""
        version = self.state.version
        self.newest_s = now_s
        if isinstance(record, TranscriptRecord):
            self.coalesced += self.partials.pop(record.segment_id, None) is not None
            if not record.is_final:
                item = Item(version, record.segment_id, record.revision, 0, "p", data)
                self.partials[record.segment_id] = item
                return
            item = Item(version, record.segment_id, record.revision, 1, "sp", data)
        else:
            item = Item(version, "", 0, 0, "sp", data)
            self._call_changed |= not isinstance(record, TurnRecord)
        if not self.durable:
            self.since_s = now_s
        self.durable += 1
        if not self.whole:
            self._events.append(item)

    def take(self, now_s: float) -> Taken:
        """All that Redis lacks; `acknowledge` or `lacks` says what became of it."""
        state = self.state
        self.sent_s = now_s
        taken = Taken(
            at_s=now_s,
            version=state.version,
            segments=len(state.segments),
            entries=len(state.history),
            expected=(-1, 0, 0) if self.whole else self.acknowledged,
            with_call=self.whole or self._call_changed,
            items=self._all() if self.whole else sorted([*self._events, *self.partials.values()]),
            partials=self.partials,
            durable=self.durable,
        )
        self.partials, self._events, self._call_changed = {}, [], False
        return taken

    @property
    def acknowledged(self) -> tuple[int, int, int]:
        """Version, segments, entries of the stream."""
        return self._version, self._segments, self._entries

    def acknowledge(self, taken: Taken) -> None:
        self._version, self._segments, self._entries = taken.version, taken.segments, taken.entries
        self.durable -= taken.durable
        self.since_s = taken.at_s  # what is left came later
        if taken.whole:
            self.whole = False

    def lacks(self, taken: Taken | None = None) -> None:
        """Redis lacks something of the call, or may: all of it goes next."""
        self.whole = True
        self._events.clear()
        for segment_id, item in (taken.partials if taken else {}).items():
            if self.state.versions.get(segment_id) == item.version:
                self.partials[segment_id] = item
            else:
                self.coalesced += 1

    def _all(self) -> list[Item]:
        """What was acknowledged before is not published again."""
        items = []
        for segment_id, segment in self.state.segments.items():
            version = self.state.versions[segment_id]
            mode = "p" if not segment.is_final and version > self._version else ""  # finals by their stream's entry
            items.append(Item(version, segment_id, segment.revision, int(segment.is_final), mode, encode(segment)))
        for version, record in self.state.history:
            items.append(Item(version, "", 0, 0, "sp" if version > self._version else "s", encode(record)))
        return sorted(items)
