"""The turns of one leg of a running call: its audio until it is heard, the last seconds for Smart Turn, its alignment.

Audio is heard no further than `AHEAD_S` beyond what the recogniser has written, so what Smart Turn may be asked about
is still there when the question comes, however fast a recording is pushed. Memory is bounded: `KEPT_S` of audio as
16-bit samples, and what waits, `MAX_UNHEARD_S`; beyond that the leg goes on with words alone.
"""

from collections.abc import Callable, Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from engine.api import SAMPLE_RATE_HZ, Hypothesis
from pipeline.turns.ahead import WordsAhead
from pipeline.turns.alignment import Alignment
from pipeline.turns.hearing import WINDOW, Frame, Hearing
from pipeline.turns.machine import Turn

AHEAD_S = 1.0
JUDGED_S = 8.0
MAX_UNHEARD_S = 40.0
STALLED_S = 0.4
"""Beyond the recogniser's step: audio that is heard no more while none follows it."""

_SCALE = np.float32(32767)


class LegTurns:
    """Created by `TurnDetector.open`. `publish`: takes the turns that come of audio, not of words. `kept_s`: audio kept
    for Smart Turn, 0 without it."""

    def __init__(self, alignment: Alignment, publish: Callable[[Sequence[Turn]], None], kept_s: float) -> None:
        self.alignment = alignment
        self.publish = publish
        self.hearing = Hearing()
        self.waiting_since: float | None = None
        self.asked_at: float | None = None
        self.asked_s: float | None = None
        self.closed = False
        self.pushed_at = inf  # by the clock
        self.patience_s = inf
        self.on_stall: Callable[[], None] = lambda: None
        self._ahead = WordsAhead()
        self._taken = 0  # windows that are being heard
        self._unheard: list[NDArray[np.float32]] = []
        self._unheard_samples = 0
        self._samples = 0
        self._ring = np.zeros(int(kept_s * SAMPLE_RATE_HZ) // WINDOW * WINDOW, np.int16)
        self._heard = 0  # samples
        self._all_written = False

    @property
    def hears(self) -> bool:
        """False: turns go by words alone."""
        return self.alignment.hears

    @property
    def length_s(self) -> float:
        """Of the audio so far, session time."""
        return self._samples / SAMPLE_RATE_HZ

    @property
    def is_due(self) -> bool:
        """There is audio to be heard now."""
        return self.due_windows > 0

    @property
    def settled(self) -> bool:
        """Nothing is waited for."""
        return not self.hears or not (self._unheard_samples >= WINDOW or self._taken or self.alignment.waits)

    @property
    def due_windows(self) -> int:
        """Windows that may be heard now."""
        waiting = self._unheard_samples // WINDOW
        if self._all_written or not waiting:
            return waiting
        ahead = self.alignment.progress_s + self.alignment.step_s + AHEAD_S - self._heard / SAMPLE_RATE_HZ
        return min(waiting, max(int(min(ahead, MAX_UNHEARD_S) * SAMPLE_RATE_HZ) // WINDOW, 0))

    def has_stalled(self, now: float) -> bool:
        """A turn is open, no audio has come for `patience_s`, and what came before was heard."""
        if now - self.pushed_at <= self.patience_s or self.alignment.machine.is_idle:
            return False
        return self.length_s - self.alignment.heard_s < min(self.alignment.step_s, AHEAD_S) + STALLED_S

    def push(self, pcm: NDArray[np.float32]) -> bool:
        """float32 (T,), 16 kHz. Returns False where too much of it waits."""
        self._samples += pcm.size
        if self.hears:
            self._unheard.append(pcm)
            self._unheard_samples += pcm.size
        return self._unheard_samples <= MAX_UNHEARD_S * SAMPLE_RATE_HZ

    def take(self) -> NDArray[np.float32]:
        """The windows that are due, (n, WINDOW)."""
        self._taken = self.due_windows
        size = self._taken * WINDOW
        waiting = np.concatenate(self._unheard)
        rest = waiting[size:]
        self._unheard, self._unheard_samples = ([rest] if rest.size else []), rest.size
        return waiting[:size].reshape(-1, WINDOW)

    def heard(self, windows: NDArray[np.float32], frames: Sequence[Frame]) -> list[Turn]:
        """What was taken, with what was heard in each."""
        self._taken = 0
        if self._ring.size:
            for window in windows:
                at = self._heard % self._ring.size
                self._ring[at : at + WINDOW] = np.clip(window, -1, 1) * _SCALE
                self._heard += WINDOW
        else:
            self._heard += windows.size
        return self.alignment.add_frames(frames)

    def judged(self, until_s: float) -> NDArray[np.float32]:
        """The last `JUDGED_S` before `until_s`, float32, as far as they are kept."""
        until = round(until_s * SAMPLE_RATE_HZ)
        first = max(until - int(JUDGED_S * SAMPLE_RATE_HZ), self._heard - self._ring.size, 0)
        places = np.arange(first, min(until, self._heard)) % self._ring.size
        return self._ring[places].astype(np.float32) / _SCALE

    def step(self, progress_s: float | None, hypotheses: Sequence[Hypothesis]) -> list[Turn]:
        """What a step of the recogniser brought, in session time."""
        return self.alignment.add_step(progress_s, self._ahead.take(progress_s, hypotheses))

    def stop_writing(self) -> list[Turn]:
        """The recogniser is through with this leg."""
        self._all_written = True
        words = self._ahead.take_all()
        turns = self.alignment.add_step(None, words) if words else []
        return turns + self.alignment.stop_writing()

    def interrupt(self) -> list[Turn]:
        """The turn ends here, with all that is known."""
        words = self._ahead.take_all()
        turns = self.alignment.add_step(None, words) if words else []
        return turns + self.alignment.interrupt()

    def stop_hearing(self) -> list[Turn]:
        """Words alone from here on."""
        self._unheard, self._unheard_samples = [], 0
        self.waiting_since = None
        self._ring = np.zeros(0, np.int16)
        return self.alignment.stop_hearing()

    def close(self) -> list[Turn]:
        """The end of the leg."""
        self.closed = True
        return self.alignment.close(self.length_s)
