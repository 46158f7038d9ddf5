"""One audio file while it is transcribed: a session a channel, their segments, and finals in order of time.

Chain: engine events -> segmenter of the channel -> finals of all channels in one line -> records. The line makes the
order of a file's records a matter of their times alone, however the steps of its channels fell.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path

from engine.api import Hypothesis, Session
from pipeline.records import CallInfo, LegOptions, RecordMaker
from pipeline.segments import Segment, Segmenter
from sinks.record import SpeakerRole, TranscriptRecord

SETTLE_S = 3.0
"""Media time that a final waits for a late language tag, which would correct it: there is no hurry here."""


class Channel:
    """One channel. `complete`: the engine said that its last word is out; `ended`: its session is gone."""

    def __init__(self, leg: LegOptions, segmenter: Segmenter) -> None:
        self.leg = leg
        self.progress_s = 0.0
        self.complete = False
        self.ended = False
        self._segmenter = segmenter
        self._open: Segment | None = None

    def update(self, hypotheses: Sequence[Hypothesis], progress_s: float) -> list[Segment]:
        """What one engine step brought; returns new finals and corrected ones."""
        self.progress_s = max(self.progress_s, progress_s)
        self.complete = self.complete or any(hypothesis.is_final for hypothesis in hypotheses)
        return self._finals(self._segmenter.update(hypotheses, self.progress_s))

    def end(self) -> list[Segment]:
        """The session is gone; returns the last finals."""
        self.ended = True
        return self._finals(self._segmenter.close(had_audio=self.progress_s > 0))

    @property
    def next_start_s(self) -> float:
        """No final that is still to come begins before this."""
        if self.ended:
            return inf
        return self.progress_s if self._open is None else min(self._open.start, self.progress_s)

    def has_settled(self, segment: Segment) -> bool:
        """A correction of the final can hardly come any more."""
        return self.ended or self.progress_s >= segment.end + SETTLE_S

    def _finals(self, segments: Iterable[Segment]) -> list[Segment]:
        finals = []
        for segment in segments:
            if segment.is_final:
                finals.append(segment)
            if not segment.is_final or (self._open is not None and segment.segment_id == self._open.segment_id):
                self._open = None if segment.is_final or not segment.words else segment
        return finals


class Recording:
    """One file. `call_id`: of its records. `sessions`: one a channel, in order. `run`: see `CallInfo`. Its
    segments are numbered without the run: as the call id, they are those of one file."""

    def __init__(
        self,
        call_id: str | Path,
        sessions: Sequence[Session],
        segmenter: Callable[[str], Segmenter],
        *,
        run: str | None = None,
    ) -> None:
        legs = [LegOptions(f"channel-{index}", SpeakerRole.UNKNOWN, index) for index in range(len(sessions))]
        self._maker = RecordMaker(CallInfo(str(call_id), "file", run=run))
        self._channels = [Channel(leg, segmenter(leg.leg)) for leg in legs]
        self._by_session = dict(zip(sessions, self._channels, strict=True))
        self._line: list[tuple[float, int, str]] = []  # heap of (start, channel, segment id)
        self._finals: dict[tuple[int, str], Segment] = {}

    @property
    def channels(self) -> Mapping[Session, Channel]:
        return self._by_session

    @property
    def consumed_s(self) -> float:
        """Seconds of audio that the engine has consumed, all channels together."""
        return sum(channel.progress_s for channel in self._channels)

    @property
    def slowest_s(self) -> float:
        """Media time that every channel has reached."""
        return min(channel.progress_s for channel in self._channels)

    @property
    def ended(self) -> bool:
        return all(channel.ended for channel in self._channels)

    def update(self, session: Session, hypotheses: Sequence[Hypothesis], progress_s: float) -> None:
        """What one engine step brought for one channel."""
        channel = self._by_session[session]
        self._queue(channel, channel.update(hypotheses, progress_s))

    def end(self, session: Session) -> None:
        """One channel's session is gone."""
        channel = self._by_session[session]
        self._queue(channel, channel.end())

    def take(self, at: str) -> tuple[TranscriptRecord, ...]:
        """Finals that are due, in order of their start; `at`: RFC 3339 in UTC."""
        records = []
        limit = min(channel.next_start_s for channel in self._channels)
        while self._line and self._line[0][0] < limit:
            _, index, segment_id = self._line[0]
            channel, segment = self._channels[index], self._finals[index, segment_id]
            if not channel.has_settled(segment):
                break
            heapq.heappop(self._line)
            del self._finals[index, segment_id]
            records.append(self._maker.transcript(channel.leg, segment, at, 0.0))
        return tuple(records)

    def _queue(self, channel: Channel, finals: Iterable[Segment]) -> None:
        for segment in finals:
            key = channel.leg.channel_index, segment.segment_id
            if key not in self._finals:
                heapq.heappush(self._line, (segment.start, *key))
            self._finals[key] = segment
