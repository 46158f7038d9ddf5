"""The turns of one leg as a state machine on media time. No clock, no I/O, no model.

A turn is open from its first speech to its end; in between there is speech or a pause, and in a pause the fusion is
asked with every frame whether it is the end:

    IDLE --speech--> SPEECH --silence--> PAUSE --probable--> EAGER --sure, or silent for long--> IDLE
                        ^------speech------+-----speech--------+   (out of EAGER: TurnResumed)

So the events of a turn are StartOfTurn (EagerEndOfTurn TurnResumed)* [EagerEndOfTurn] EndOfTurn, and turns do not
overlap. Speech is what the voice activity detector says it is; without one (`speech` None), a word.

The words known at a time are those that were written until then: whoever feeds the machine sees to that (`alignment`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from engine.api import Word, replace_from
from pipeline.turns.config import TurnSettings
from pipeline.turns.fusion import Pause
from pipeline.turns.hearing import Frame
from pipeline.turns.overlap import Over, OverlapJudge, Stretches
from pipeline.turns.phrase import Phrase, phrase
from pipeline.turns.pitch import Contour, Melody
from sinks.record import TurnEvent

BEGIN, SPEECH, SILENCE = 0.4, 0.5, 0.45
"""Probability of speech in a frame from which on speech may begin a turn, from which on it goes on in one, and below
which it has ended."""

RESUME_S = 0.06
ASK_S = 0.19
"""Pause after which Smart Turn is asked, once a pause."""

DOUBT = (0.2, 0.8)
"""Smart Turn is asked only where the rest of what is known leaves the end this uncertain."""

UNHEARD_S = 0.5
"""Two words that begin so long after speech was last heard are speech that was not heard. One is not: a recogniser may
end a word, or guess one, that much late."""

EARLY_WORD_S = 0.3
"""A turn's first word may be given a time so long before the speech was heard."""

KEPT_WORDS = 24
_EPSILON_S = 1e-6


class _State(Enum):
    IDLE = auto()
    SPEECH = auto()
    PAUSE = auto()
    EAGER = auto()


@dataclass(frozen=True, slots=True)
class Turn:
    """An event. `at_s`: of StartOfTurn and TurnResumed where the speech began, of EagerEndOfTurn and EndOfTurn where it
    ended, of Interruption and BackChannel where the speech began. `decided_s`: the audio up to there led to it. Both
    media time. `over`: the leg whose speaker had the word, of Interruption and BackChannel."""

    event: TurnEvent
    turn_index: int
    confidence: float
    at_s: float
    decided_s: float
    over: str | None = None


class TurnMachine:
    """`estimate`: probability that the turn is at its end, of a pause. `words`: there is a recogniser. `asks`: Smart
    Turn can be asked; then `asked` is the media time up to which it is to judge, until `answer`. `over`: who had the
    word when this leg's speaker began.

    Memory is constant: the last `KEPT_WORDS` words.
    """

    def __init__(
        self,
        settings: TurnSettings,
        estimate: Callable[[Pause], float],
        *,
        words: bool = True,
        asks: bool = False,
        over: Over = lambda _: None,
    ) -> None:
        self.stretches = Stretches()
        self.turn_index = -1
        self.asked: float | None = None
        self._settings = settings
        self._estimate = estimate
        self._has_words = words
        self._asks = asks
        self._state = _State.IDLE
        self._now = 0.0
        self._run_s = 0.0
        self._run_start_s = 0.0
        self._began_s = 0.0
        self._ended_s = -inf
        self._peak = 0.0
        self._smart: float | None = None
        self._overlap = OverlapJudge(over)
        self._may_ask = asks
        self._words: list[Word] = []
        self._base = 0
        self._turn_first = 0  # index of the turn's first word
        self._melody = Melody()
        self._contour: Contour | None = None  # of the pause, where it was heard
        self._phrase: Phrase | None = None  # of the turn's words, until they change

    @property
    def is_idle(self) -> bool:
        """No turn is open."""
        return self._state is _State.IDLE

    @property
    def now_s(self) -> float:
        """Media time up to which it has come."""
        return self._now

    def stop_asking(self) -> None:
        """Smart Turn is gone."""
        self._asks = self._may_ask = False
        self.asked = None

    def write(self, first: int, words: Sequence[Word]) -> None:
        """`words` replace all from index `first` on."""
        missing = first - self._base - len(self._words)
        if missing > 0:
            self._base += missing
        replace_from(self._words, first, words, self._base)
        surplus = len(self._words) - KEPT_WORDS
        if surplus > 0:
            del self._words[:surplus]
            self._base += surplus
        self._turn_first = min(self._turn_first, self._base + len(self._words))
        self._phrase = None

    def answer(self, probability: float | None) -> None:
        """Smart Turn's; None: there is none, for this pause."""
        self._smart = probability
        self.asked = None

    def hear(self, now_s: float, frame: Frame | None) -> list[Turn]:
        """A frame that ends at `now_s`, with what was heard in it; None: go by the words."""
        frame_s, self._now = now_s - self._now, now_s
        if frame is None:
            starts = self._word_after(self._ended_s + _EPSILON_S)
            still = starts
        else:
            self._melody.add(frame.tone)
            starts, still = self._listen(frame_s, frame.speech)
        turns = self._judge_overlap() if self._overlap.is_open else []
        return turns + self._advance(starts, still, by_ear=frame is not None)

    def close(self, now_s: float) -> list[Turn]:
        """The leg ends at `now_s`, or stands still, and with it the turn."""
        self._now = now_s
        if self._state is _State.IDLE:
            return []
        if self._state is _State.SPEECH:
            self._ended_s = max(self._ended_s, min(now_s, self._last_word_end()))
        turns = self._end(1.0)
        self._ended_s = max(self._ended_s, self._last_word_end() if self._words else now_s)
        return turns

    def _listen(self, frame_s: float, speech: float) -> tuple[float | None, float | None]:
        """(where speech that counts began, where the speech of this frame ends), None where there is none."""
        if speech >= (BEGIN if self._state is _State.IDLE else SPEECH):
            if not self._run_s:
                self._run_start_s = self._now - frame_s
                self._peak = 0.0
            self._run_s += frame_s
            self._peak = max(self._peak, speech)
        elif speech < SILENCE:
            self._run_s = 0.0
        needed = self._settings.start_ms / 1000 if self._state is _State.IDLE else RESUME_S
        starts = self._run_start_s if self._run_s >= max(needed, _EPSILON_S) - _EPSILON_S else None
        if starts is None and self._state is _State.IDLE and len(self._words) > 1:
            unheard_s = self._words[-2].start
            starts = unheard_s if unheard_s > self._ended_s + UNHEARD_S else None
        return starts, self._now if speech >= SILENCE else None

    def _advance(self, starts: float | None, still: float | None, *, by_ear: bool) -> list[Turn]:
        state = self._state
        if state is _State.SPEECH:
            if still is not None:
                self._ended_s = self._speech_end(by_ear)
                return []
            self._state = _State.PAUSE
            self.stretches.end(self._ended_s)
            self._contour = self._melody.contour() if by_ear else None
            self._may_ask, self._smart, self.asked = self._asks, None, None
            return self._weigh()
        if starts is not None:
            return self._speak(starts, by_ear)
        return [] if state is _State.IDLE else self._weigh()

    def _speak(self, starts: float, by_ear: bool) -> list[Turn]:
        """Speech begins: a turn, or its next part."""
        state, self._state = self._state, _State.SPEECH
        if self.stretches.begin(starts) or state is _State.IDLE:
            self._overlap.begin(starts)
        self.asked = None
        confidence = self._peak if by_ear else self._last_confidence()
        turns: list[Turn] = []
        if state is _State.IDLE:
            self.turn_index += 1
            self._turn_first = self._first_after(starts - EARLY_WORD_S)
            self._phrase = None
            self._began_s = starts
            turns = [self._turn(TurnEvent.START_OF_TURN, confidence, starts)]
        elif state is _State.EAGER:
            turns = [self._turn(TurnEvent.TURN_RESUMED, confidence, starts)]
        self._ended_s = self._speech_end(by_ear)
        return turns

    def _weigh(self) -> list[Turn]:
        """Is this pause the end?"""
        settings = self._settings
        silence_s = self._now - self._ended_s
        is_last = silence_s >= settings.max_turn_silence_ms / 1000 - _EPSILON_S
        too_short = silence_s < settings.min_turn_silence_ms / 1000 - _EPSILON_S
        if not is_last and (too_short or self._run_s):  # in the latter case speech may have gone on
            return []
        if self._has_words and self._phrase is None:
            self._phrase = phrase(self._words[max(self._turn_first - self._base, 0) :])
        speech_s = max(self._ended_s - self._began_s, 0.0)
        probability = self._estimate(
            Pause(silence_s, speech_s, self._contour, self._phrase, self._since_last_word(), self._smart)
        )
        if is_last or probability >= settings.threshold:
            return self._end(probability)
        if self._may_ask and silence_s >= ASK_S:
            self._may_ask = False
            if DOUBT[0] < probability < DOUBT[1]:
                self.asked = self._now
        if self._state is _State.PAUSE and probability >= settings.eager_threshold:
            self._state = _State.EAGER
            return [self._turn(TurnEvent.EAGER_END_OF_TURN, probability, self._ended_s)]
        if self._state is _State.EAGER and probability < settings.eager_threshold / 2:
            self._state = _State.PAUSE
            return [self._turn(TurnEvent.TURN_RESUMED, 1 - probability, self._ended_s)]
        return []

    def _judge_overlap(self, *, ended: bool = False) -> list[Turn]:
        """Is the speech that began, or has just ended, one over somebody else's, and which kind?"""
        overlap = self._overlap
        first = self._first_after(overlap.start_s - EARLY_WORD_S) - self._base
        silence_s = inf if ended else None if self._state is _State.SPEECH else self._now - self._ended_s
        speech_s = max(self._now if silence_s is None else self._ended_s, overlap.start_s) - overlap.start_s
        found = overlap.judge(self._words[max(first, self._turn_first - self._base) :], speech_s, silence_s)
        if found is None:
            return []
        event, confidence = found
        return [Turn(event, self.turn_index, confidence, max(overlap.start_s, 0.0), self._now, overlap.over)]

    def _end(self, confidence: float) -> list[Turn]:
        self._state = _State.IDLE
        last = self._judge_overlap(ended=True) if self._overlap.is_open else []
        self._overlap.is_open = False
        self.stretches.end(self._ended_s)
        self._run_s, self.asked = 0.0, None
        return [*last, self._turn(TurnEvent.END_OF_TURN, confidence, self._ended_s)]

    def _turn(self, event: TurnEvent, confidence: float, at_s: float) -> Turn:
        return Turn(event, self.turn_index, confidence, max(at_s, 0.0), self._now)

    def _speech_end(self, by_ear: bool) -> float:
        return self._now if by_ear and self._run_s else max(self._ended_s, self._last_word_end())

    def _word_after(self, end_s: float) -> float | None:
        """Where the last word begins, if it ends later than `end_s`."""
        last = self._words[-1] if self._words else None
        return last.start if last is not None and last.end > end_s else None

    def _last_word_end(self) -> float:
        return self._words[-1].end if self._words else self._now

    def _since_last_word(self) -> float:
        return self._now - self._last_word_end()

    def _last_confidence(self) -> float:
        return self._words[-1].confidence if self._words else 0.0

    def _first_after(self, start_s: float) -> int:
        """Index of the first word that begins no earlier; one after the last where there is none."""
        for index, word in enumerate(self._words):
            if word.start >= start_s:
                return self._base + index
        return self._base + len(self._words)
