"""What a telephone line makes of speech, and what the product makes of the line.

`call` is the far side: level, silence around the speech, line noise, mu-law at 8 kHz. `received` is ours: the decoder
and the half-band filter of the live path.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline import g711
from pipeline.resample import BLOCK, HISTORY, half_band
from training.voices import SAMPLE_RATE_HZ

RATE_HZ = 8_000

_PEAK_EXPONENT = (-1.1, -0.05)
_NOISE_EXPONENT = (-4.2, -2.2)
_NOISE_SHARE = 0.75
_LOW_PASSED_SHARE = 0.4
_BEFORE_S, _AFTER_S = (0.05, 0.5), (0.3, 0.9)
_PAUSE_S = (0.15, 0.9)
_SEGMENT_LEVEL = (0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Recording:
    """One side of a call. `codes`: mu-law, uint8 (T,), 8 kHz. `starts_s`: when each segment's speech begins."""

    codes: NDArray[np.uint8]
    starts_s: tuple[float, ...]

    @property
    def duration_s(self) -> float:
        return len(self.codes) / RATE_HZ


def call(segments: Sequence[NDArray[np.float32]], rng: random.Random) -> Recording:
    """Segments of speech (float32 (T,), 16 kHz) one after the other over a line."""
    pieces = [_silence(_BEFORE_S, rng)]
    starts: list[int] = []
    for segment in segments:
        if starts:
            pieces.append(_silence(_PAUSE_S, rng))
        starts.append(sum(map(len, pieces)))
        level = rng.uniform(*_SEGMENT_LEVEL) if len(segments) > 1 else 1.0
        pieces.append(segment * np.float32(level / np.abs(segment).max()))
    pieces.append(_silence(_AFTER_S, rng))
    line = np.concatenate(pieces) * np.float32(10 ** rng.uniform(*_PEAK_EXPONENT))
    line = soxr.resample(line + _noise(len(line), rng), SAMPLE_RATE_HZ, RATE_HZ)
    codes = g711.encode_mulaw((np.clip(line, -1, 1) * 32767).astype(np.int16))
    return Recording(codes, tuple(start / SAMPLE_RATE_HZ for start in starts))


def received(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the engine gets of `codes`: float32, 16 kHz, [-1, 1], in whole blocks of 20 ms, silence at the end."""
    blocks = -(-len(codes) // BLOCK)
    line = np.zeros(HISTORY + blocks * BLOCK, np.float32)
    line[HISTORY : HISTORY + len(codes)] = g711.FLOAT_TABLE[codes.astype(np.intp) + g711.MULAW_OFFSET]
    rows = sliding_window_view(line, HISTORY + BLOCK)[::BLOCK]
    return half_band(np.ascontiguousarray(rows)).reshape(-1)


def _silence(seconds: tuple[float, float], rng: random.Random) -> NDArray[np.float32]:
    return np.zeros(int(SAMPLE_RATE_HZ * rng.uniform(*seconds)), np.float32)


def _noise(samples: int, rng: random.Random) -> NDArray[np.float32]:
    """Line noise of random level, white or low-passed; on some lines none."""
    if rng.random() >= _NOISE_SHARE:
        return np.zeros(samples, np.float32)
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(samples, np.float32)
    if rng.random() < _LOW_PASSED_SHARE:
        noise = np.convolve(noise, np.full(4, 0.5, np.float32), "same")
    return noise * np.float32(10 ** rng.uniform(*_NOISE_EXPONENT))
