"""Speech that begins while somebody else speaks: an interruption, or a back-channel such as "mhm" that only listens.

A leg's speech is looked at in stretches, from a pause of `GAP_S` to the next. The first verdict comes as soon as the
words say it, or after `FIRST_S` of speech without words, which is an interruption: whoever is interrupted has to stop
soon. A verdict may be corrected: a back-channel after which the speaker goes on becomes an interruption, and an
interruption that turns out to have been "okay" and no more becomes a back-channel. All times are media time.
"""

import tomllib
from collections import deque
from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import chain

from engine.api import Word
from pipeline.punctuation import bare_word
from sinks.record import TurnEvent

_TABLES = tomllib.loads((files("pipeline.turns") / "words.toml").read_text("utf-8"))
_PHRASES = {
    language: frozenset(tuple(phrase.split()) for phrase in phrases.split(","))
    for language, phrases in _TABLES["back_channels"].items()
}
_STOPS = frozenset(" ".join(_TABLES["interruptions"].values()).split())
_OF_ALL = frozenset(chain.from_iterable(_PHRASES.values()))
_LONGEST_PHRASE = max(map(len, _OF_ALL))

FIRST_S = 0.4
"""Speech over somebody else's, without a word of it known yet, that is an interruption."""

GOES_ON_S = 1.5
"""Nobody listens for so long aloud: speech that goes on is an interruption whatever its words are."""

WORDLESS_S, SOUND_S = 0.4, 0.7
"""Silence after speech in which no word was recognised, after which none comes; where the speech was shorter than
`SOUND_S` it was a sound that listeners make."""

SURE, WORD_S = 0.5, 0.25
"""Confidence of a word, and length of speech, below which a word counts for none: a recogniser writes one for a hum."""

UNKNOWN_S = 0.5
"""One word of no list in shorter speech is more often a listener's that was not recognised than one that interrupts."""

MOST_WORDS = 4
LEAD_S, OVERLAP_S, GAP_S = 0.2, 0.2, 0.5
"""One speaks over another who has spoken for `LEAD_S` and goes on for `OVERLAP_S`; a shorter pause than `GAP_S` is no
end of speech."""

KEPT_STRETCHES = 16

Over = Callable[[float], str | None]
"""The leg whose speaker had the word when a stretch of this leg began, at this time; None: nobody did."""


class Stretches:
    """When a leg's speaker spoke: the last `KEPT_STRETCHES` stretches."""

    def __init__(self) -> None:
        self._runs: deque[tuple[float, float | None]] = deque(maxlen=KEPT_STRETCHES)

    def begin(self, start_s: float) -> bool:
        """Speech begins. Returns whether it is a new stretch; False: it goes on with the last."""
        if self._runs:
            first_s, end_s = self._runs[-1]
            if end_s is None or start_s - end_s < GAP_S:
                self._runs[-1] = first_s, None
                return False
        self._runs.append((start_s, None))
        return True

    def end(self, end_s: float) -> None:
        """The speech that goes on has ended; nothing where there is none."""
        if self._runs and self._runs[-1][1] is None:
            self._runs[-1] = self._runs[-1][0], end_s

    def has_the_word(self, at_s: float) -> bool:
        """The leg's speaker had begun before `at_s` and went on after it, as far as that is known."""
        return any(start <= at_s - LEAD_S and (end is None or end >= at_s + OVERLAP_S) for start, end in self._runs)


class OverlapJudge:
    """Of one leg. `over`: asked once a stretch, when the verdict is due."""

    def __init__(self, over: Over) -> None:
        self._over = over
        self._told: TurnEvent | None = None
        self.is_open = False
        self.start_s = 0.0
        self.over: str | None = None

    def begin(self, start_s: float) -> None:
        """A stretch begins."""
        self.is_open, self.start_s, self.over, self._told = True, start_s, None, None

    def judge(self, words: Sequence[Word], speech_s: float, silence_s: float | None) -> tuple[TurnEvent, float] | None:
        """An event and its confidence, where there is something new to tell. `words`: of the stretch. `speech_s`: its
        length. `silence_s`: since its end; None: it goes on."""
        found = verdict(words, speech_s, silence_s)
        if found is None or found[0] is self._told:
            return None
        if self._told is None:
            self.over = self._over(self.start_s)
            if self.over is None:
                self.is_open = False
                return None
        self._told = found[0]
        return found


def verdict(words: Sequence[Word], speech_s: float, silence_s: float | None) -> tuple[TurnEvent, float] | None:
    """What speech over somebody else's is, and how sure; None: that cannot be said yet."""
    spoken = [word for word in words if bare_word(word.text) and word.confidence >= SURE]
    if spoken and not is_back_channel(spoken) and not _is_stop(spoken):
        grows = silence_s is None and len(spoken) == 1
        is_sound = silence_s is not None and len(spoken) == 1 and speech_s < UNKNOWN_S
        if speech_s < WORD_S or grows or is_sound:
            spoken = []
    if not spoken:
        if silence_s is None:
            return (TurnEvent.INTERRUPTION, 0.6) if speech_s >= FIRST_S else None
        if silence_s < WORDLESS_S:
            return None
        return (TurnEvent.BACK_CHANNEL if speech_s < SOUND_S else TurnEvent.INTERRUPTION), 0.6
    if not is_back_channel(spoken):
        return TurnEvent.INTERRUPTION, 0.9
    if silence_s is None:
        return (TurnEvent.INTERRUPTION, 0.7) if speech_s >= GOES_ON_S else None
    return TurnEvent.BACK_CHANNEL, 0.9


def is_back_channel(words: Sequence[Word]) -> bool:
    """All of it, `MOST_WORDS` at most, are phrases that say no more than that one listens. The lists are those of the
    last word's language, or, of one without a list, of all."""
    if len(words) > MOST_WORDS:
        return False
    phrases = _PHRASES.get((words[-1].language or "")[:2], _OF_ALL)
    left = tuple(bare_word(word.text) for word in words)
    while left:
        size = next((size for size in range(_LONGEST_PHRASE, 0, -1) if left[:size] in phrases), 0)
        if not size:
            return False
        left = left[size:]
    return True


def _is_stop(words: Sequence[Word]) -> bool:
    """A short word that interrupts, as "no" and "stop" do."""
    return any(bare_word(word.text) in _STOPS for word in words)
