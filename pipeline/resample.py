"""To 16 kHz: a half-band filter for the 8 kHz legs of a live call, soxr for everything else.

Chain of a leg: connector -> queue in its codec -> [tick: decode -> this stage] -> recogniser. It sits at the tick so
that all legs are filtered by one matrix product. Streaming soxr holds 8 kHz audio back for 74 ms on average; the
half-band filter for 3 ms, which is why the live path has its own.

The audio of a leg must not depend on who else is on the line, and a matrix product sums in another order for another
number of rows, another position among them or another CPU. So its numbers are chosen such that no sum is ever rounded:
samples are multiples of 2^-23 within [-1, 1], taps multiples of 2^-22, and the 48 products of an output add up to a
multiple of 2^-45 below 4, which are 47 of the 53 bits of a float64. In whatever order, the sum is the exact one.
"""

from typing import cast

import numpy as np
import soxr
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

OUTPUT_RATE_HZ = 16_000
TAPS_A_SIDE = 24
TAPS = 2 * TAPS_A_SIDE
HISTORY = TAPS - 1
BLOCK = 160
DELAY_16K = 2 * TAPS_A_SIDE
_PART = 32  # of a block in one row of the product: most of the matrix of a whole block is zeros
_GRID = np.float32(2**23)
_TAP_GRID = 2**22
_KAISER_BETA = 9.5  # the image is 95 dB down from 4.6 kHz on; a larger value rejects more, but only from higher up


def half_band_taps() -> NDArray[np.float64]:
    """The (48,) taps that make the sample half-way between two neighbours; unit gain at 0 Hz.

    The other half of the output is the input itself: a windowed-sinc half-band filter is zero at every other tap.
    Flat to 3.4 kHz within 0.001 dB, more than 90 dB down from 4.6 kHz. Multiples of 2^-22.
    """
    distance = np.arange(TAPS) - (TAPS - 1) / 2
    window = np.kaiser(2 * TAPS + 1, _KAISER_BETA)[1:-1:2]
    taps = np.sinc(distance) * window
    return cast(NDArray[np.float64], np.rint(taps / taps.sum() * _TAP_GRID) / _TAP_GRID)


def _toeplitz(taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(HISTORY + _PART, _PART): column n weighs the 48 inputs around output 2n + 1 of a part of a block."""
    matrix = np.zeros((HISTORY + _PART, _PART))
    for n in range(_PART):
        matrix[n : n + TAPS, n] = taps
    return matrix


_MATRIX = _toeplitz(half_band_taps())


def on_grid(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """`pcm` as `half_band` takes it: multiples of 2^-23 within [-1, 1], what is no number as silence. Samples of 16
    bits are so already."""
    finite = np.clip(np.nan_to_num(pcm, nan=0.0), np.float32(-1), np.float32(1))
    return cast(NDArray[np.float32], np.rint(finite * _GRID) / _GRID)


def half_band(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Double the rate of many blocks at once.

    `x`: float32 (rows, HISTORY + BLOCK), 8 kHz, `on_grid`, each row a block after the 47 samples before it. Returns a
    new (rows, 2 * BLOCK) array at 16 kHz; output 2n of a row belongs to its input n - 24 (`DELAY_16K` in output
    samples). Of a row whose block is shorter than BLOCK and padded, the first 2 outputs per valid input are right. A
    row comes out the same, bit by bit, beside any others.
    """
    rows = len(x)
    y = np.empty((rows, 2 * BLOCK), np.float32)
    y[:, 0::2] = x[:, TAPS_A_SIDE - 1 : TAPS_A_SIDE - 1 + BLOCK]
    shape, (row, sample) = (rows, BLOCK // _PART, HISTORY + _PART), x.strides
    parts = as_strided(x, shape, (row, _PART * sample, sample), writeable=False).astype(np.float64)
    y[:, 1::2] = (parts.reshape(-1, HISTORY + _PART) @ _MATRIX).reshape(rows, BLOCK)
    return y


class StreamResampler:
    """soxr on one stream, any rate to 16 kHz; `channels` are resampled together.

    Output is aligned with the input (soxr takes its own delay out) and comes late by the filter's length; `flush`
    gives the rest. Independent of how the input is cut, up to rounding.
    """

    def __init__(self, sample_rate_hz: int, channels: int = 1) -> None:
        self._stream = soxr.ResampleStream(sample_rate_hz, OUTPUT_RATE_HZ, channels, dtype="float32", quality="HQ")
        self._channels = channels

    def process(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """`pcm`: float32 (T,) or (T, channels) -> the same layout at 16 kHz; possibly empty."""
        return cast(NDArray[np.float32], self._stream.resample_chunk(pcm))

    def flush(self) -> NDArray[np.float32]:
        """What the filter still holds; the stream cannot be used afterwards."""
        shape: tuple[int, ...] = (0,) if self._channels == 1 else (0, self._channels)
        return cast(NDArray[np.float32], self._stream.resample_chunk(np.empty(shape, np.float32), last=True))
