"""Partials that wait: of each segment the newest."""

from collections import OrderedDict
from collections.abc import Iterable

from sinks.record import TranscriptRecord


class Latest:
    """A partial is of use until the next one of its segment comes, which takes its place. Beyond `limit` segments the
    one that waits longest goes. `coalesced`, `dropped`: how many went either way."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[tuple[str, str], TranscriptRecord] = OrderedDict()
        self.coalesced = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, records: Iterable[TranscriptRecord]) -> None:
        for record in records:
            place = record.call_id, record.segment_id
            if self._waiting.pop(place, None) is not None:
                self.coalesced += 1
            elif len(self._waiting) >= self._limit:
                self._waiting.popitem(last=False)
                self.dropped += 1
            self._waiting[place] = record

    def take(self, limit: int) -> list[TranscriptRecord]:
        """Remove and return those that wait longest, at most `limit`."""
        return [self._waiting.popitem(last=False)[1] for _ in range(min(limit, len(self._waiting)))]
