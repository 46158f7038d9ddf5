"""Voice activity of many legs, frame by frame: what the detector keeps of a leg's past, and a batch of all of them.

Silero's state is carried from window to window. What is no speech shifts it, music most, so that the speech after it is
missed; so it is begun anew in clear silence every `RESET_WINDOWS`. It says up to a third of a second too long that
speech goes on, the more the noisier the line; the level of a window says at once that it is over. So a window whose
level is nearer to that of the leg's silence than to that of its speech is silence, whatever Silero says; it is asked
all the same, for its state, unless there is nothing in the window.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from math import log10

import numpy as np
from numpy.typing import NDArray

from pipeline.turns.pitch import Tone, tones

WINDOW = 512
CONTEXT = 512
"""Samples before a window that the models get with it."""

RESET_WINDOWS = 62
"""Two seconds."""

_QUIET_WINDOWS, _QUIET, _SURE = 5, 0.1, 0.5
_NOTHING = 2e-4
"""Peak; the smallest step of mu-law is 2.4e-4."""

_LOWEST_DB, _RANGE_DB, _SHARE, _DRIFT_DB = -60.0, 15.0, 0.2, 0.02
"""Levels below the first are alike. Levels of speech and silence have to be so far apart; how far above silence is
silence; how far they come nearer to each other a window."""

_ROWS = 128

Vad = Callable[[NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(windows (n, CONTEXT + WINDOW), state (2, n, 128)) to (speech (n,), state)."""


class Hearing:
    """One leg's past."""

    __slots__ = ("_floor_db", "_quiet", "_since_reset", "_speech_db", "context", "state")

    def __init__(self) -> None:
        self._since_reset = self._quiet = 0
        self._floor_db, self._speech_db = 0.0, _LOWEST_DB
        self._reset()

    def heard(self, window: NDArray[np.float32], speech: float) -> float:
        """Probability of speech of the newest window, of which Silero says `speech`."""
        level_db = max(10 * log10(float(np.dot(window, window)) / WINDOW + 1e-12), _LOWEST_DB)
        self._floor_db = min(self._floor_db + _DRIFT_DB, level_db)
        if speech >= _SURE:
            self._speech_db = max(self._speech_db - _DRIFT_DB, level_db)
        range_db = self._speech_db - self._floor_db
        return 0.0 if range_db > _RANGE_DB and level_db < self._floor_db + _SHARE * range_db else speech

    def after(self, window: NDArray[np.float32], speech: float) -> None:
        """`window` was the newest, with this probability of speech."""
        self.context = window[-CONTEXT:]
        self._since_reset += 1
        self._quiet = self._quiet + 1 if speech < _QUIET else 0
        if self._since_reset >= RESET_WINDOWS and self._quiet >= _QUIET_WINDOWS:
            self._since_reset = 0
            self._reset()

    def _reset(self) -> None:
        self.state = np.zeros((2, 128), np.float32)
        self.context = np.zeros(CONTEXT, np.float32)


@dataclass(frozen=True, slots=True)
class Frame:
    """What was heard in a window. `tone`: None where it is not voiced speech."""

    speech: float
    tone: Tone | None = None


def hear(vad: Vad, legs: Sequence[tuple[Hearing, NDArray[np.float32]]]) -> list[list[Frame]]:
    """What is in each leg's windows, which follow those it had before. `legs`: each once, with float32 (n, WINDOW),
    16 kHz."""
    heard: list[list[Frame]] = [[] for _ in legs]
    for at in range(max((len(windows) for _, windows in legs), default=0)):
        due = [index for index, (_, windows) in enumerate(legs) if len(windows) > at]
        asked = [index for index in due if np.abs(legs[index][1][at]).max() >= _NOTHING]
        speech = dict.fromkeys(due, 0.0)
        voices: dict[int, Tone | None] = {}
        for first in range(0, len(asked), _ROWS):
            rows = asked[first : first + _ROWS]
            batch = np.stack([np.concatenate([legs[row][0].context, legs[row][1][at]]) for row in rows])
            values, states = vad(batch, np.stack([legs[row][0].state for row in rows], axis=1))
            for column, row in enumerate(rows):
                legs[row][0].state = states[:, column].copy()
                speech[row] = float(values[column])
            spoken = values >= _SURE
            voices |= zip(compress(rows, spoken), tones(batch[spoken]), strict=True)
        for index in due:
            hearing, window = legs[index][0], legs[index][1][at]
            hearing.after(window, speech[index])
            heard[index].append(Frame(hearing.heard(window, speech[index]), voices.get(index)))
    return heard
