"""Speech, words and answers of one leg in one order: that of media time, whatever order they came in.

What the voice activity detector hears and what the recogniser writes come from two threads, each in its own order and
at its own pace; a recording pushed faster than real time has them far apart. So that the same audio always gives the
same turns, words count from the earliest time at which they can be known live: a step that brings the recogniser to `p`
seconds counts for frames that end at `p` or later. A frame waits until no step can come any more that counts for it,
which is once the recogniser is less than one step behind it. Live, that is the time of a step.

Smart Turn's answer counts from `ANSWER_S` after the frame that asked for it: later frames wait for it, and live it has
come by then. Where a frame would wait too long (`MAX_WAITING` of them), it waits no longer.
"""

from collections import deque
from collections.abc import Sequence
from itertools import chain
from math import inf

from engine.api import Word
from pipeline.turns.hearing import Frame
from pipeline.turns.machine import Turn, TurnMachine

FRAME_S = 0.032
ANSWER_S = 0.096
MAX_WAITING = 1_000
"""Frames: 32 s of them, more than a leg's queue of audio and all that an engine lets lie."""

_EPSILON_S = 1e-6

Step = tuple[int, Sequence[Word]]
"""`words` of a hypothesis, replacing all from an index on."""


class Alignment:
    """Feeds a machine. `step_s`: the recogniser's chunk. `hears`: frames come; False: words alone, frame by step."""

    def __init__(self, machine: TurnMachine, step_s: float, *, hears: bool) -> None:
        self.machine = machine
        self.hears = hears
        self._step_s = step_s
        self._frames: deque[Frame] = deque()
        self._frame = 0  # of the first in `_frames`
        self._steps: deque[tuple[float, tuple[Step, ...]]] = deque()
        self._progress_s = 0.0
        self._heard_s = 0.0
        self._due_s: float | None = None  # the answer counts from here on
        self._answered = False
        self._probability: float | None = None

    @property
    def heard_s(self) -> float:
        """Media time that the machine has come to."""
        return self._heard_s

    @property
    def step_s(self) -> float:
        """Of the recogniser; infinite where nothing is written any more."""
        return self._step_s

    @property
    def progress_s(self) -> float:
        """Media time that the recogniser has come to."""
        return self._progress_s

    def add_frames(self, frames: Sequence[Frame]) -> list[Turn]:
        """What was heard, of the frames that follow."""
        if self.hears:
            self._frames.extend(frames)
        return self._run()

    def add_step(self, progress_s: float | None, words: Sequence[Step]) -> list[Turn]:
        """What a step of the recogniser wrote, in order, and how far it has come; None: no further than it was."""
        if progress_s is not None:
            self._progress_s = max(self._progress_s, progress_s)
        if words or not self.hears:
            self._steps.append((self._progress_s, tuple(words)))
        return self._run()

    @property
    def question(self) -> float | None:
        """Media time up to which Smart Turn is to judge; None while there is no question without an answer."""
        return None if self._due_s is None or self._answered else self.machine.asked

    @property
    def waits(self) -> bool:
        """There are frames that the machine has not come to."""
        return bool(self._frames)

    def answer(self, question_s: float, probability: float | None) -> list[Turn]:
        """Smart Turn's to `question_s`, None: it has none; ignored where that is not asked any more."""
        if self.question != question_s:
            return []
        self._probability, self._answered = probability, True
        return self._run()

    def stop_hearing(self) -> list[Turn]:
        """No frames come any more: go on with words alone."""
        if not self.hears:
            return []
        turns = self._run(hurry=True)
        self.hears = False
        self.machine.stop_asking()
        return turns + self._run()

    def stop_asking(self) -> list[Turn]:
        """No answers come any more."""
        self._due_s = None
        self.machine.stop_asking()
        return self._run()

    def stop_writing(self) -> list[Turn]:
        """No step comes any more."""
        self._step_s = inf
        return self._run()

    def interrupt(self, end_s: float = 0.0) -> list[Turn]:
        """End the turn where the machine has come to, or at `end_s`. What is waited for still is waited for no more."""
        turns = self._run(hurry=True)
        while self._steps:
            self._write(self._steps.popleft()[1])
        self._due_s = None
        return turns + self.machine.close(max(end_s, self._heard_s))

    def close(self, end_s: float) -> list[Turn]:
        """The leg has ended at `end_s`."""
        return self.interrupt(end_s)

    def _run(self, *, hurry: bool = False) -> list[Turn]:
        """As far as it goes now; `hurry`: nothing more is waited for."""
        if not self.hears:
            return list(chain.from_iterable(self._step(*self._steps.popleft()) for _ in range(len(self._steps))))
        turns: list[Turn] = []
        while self._frames:
            now_s = (self._frame + 1) * FRAME_S
            hurried = hurry or len(self._frames) > MAX_WAITING
            if not hurried and now_s >= self._progress_s + self._step_s - _EPSILON_S:
                break
            if self._due_s is not None and now_s >= self._due_s - _EPSILON_S:
                if not self._answered and not hurried:
                    break
                self.machine.answer(self._probability if self._answered else None)
                self._due_s = None
            while self._steps and self._steps[0][0] <= now_s + _EPSILON_S:
                self._write(self._steps.popleft()[1])
            turns += self.machine.hear(now_s, self._frames.popleft())
            self._frame += 1
            self._heard_s = now_s
            self._follow_question()
        return turns

    def _step(self, progress_s: float, words: Sequence[Step]) -> list[Turn]:
        self._write(words)
        self._heard_s = max(progress_s, self._heard_s)
        return self.machine.hear(self._heard_s, None)

    def _write(self, words: Sequence[Step]) -> None:
        for first, new in words:
            self.machine.write(first, new)

    def _follow_question(self) -> None:
        """A new question is due in a while; one that the machine has dropped, as speech went on, is no more."""
        asked = self.machine.asked
        if asked is None:
            self._due_s = None
        elif self._due_s is None:
            self._due_s, self._answered, self._probability = asked + ANSWER_S, False, None
