"""What counts only once it lasts. Pure: time is a parameter.

A machine that others use too has slow moments: half a second in which every step takes ten times as long says nothing
about the minute after it. A mean follows such a moment and forgets it slowly. Here the mean is taken within slices of
half a second, and of the slices the median: a moment spoils a few of them and leaves the median where it was, and what
lasts longer than half of the slices becomes the median itself.
"""

from collections import deque

SLICE_S = 0.5
SLICES = 12

_FRESH_S = SLICES * SLICE_S
_RECOVERY_S = 10.0
"""Time in which half of what a slice deviates from the usual is forgotten, once it is older than all slices together
last: nothing was observed since."""


class Lasting:
    """Sums of `value` over sums of `weight`, as they have been for more than half of the last six seconds in which
    anything was observed; what is missing to those counts as `usual`. Adding costs the same whatever was added."""

    def __init__(self, usual: float) -> None:
        self._usual = usual
        self._slices: deque[tuple[int, float, float]] = deque(maxlen=SLICES)  # (number, value, weight)

    def add(self, value: float, weight: float, now: float) -> None:
        """`weight`: more than 0."""
        number = int(now / SLICE_S)
        if self._slices and self._slices[-1][0] >= number:
            last, so_far, weighed = self._slices.pop()
            number, value, weight = last, so_far + value, weighed + weight
        self._slices.append((number, value, weight))

    def median(self, now: float) -> float:
        """The lower one of the two in the middle."""
        means = [self._usual] * (SLICES - len(self._slices))
        fresh = now - _FRESH_S
        for number, value, weight in self._slices:
            mean, stale = value / weight, fresh - number * SLICE_S
            if stale > 0:
                mean = self._usual + (mean - self._usual) * 0.5 ** (stale / _RECOVERY_S)
            means.append(mean)
        means.sort()
        return means[(SLICES - 1) // 2]
