"""Finals at the ends of a leg's turns: what the recogniser is asked for, and the order of segments and turns.

The idea: a pause may be the end of a turn (EagerEndOfTurn), or is (EndOfTurn), before the recogniser has written the
last word. So it is asked to `finalize`: a clone of the session is flushed, and all words are there at once. The answer
to an eager question is a partial in which all words are stable; the segment stays open. An EndOfTurn closes the
segment, and waits for an answer that covers the turn.

The invariants
    1. The last final of a turn comes right before its EndOfTurn, and no turn event overtakes another.
    2. An EndOfTurn waits no longer than until an answer covers the turn, the session itself has written
       `WRITTEN_S` beyond it, or the next event of the leg comes; for an answer `FINAL_TIMEOUT_S` at most (`give_up`).
    3. Answers come in the order of the questions, one to each (`engine.api`).

A recording that is pushed faster than real time is not asked about: what was pushed reaches far beyond the pause, and
the session comes past it by itself.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Protocol

from engine.api import Hypothesis
from pipeline.segments import Segment, Segmenter
from pipeline.timeline import Timeline
from pipeline.turns.machine import Turn
from sinks.record import TurnEvent

FINAL_TIMEOUT_S = 1.0
"""By the clock: an EndOfTurn waits so long for its last words, then it is told without, and counted."""

WRITTEN_S = 0.64
"""What was said up to a time is written at the latest when the session has come so far beyond it, as far as a clone is
flushed (`engine.chunking.FLUSH_FRAMES`)."""

LATE_S = 0.3
"""Words that begin so long after the end of a turn was decided, and come later, are words of that turn."""

CUT_OFF_S = 0.1
"""A turn that ended within so short a pause was cut off, as by a hold: the words after it are no late ones."""

LIVE_S = 1.0
"""Audio pushed beyond a pause, up to which a question about the pause makes sense."""

Told = Segment | Turn


class Question(Enum):
    """TURN: about a pause. HOLD: the answer closes what is open, and the turn."""

    TURN = auto()
    HOLD = auto()


class Media(Protocol):
    """Of the leg's audio (`pipeline.intake.Intake`). `media_s`: session time of what the recogniser was given."""

    @property
    def media_s(self) -> float: ...
    @property
    def timeline(self) -> Timeline: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    covers_s: float  # session time of the audio pushed when it was asked


class TurnFinals:
    """Of one leg. `finalize`: asks the recogniser; returns False where it takes no questions. `pause_s`: the longest
    pause within a segment while a turn is open. `interrupt`: ends the open turn where the leg stands still. Turns have
    session time, segments leg time.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        intake: Media,
        *,
        finalize: Callable[[], bool],
        pause_s: float,
        interrupt: Callable[[], Sequence[Turn]],
    ) -> None:
        self._segmenter = segmenter
        self._intake = intake
        self._finalize = finalize
        self._pause_s = pause_s
        self._interrupt = interrupt
        self._asked: deque[_Asked] = deque()
        self._covered_s = -inf  # by answers
        self._progress_s = 0.0
        self._eager: Turn | None = None  # told, and its words are not complete
        self._end: Turn | None = None  # not told yet

    @property
    def waits(self) -> bool:
        """An EndOfTurn waits for an answer. Where there was no question it waits for the session, however slow."""
        return self._end is not None and bool(self._asked)

    def hold(self) -> list[Told]:
        """Ask for finals of everything pushed so far; the open turn ends with them."""
        if self._ask(Question.HOLD):
            return []
        return self.tell(self._interrupt())

    def update(self, hypotheses: Sequence[Hypothesis], progress_s: float) -> list[Told]:
        """What a step of the recogniser brought, words in leg time, `progress_s` in session time."""
        self._progress_s = max(self._progress_s, progress_s)
        at_s = self._intake.timeline.leg_time(self._progress_s)
        if not self._asked or not any(one.is_final for one in hypotheses):
            told: list[Told] = list(self._segmenter.update(hypotheses, at_s))
        else:
            told = []
            for one in hypotheses:
                answered = self._asked.popleft() if one.is_final and self._asked else None
                flush = answered is None or answered.question is Question.HOLD
                told += self._segmenter.update([one], at_s, flush=flush)
                if answered is not None:
                    told += self._take_answer(answered)
        return told + self._settle() if self._eager is not None or self._end is not None else told

    def tell(self, turns: Sequence[Turn]) -> list[Told]:
        """Turns that were detected, in the place among the segments that is theirs."""
        told: list[Told] = []
        for turn in turns:
            told += self.give_up()
            match turn.event:
                case TurnEvent.START_OF_TURN:
                    self._segmenter.begin_turn(self._intake.timeline.leg_time(turn.at_s), self._pause_s)
                    told.append(turn)
                case TurnEvent.EAGER_END_OF_TURN:
                    self._eager = turn
                    told.append(turn)
                case TurnEvent.TURN_RESUMED:
                    self._eager = None
                    told.append(turn)
                case TurnEvent.END_OF_TURN:
                    self._eager, self._end = None, turn
                case TurnEvent.INTERRUPTION | TurnEvent.BACK_CHANNEL:
                    told.append(turn)
            told += self._settle()
            if self._eager is turn or self._end is turn:
                self._ask_about(turn)
        return told

    def close(self, *, had_audio: bool) -> list[Told]:
        """The session is gone: the leg's last finals, and the EndOfTurn that waits for them."""
        told: list[Told] = list(self._segmenter.close(had_audio))
        self._covered_s = inf
        self._finalize, self._interrupt = _nobody, tuple  # without the ways back to the leg, it is freed at once
        return told + self.give_up()

    def give_up(self) -> list[Told]:
        """The EndOfTurn that waits, with what is known."""
        return [] if self._end is None else self._close(self._end, all_known=False)

    def _ask_about(self, turn: Turn) -> None:
        """Ask for the last words of a pause, unless a question under way covers it, or it is long past."""
        is_asked = any(asked.covers_s >= turn.at_s for asked in self._asked)
        if not is_asked and self._intake.media_s - turn.decided_s <= LIVE_S:
            self._ask(Question.TURN)

    def _ask(self, question: Question) -> bool:
        covers_s = self._intake.media_s
        if not self._finalize():
            return False
        self._asked.append(_Asked(question, covers_s))
        return True

    def _take_answer(self, answered: _Asked) -> list[Told]:
        self._covered_s = max(self._covered_s, answered.covers_s)
        told = self._settle()
        return told + self.tell(self._interrupt()) if answered.question is Question.HOLD else told

    def _settle(self) -> list[Told]:
        """Tell what was waited for, if it has come."""
        if self._end is not None:
            if self._covered_s >= self._end.at_s:
                return self._close(self._end, all_known=self._covered_s <= self._end.decided_s + LATE_S)
            if self._is_written(self._end):
                return self._close(self._end, all_known=False)
        elif self._eager is not None and (self._covered_s >= self._eager.at_s or self._is_written(self._eager)):
            self._eager = None
            return list(self._segmenter.complete())
        return []

    def _is_written(self, turn: Turn) -> bool:
        return self._progress_s >= turn.decided_s + WRITTEN_S

    def _close(self, end: Turn, *, all_known: bool) -> list[Told]:
        self._end = None
        late_s = LATE_S if end.decided_s - end.at_s > CUT_OFF_S else 0.0
        until_s = self._intake.timeline.leg_time(end.decided_s) + late_s
        return [*self._segmenter.end_turn(until_s, all_known=all_known), end]


def _nobody() -> bool:
    """The session is gone."""
    return False
