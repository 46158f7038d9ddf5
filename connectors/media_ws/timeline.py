"""Where a track's audio lies in media time: gaps are measured by the carrier's timestamps, in whole samples.

Sits behind the reordering window, so what comes here is in order and only ever moves forward. The position is what was
handed out; the clock is the same place in the carrier's timestamps.
"""

from dataclasses import dataclass

JITTER_MS = 20
"""Timestamps of an unbroken track may run this much ahead of its samples before silence is put in."""

MAX_FILL_S = 2.0
"""Longer gaps, such as a hold in which the carrier sends nothing, get this much silence and then a step in `pts`."""

SLACK_S = 10.0
"""A timestamp may be ahead of the time since the stream began by this much: players that run faster than real time,
a start that was stuck on the way. Beyond it a gap is not believed and the timestamp is taken as a new origin."""


@dataclass(frozen=True, slots=True)
class Placement:
    """`pts`: where the audio begins. `gap`: samples missing right before it. `fill`: how many of them are to be handed
    out as silence, beginning where the audio before ended."""

    pts: int
    gap: int
    fill: int
    plausible: bool


class TrackTimeline:
    """Places the packets of one track. `sample_rate_hz` is a multiple of 1000, so a millisecond is whole samples.
    `last_ms`: the latest timestamp placed, -1 before the first."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.position = 0
        self.last_ms = -1
        self._rate = sample_rate_hz
        self._per_ms = sample_rate_hz // 1000
        self._offset = 0

    @property
    def clock_ms(self) -> int:
        """The timestamp the next packet should bear."""
        return (self.position - self._offset) // self._per_ms

    def follows(self, timestamp_ms: int) -> bool:
        """Whether a packet of this time stamp has its place right at the position, as far as jitter goes."""
        return timestamp_ms * self._per_ms + self._offset - self.position < JITTER_MS * self._per_ms

    def place(self, timestamp_ms: int, samples: int, *, broken: bool, elapsed_s: float) -> Placement:
        """Place `samples` samples. `broken`: a packet before it may be missing, so the gap is exact however small.

        Audio is never cut: a packet whose timestamp lies before the position is put at the position.
        `elapsed_s`: time since the stream began, against which a long gap is checked.
        """
        self.last_ms = max(self.last_ms, timestamp_ms)
        gap = timestamp_ms * self._per_ms + self._offset - self.position
        if gap < (1 if broken else JITTER_MS * self._per_ms):
            gap = 0
        plausible = gap <= SLACK_S * self._rate or timestamp_ms / 1000 <= elapsed_s + SLACK_S
        if not plausible:
            self._offset -= gap
            gap = 0
        pts = self.position + gap
        self.position = pts + samples
        return Placement(pts, gap, min(gap, int(MAX_FILL_S * self._rate)), plausible)

    def begin_anew(self, timestamp_ms: int, position: int) -> None:
        """Timestamps begin anew: this one stands for the position from now on."""
        self._offset = position - timestamp_ms * self._per_ms
        self.last_ms = -1

    def fill_to(self, timestamp_ms: int) -> tuple[int, int]:
        """Move the position up to a timestamp without audio: where the silence begins and how many samples it has."""
        pts = self.position
        gap = max(0, timestamp_ms * self._per_ms + self._offset - pts)
        self.position += gap
        return pts, min(gap, int(MAX_FILL_S * self._rate))
