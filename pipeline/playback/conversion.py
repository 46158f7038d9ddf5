"""What is to be said, at the rate of the leg it is said on.

Between 16 and 8 kHz, both ways, by the half-band filter of the way in (`pipeline.resample`): it holds audio back for 3
ms, streaming soxr for more than 100 ms. Other rates go through soxr.
"""

from typing import cast

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline.resample import TAPS, TAPS_A_SIDE, half_band_taps

Pcm = NDArray[np.int16] | NDArray[np.float32]

_TAPS = half_band_taps().astype(np.float32)
_HALF = np.float32(0.5)
_FULL = np.float32(32768)


def to_int16(pcm: NDArray[np.generic]) -> NDArray[np.int16]:
    """int16 as it is; float32 in [-1, 1] scaled, cut to the range, what is no number as silence. Raises `ValueError`
    for anything else than a flat array of these."""
    if pcm.ndim != 1 or pcm.dtype not in (np.int16, np.float32):
        raise ValueError(f"audio to be played is a flat array of int16 or float32, got {pcm.dtype} {pcm.shape}")
    if pcm.dtype == np.int16:
        return cast("NDArray[np.int16]", pcm)
    scaled = np.nan_to_num(cast("NDArray[np.float32]", pcm), nan=0.0, posinf=1.0, neginf=-1.0) * _FULL
    return _rounded(scaled)


class Converter:
    """One stream of int16 from `from_hz` to `to_hz`. The output is aligned with the input: `flush` gives what the
    filter holds back, after which the stream is over."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.to_hz = to_hz
        self._ratio = {(16_000, 8_000): "down", (8_000, 16_000): "up"}.get((from_hz, to_hz), "")
        self._soxr: soxr.ResampleStream | None = None
        if from_hz != to_hz and not self._ratio:
            self._soxr = soxr.ResampleStream(from_hz, to_hz, 1, dtype="int16", quality="HQ")
        lead = {"down": TAPS - 1, "up": TAPS_A_SIDE - 1}.get(self._ratio, 0)
        self._history = np.zeros(lead, np.float32)

    def process(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """`pcm`: int16 (T,) -> int16, possibly empty."""
        if self._ratio == "down":
            return self._down(pcm.astype(np.float32))
        if self._ratio == "up":
            return self._up(pcm.astype(np.float32))
        return pcm if self._soxr is None else cast("NDArray[np.int16]", self._soxr.resample_chunk(pcm))

    def flush(self) -> NDArray[np.int16]:
        """The rest."""
        if self._ratio == "down":
            return self._down(np.zeros(TAPS - 1, np.float32))
        if self._ratio == "up":
            return self._up(np.zeros(TAPS_A_SIDE, np.float32))
        if self._soxr is None:
            return np.zeros(0, np.int16)
        return cast("NDArray[np.int16]", self._soxr.resample_chunk(np.zeros(0, np.int16), last=True))

    def _down(self, x: NDArray[np.float32]) -> NDArray[np.int16]:
        """Output n is half of input 2n and half of what the taps make of its 48 odd neighbours, 47 samples a side."""
        x = np.concatenate([self._history, x])
        count = max((x.size - (2 * TAPS - 2) + 1) // 2, 0)  # windows of 95 samples, two apart
        if not count:
            self._history = x
            return np.zeros(0, np.int16)
        odd = x[0 : 2 * (count + TAPS - 1) : 2]
        centre = x[TAPS - 1 : TAPS - 1 + 2 * count : 2]
        self._history = x[2 * count :]
        return _rounded((centre + np.convolve(odd, _TAPS, "valid")[:count]) * _HALF)

    def _up(self, x: NDArray[np.float32]) -> NDArray[np.int16]:
        """Outputs 2n are the input, 2n + 1 half-way between inputs n and n + 1."""
        x = np.concatenate([self._history, x])
        count = max(x.size - TAPS + 1, 0)
        self._history = x[count:]
        y = np.empty(2 * count, np.float32)
        y[0::2] = x[TAPS_A_SIDE - 1 : TAPS_A_SIDE - 1 + count]
        y[1::2] = np.convolve(x, _TAPS, "valid") if count else 0
        return _rounded(y)


def _rounded(y: NDArray[np.float32]) -> NDArray[np.int16]:
    return cast("NDArray[np.int16]", np.clip(np.rint(y), -32768, 32767).astype(np.int16))
