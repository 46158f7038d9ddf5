"""Legs of calls whose turns are known: who speaks from when to when, and which pauses are inside a turn.

Between two turns the other party speaks, which this leg does not hear. Pauses in a turn are drawn as long as those of
the human turns of eot-bench: how many outlast a given time is what its silence-only system cuts off at that latency
(English: 55.6 % of the pauses of 200 ms and more outlast 300 ms, 21.7 % 600 ms, 10 % 1 s, 5 % 1.6 s). A pause is as
long whatever stands before it.

What the line makes of it: 300 to 3,400 Hz, noise, mu-law, and packets of 20 ms that are lost in bursts.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline import g711
from training.telephone import RATE_HZ, received
from training.voices import SAMPLE_RATE_HZ

PAUSES_S = ((1.0, 0.2), (0.58, 0.3), (0.24, 0.6), (0.11, 1.0), (0.055, 1.6), (0.0, 2.3))
"""Share of the pauses in turns that are longer, and seconds."""

GAP_S = (2.6, 4.0)
BLOCK = 160

_LOUD = 0.01
_BREAK_S = 0.15
_STEP = 160
_LOSS_BURST = 1.5


class Line(StrEnum):
    """How good the telephone line is: noise so many dB below the speech, and packets lost."""

    CLEAN = "clean"
    NOISE_20 = "noise 20 dB"
    NOISE_10 = "noise 10 dB"
    LOSS_3 = "loss 3 %"


_NOISE_DB = {Line.CLEAN: 45.0, Line.NOISE_20: 20.0, Line.NOISE_10: 10.0, Line.LOSS_3: 30.0}


@dataclass(frozen=True, slots=True)
class Speech:
    """A run of speech without a silence of `_BREAK_S`. `ends_turn`: the turn is over with it."""

    start_s: float
    end_s: float
    ends_turn: bool


@dataclass(frozen=True, slots=True)
class Leg:
    """`pcm`: float32 (T,), 16 kHz, as the engine gets it. `speech`: in order."""

    locale: str
    voice: str
    line: Line
    pcm: NDArray[np.float32]
    speech: tuple[Speech, ...]


def assemble(
    locale: str,
    voice: str,
    line: Line,
    pieces: Sequence[tuple[NDArray[np.float32], float, bool]],
    rng: random.Random,
) -> Leg:
    """A leg of pieces of speech, each with the silence after it (s) and whether it ends its turn. A voice makes pauses
    of its own in a piece: they count as those between pieces do."""
    at = int(rng.uniform(0.5, 1.5) * SAMPLE_RATE_HZ)
    audio = [np.zeros(at, np.float32)]
    speech: list[Speech] = []
    for pcm, pause_s, last in pieces:
        loud = pcm * np.float32(0.25 * rng.uniform(0.7, 1.2) / max(float(np.abs(pcm).max()), 1e-3))
        silence = np.zeros(int(pause_s * SAMPLE_RATE_HZ), np.float32)
        audio += [loud, silence]
        found = _runs(loud)
        for start, end in found:
            ends_turn = last and end == found[-1][1]
            speech.append(Speech((at + start) / SAMPLE_RATE_HZ, (at + end) / SAMPLE_RATE_HZ, ends_turn))
        at += loud.size + silence.size
    return Leg(locale, voice, line, received(over(np.concatenate(audio), line, rng)), tuple(speech))


def over(pcm: NDArray[np.float32], line: Line, rng: random.Random) -> NDArray[np.uint8]:
    """`pcm`, float32 (T,) at 16 kHz, as it comes off a telephone line: mu-law codes, 8 kHz; lost packets are silent."""
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(pcm.size // 2, np.float32)
    narrow = soxr.resample(pcm, SAMPLE_RATE_HZ, RATE_HZ)[: noise.size]
    power = float(np.mean(narrow[np.abs(narrow) > _LOUD * 0.25] ** 2))
    narrow = narrow + noise[: narrow.size] * np.float32(np.sqrt(power * 10 ** (-_NOISE_DB[line] / 10)))
    codes = g711.encode_mulaw((np.clip(_band(narrow), -1, 1) * 32767).astype(np.int16))
    if line is Line.LOSS_3:
        for start in range(0, codes.size, BLOCK):
            if rng.random() < 0.03 / _LOSS_BURST:
                codes[start : start + BLOCK * rng.choice((1, 2))] = 0xFF
    return codes


def _band(narrow: NDArray[np.float32]) -> NDArray[np.float64]:
    """300 to 3,400 Hz of a signal at 8 kHz, with edges 100 Hz wide."""
    frequency = np.fft.rfftfreq(narrow.size, 1 / RATE_HZ)
    gain = np.clip((frequency - 250) / 100, 0, 1) * np.clip((3_450 - frequency) / 100, 0, 1)
    return np.fft.irfft(np.fft.rfft(narrow) * gain, narrow.size)


def trim(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the silence at both ends: what is 40 dB below its peak."""
    loud = np.flatnonzero(np.abs(pcm) > _LOUD * np.abs(pcm).max())
    return pcm[loud[0] : loud[-1] + 1] if loud.size else pcm


def _runs(pcm: NDArray[np.float32]) -> list[tuple[int, int]]:
    """First and last sample of what is spoken without a break."""
    level = np.sqrt(np.mean(pcm[: pcm.size // _STEP * _STEP].reshape(-1, _STEP) ** 2, axis=1))
    loud = np.flatnonzero(level > 2 * _LOUD * level.max())
    breaks = np.flatnonzero(np.diff(loud) * _STEP > _BREAK_S * SAMPLE_RATE_HZ)
    starts = [loud[0], *loud[breaks + 1]]
    ends = [*loud[breaks], loud[-1]]
    return [(int(start) * _STEP, (int(end) + 1) * _STEP) for start, end in zip(starts, ends, strict=True)]


def pause(rng: random.Random) -> float:
    shares, seconds = zip(*reversed(PAUSES_S), strict=True)
    return float(np.interp(rng.random(), shares, seconds))
