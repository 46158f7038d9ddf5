"""How a phrase ended by its melody: the pitch and level of its last voiced windows against what the speaker has had so
far. What goes on mostly stays up or rises, what ends falls and fades.

Pitch is the shortest lag at which the normalised autocorrelation over two windows has a peak nearly as high as its
highest, at 16 kHz, from 70 to 400 Hz (Boersma 1993): longer lags hold several periods and have peaks as high.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
LENGTH = 1024
"""Samples that pitch is taken of."""

_LAGS = slice(RATE_HZ // 400, RATE_HZ // 70)
_VOICED, _NEAR = 0.5, 0.85
_KEPT, _LAST, _LAST_FRAMES = 60, 8, 20
_OCTAVE = 10.0
"""Semitones: pitch so far from the speaker's is an error of an octave."""


@dataclass(frozen=True, slots=True)
class Tone:
    """Of a window: `semitones` above 100 Hz, `level_db`."""

    semitones: float
    level_db: float


@dataclass(frozen=True, slots=True)
class Contour:
    """The end of a phrase. `last`, `lowest`: semitones above the median of the speaker's last two seconds of voice;
    `relative`: the former by the spread of these. `slope`, `long_slope`: semitones a window, over the last five and
    eight voiced ones. `voiced`: how many there are in the last 0.6 s, `gap`: windows since the last, `run`: of them
    without a break. `level_db`: against the median, `level_slope`: dB a window."""

    last: float
    lowest: float
    relative: float
    slope: float
    long_slope: float
    voiced: int
    gap: int
    run: int
    level_db: float
    level_slope: float


SILENT = Contour(0.0, 0.0, 0.0, 0.0, 0.0, 0, _LAST_FRAMES, 0, -20.0, 0.0)


class Melody:
    """The voiced windows of a leg, in a bounded memory."""

    __slots__ = ("_number", "_tones")

    def __init__(self) -> None:
        self._number = 0
        self._tones: deque[tuple[int, float, float]] = deque(maxlen=_KEPT)

    def add(self, tone: Tone | None) -> None:
        """The next window; None: it is not voiced."""
        self._number += 1
        if tone is not None:
            self._tones.append((self._number, tone.semitones, tone.level_db))

    def contour(self) -> Contour:
        """Up to the newest window."""
        if not self._tones:
            return SILENT
        numbers, semitones, levels = np.array(self._tones).T
        middle, level = float(np.median(semitones)), float(np.median(levels))
        recent = numbers[-_LAST:] > self._number - _LAST_FRAMES
        if not recent.any():
            return SILENT
        pitch, loudness = semitones[-_LAST:][recent] - middle, levels[-_LAST:][recent] - level
        near = pitch[np.abs(pitch) < _OCTAVE]
        spread = float(np.std(np.clip(semitones - middle, -_OCTAVE, _OCTAVE)))
        breaks = np.flatnonzero(np.diff(numbers) > 1)
        return Contour(
            last=_mean(near[-2:]),
            lowest=float(near.min()) if near.size else 0.0,
            relative=_mean(near[-3:]) / (spread + 0.5),
            slope=_slope(near[-5:]),
            long_slope=_slope(near),
            voiced=int(recent.sum()),
            gap=int(self._number - numbers[-1]),
            run=int(numbers.size - (breaks[-1] + 1 if breaks.size else 0)),
            level_db=_mean(loudness[-3:]),
            level_slope=_slope(loudness[-6:]),
        )


def tones(pcm: NDArray[np.float32]) -> list[Tone | None]:
    """Of stretches of audio, (n, LENGTH), 16 kHz; None: not voiced. The level is that of their second half."""
    if not len(pcm):
        return []
    shaped = (pcm - pcm.mean(axis=1, keepdims=True)) * np.hanning(LENGTH).astype(np.float32)
    power = np.abs(np.fft.rfft(shaped, 2 * LENGTH, axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)[:, : _LAGS.stop]
    normal = (correlation / (correlation[:, :1] + 1e-9) / _window_correlation())[:, _LAGS]
    strength = normal.max(axis=1)
    is_peak = np.zeros(normal.shape, np.bool_)
    is_peak[:, 1:-1] = (normal[:, 1:-1] >= normal[:, :-2]) & (normal[:, 1:-1] > normal[:, 2:])
    best = (is_peak & (normal >= _NEAR * strength[:, None])).argmax(axis=1)
    semitones = 12 * np.log2(RATE_HZ / (best + _LAGS.start) / 100)
    levels = 10 * np.log10(np.mean(pcm[:, LENGTH // 2 :] ** 2, axis=1) + 1e-8)
    return [
        Tone(float(semitones[row]), float(levels[row])) if strength[row] > _VOICED and best[row] else None
        for row in range(len(pcm))
    ]


@cache
def _window_correlation() -> NDArray[np.float64]:
    power = np.abs(np.fft.rfft(np.hanning(LENGTH), 2 * LENGTH)) ** 2
    correlation = np.fft.irfft(power)[: _LAGS.stop]
    return cast(NDArray[np.float64], correlation / correlation[0] + 1e-3)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0


def _slope(values: NDArray[np.float64]) -> float:
    """By least squares; 0 of fewer than three."""
    if values.size < 3:
        return 0.0
    x = np.arange(values.size) - (values.size - 1) / 2
    return float(x @ values / (x @ x))
