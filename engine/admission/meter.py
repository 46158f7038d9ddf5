"""What the engine observes of one latency class: step times, batch fill and lag. Pure: time is a parameter."""

import copy

import numpy as np
from numpy.typing import ArrayLike

_FINEST_S = 0.000_5
_GROWTH = 1.1
_BUCKETS = 128
_BOUNDS = _FINEST_S * _GROWTH ** np.arange(_BUCKETS - 1)
"""Upper bounds of the lag buckets, 0.5 ms to about 80 s, each 10 % wider than the one before."""

HALF_LIFE_S = 5.0
"""Time in which an observation loses half its weight."""

_SMOOTHING = 0.05
"""Weight of the newest step in the running means."""


class LagWindow:
    """Quantiles of recent lags, to within 10 %: a histogram that forgets."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS)
        self._at = 0.0

    def add(self, lags: ArrayLike, now: float) -> None:
        """lags: seconds, any number of them."""
        self._forget(now)
        self._counts += np.bincount(np.searchsorted(_BOUNDS, lags), minlength=_BUCKETS)

    def weight(self, now: float) -> float:
        """How many recent observations there are."""
        self._forget(now)
        return float(self._counts.sum())

    def quantile(self, share: float, now: float) -> float:
        """Seconds; 0 where nothing was observed."""
        self._forget(now)
        total = np.cumsum(self._counts)
        if total[-1] < 1.0:
            return 0.0
        bucket = int(np.searchsorted(total, share * total[-1]))
        return float(_BOUNDS[min(bucket, _BUCKETS - 2)])

    def copy(self) -> "LagWindow":
        made = LagWindow()
        made._counts, made._at = self._counts.copy(), self._at
        return made

    def _forget(self, now: float) -> None:
        if now > self._at:
            self._counts *= 0.5 ** ((now - self._at) / HALF_LIFE_S)
            self._at = now


class Meter:
    """Counters since the start (`steps`, `rows`, `step_s`) and running means (`mean_step_s`, `fill`)."""

    def __init__(self) -> None:
        self.steps = 0
        self.rows = 0
        self.step_s = 0.0
        self.mean_step_s = 0.0
        self.fill = 0.0
        self.lag = LagWindow()

    def stepped(self, rows: int, possible: int, step_s: float, lags: list[float], now: float) -> None:
        """A batch of `rows` of the `possible` rows took `step_s`; `lags`: seconds, from audio complete to result
        reported."""
        weight = 1.0 if self.steps == 0 else _SMOOTHING
        self.steps += 1
        self.rows += rows
        self.step_s += step_s
        self.mean_step_s += weight * (step_s - self.mean_step_s)
        self.fill += weight * (min(1.0, rows / max(1, possible)) - self.fill)
        if lags:
            self.lag.add(lags, now)

    def copy(self) -> "Meter":
        """As it stands, for whoever reads it while the engine goes on."""
        made = copy.copy(self)
        made.lag = self.lag.copy()
        return made
