"""Stands in for lost packets of codecs that have no concealment of their own (after the idea of G.711, appendix I).

The last pitch period is repeated, at full level for 10 ms, then fading out until 60 ms; after that there is silence. A
voice goes on through the loss of one packet, and no sound is made up where several are missing. The audio after the
loss is not touched, so what was received is passed on as it came.
"""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

FULL_MS, FADED_MS = 10, 60
MIN_PITCH_MS, MAX_PITCH_MS = 5, 15
WINDOW_MS = 20

_PACKETS = 4  # enough for window and period with packets from 10 ms


class Concealer:
    """One stream's. `table`: from the codes of the stream to int16; None where it has samples."""

    def __init__(self, sample_rate_hz: int, table: NDArray[np.int16] | None = None) -> None:
        per_ms = sample_rate_hz / 1000
        self._table = table
        self._min_lag, self._max_lag = int(MIN_PITCH_MS * per_ms), int(MAX_PITCH_MS * per_ms)
        self._window = int(WINDOW_MS * per_ms)
        self._full, self._faded = int(FULL_MS * per_ms), int(FADED_MS * per_ms)
        self._packets: deque[NDArray[Any]] = deque(maxlen=_PACKETS)
        self._period: NDArray[np.float32] | None = None
        self._made = 0

    def add(self, samples: NDArray[Any]) -> None:
        """A packet of the stream: int16 (T,), or uint8 codes (T,) of the table."""
        if self._made:
            self._made, self._period = 0, None
            self._packets.clear()  # a period is not to be sought across the loss
        self._packets.append(samples)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        """The next `samples` samples, int16, in the place of lost ones."""
        pcm = np.zeros(samples, np.int16)
        first = self._made
        self._made += samples
        count = min(samples, self._faded - first)
        if count <= 0:
            return pcm
        if self._period is None:
            self._period = self._last_period()
        at = np.arange(first, first + count)
        gain = np.minimum((self._faded - at) / (self._faded - self._full), 1.0)
        pcm[:count] = self._period[at % self._period.size] * gain
        return pcm

    def _last_period(self) -> NDArray[np.float32]:
        """The end of the recent audio, from where it resembles itself most; a single zero where there is too little."""
        parts = [part if self._table is None else self._table[part] for part in self._packets]
        size = self._window + self._max_lag
        past = np.concatenate([np.empty(0, np.int16), *parts])[-size:].astype(np.float32)
        if past.size < size:
            return np.zeros(1, np.float32)
        recent = past[-self._window :]
        likeness = np.correlate(past[: -self._min_lag], recent)  # lags from the longest to the shortest
        power = np.concatenate([np.zeros(1, np.float32), np.cumsum(past * past)])
        energy = power[self._window : self._window + likeness.size] - power[: likeness.size]
        best = int(np.argmax(likeness / np.sqrt(np.maximum(energy, 1.0))))
        return past[-(self._max_lag - best) :]
