"""Voice activity of many legs, frame by frame: what the detector keeps of a leg's past, and a batch of all of them.

Silero's state is carried from window to window. What is no speech shifts it, music most, so that the speech after it is
missed; so it is begun anew in clear silence every `RESET_WINDOWS`. Windows too quiet to be heard are silence unasked.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

WINDOW = 512
CONTEXT = 64
RESET_WINDOWS = 62
"""Two seconds."""

_QUIET_WINDOWS, _QUIET = 5, 0.1
_INAUDIBLE = np.float32(1e-3)
_ROWS = 128

Vad = Callable[[NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(windows (n, CONTEXT + WINDOW), state (2, n, 128)) to (speech (n,), state)."""


class Hearing:
    """One leg's past."""

    __slots__ = ("_quiet", "_since_reset", "context", "state")

    def __init__(self) -> None:
        self._since_reset = self._quiet = 0
        self._reset()

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


def hear(vad: Vad, legs: Sequence[tuple[Hearing, NDArray[np.float32]]]) -> list[list[float]]:
    """Probability of speech of each leg's windows, which follow those it had before. `legs`: each once, with float32
    (n, WINDOW), 16 kHz."""
    heard: list[list[float]] = [[] for _ in legs]
    for at in range(max((len(windows) for _, windows in legs), default=0)):
        due = [index for index, (_, windows) in enumerate(legs) if len(windows) > at]
        audible = [index for index in due if np.abs(legs[index][1][at]).max() >= _INAUDIBLE]
        speech = dict.fromkeys(due, 0.0)
        for first in range(0, len(audible), _ROWS):
            rows = audible[first : first + _ROWS]
            batch = np.stack([np.concatenate([legs[row][0].context, legs[row][1][at]]) for row in rows])
            values, states = vad(batch, np.stack([legs[row][0].state for row in rows], axis=1))
            for column, row in enumerate(rows):
                legs[row][0].state = states[:, column].copy()
                speech[row] = float(values[column])
        for index in due:
            legs[index][0].after(legs[index][1][at], speech[index])
            heard[index].append(speech[index])
    return heard
