"""The tracks of one stream: packets in order of their sequence in, contiguous audio out, with silence for what is
missing.

Sits between the reordering window and the events. All tracks of a stream share its clock.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from connectors.media_ws.events import AudioReceived, TrackStats
from connectors.media_ws.timeline import TrackTimeline
from connectors.media_ws.track import Track

SILENT_TRACK_LAG_MS = 1000
"""A track on which nothing is sent is filled with silence this far behind the clock of the other one, so that its last
segment can close: some carriers leave out the packets of a silent party."""

SILENT_TRACK_STEP_MS = 200

_UNKNOWN = -1


class Tracks:
    """`silence`: the G.711 code of a zero sample. `stats` is filled in. There are no tracks before `begin`."""

    def __init__(self, sample_rate_hz: int, silence: int, stats: dict[Track, TrackStats]) -> None:
        self._stats = stats
        self._rate = sample_rate_hz
        self._started_at = 0.0
        self._silence = np.full(sample_rate_hz, silence, np.uint8)
        self._silence.setflags(write=False)
        self._timelines: dict[Track, TrackTimeline] = {}
        self._missing: dict[Track, int] = {}
        self._anew = False

    def begin(self, names: Iterable[Track], now: float) -> None:
        """The stream starts, with these tracks."""
        self._started_at = now
        for track in names:
            self.add(track, 0)

    def __len__(self) -> int:
        return len(self._timelines)

    def __contains__(self, track: object) -> bool:
        return track in self._timelines

    def __iter__(self) -> Iterator[Track]:
        return iter(self._timelines)

    def add(self, track: Track, missing: int) -> None:
        """One more, which begins with the stream. `missing`: as for `place`, up to now."""
        self._stats[track] = TrackStats()
        self._timelines[track] = TrackTimeline(self._rate)
        self._missing[track] = missing

    def is_new(self, track: Track, timestamp_ms: int) -> bool:
        """Whether a timestamp lies after all that were placed on this track."""
        return timestamp_ms > self._timelines[track].last_ms

    def clock_ms(self, track: Track) -> int:
        """The timestamp of audio right behind what was handed out."""
        return self._timelines[track].clock_ms

    def begin_anew(self) -> None:
        """The peer counts anew: where the next timestamp lies before the last one, timestamps do, too. All tracks go on
        from where the farthest one is."""
        self._anew = True
        self._missing = dict.fromkeys(self._timelines, _UNKNOWN)  # so that `place_next` leaves it to `place`

    def position_s(self, track: Track) -> float:
        """Media time of the track that has been handed out."""
        return self._timelines[track].position / self._rate

    def place(
        self, track: Track, timestamp_ms: int, codes: NDArray[np.uint8], arrival: float, missing: int
    ) -> tuple[list[AudioReceived], bool]:
        """The audio of a packet, after the silence that makes up for what is missing before it.

        `missing`: sequence numbers of the stream given up so far, on whichever track they were; they are `lost` on the
        track that has the gap. The second value is False when the timestamp was not believed.
        """
        stats, timeline = self._stats[track], self._timelines[track]
        if self._anew:
            self._anew = False
            self._missing = dict.fromkeys(self._timelines, missing)
            if not self.is_new(track, timestamp_ms):
                position = max(one.position for one in self._timelines.values())
                for one in self._timelines.values():
                    one.begin_anew(timestamp_ms, position)
        given_up = missing - self._missing[track]
        self._missing[track] = missing
        end = timeline.position
        elapsed_s = arrival - self._started_at
        placement = timeline.place(timestamp_ms, codes.size, broken=given_up > 0, elapsed_s=elapsed_s)
        if given_up and placement.gap:
            stats.lost += min(given_up, max(1, round(placement.gap / max(codes.size, 1))))
        audio = self._fill(track, end, placement.fill, arrival) if placement.fill else []
        stats.packets += 1
        if codes.size:
            audio.append(AudioReceived(track, placement.pts, codes, arrival))
        for other, silent in self._timelines.items():
            if other is not track and timeline.clock_ms - silent.clock_ms > SILENT_TRACK_LAG_MS + SILENT_TRACK_STEP_MS:
                audio += self._fill(other, *silent.fill_to(timeline.clock_ms - SILENT_TRACK_LAG_MS), arrival)
        return audio, placement.plausible

    def place_next(self, track: Track, timestamp_ms: int, samples: int, missing: int) -> int | None:
        """The pts of a packet right behind the one before it, with nothing missing on any track; None where it is not
        that, and nothing has changed."""
        timeline = self._timelines.get(track)
        if timeline is None or missing != self._missing[track] or not timeline.follows(timestamp_ms):
            return None
        if len(self._timelines) > 1 and any(
            timestamp_ms + samples * 1000 // self._rate - other.clock_ms > SILENT_TRACK_LAG_MS
            for other in self._timelines.values()
            if other is not timeline
        ):
            return None
        pts = timeline.position
        timeline.position = pts + samples
        timeline.last_ms = max(timeline.last_ms, timestamp_ms)
        self._stats[track].packets += 1
        return pts

    def pass_by(self, track: Track, packets: int, samples: int) -> None:
        """So many packets of `samples` samples were handed out without coming here, one right behind the other."""
        timeline = self._timelines[track]
        timeline.position += packets * samples
        timeline.last_ms += packets * samples * 1000 // self._rate
        self._stats[track].packets += packets

    def _fill(self, track: Track, pts: int, samples: int, arrival: float) -> list[AudioReceived]:
        self._stats[track].filled_samples += samples
        step = self._silence.size
        return [
            AudioReceived(track, pts + done, self._silence[: samples - done], arrival, filled=True)
            for done in range(0, samples, step)
        ]
