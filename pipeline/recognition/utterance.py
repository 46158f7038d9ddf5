"""Cut one session's growing row of words into interim and final texts, where a final is never taken back.

The idea
    A voice bot answers to a final at once, so a final cannot be corrected. The recogniser may: a final asked for by
    `finalize` comes from a fork that was flushed with silence, and when the speaker goes on the session may write other
    words in place of the fork's last ones. So words are said up to an index, and what is written over them later is
    compared with what was said.

The invariant
    Every word of the session is in one final, in this writing or another of the same audio; none is in two. Of words
    written in the place of said ones those count as said that begin before the end of the last said one, or that are
    the word said in their place. The first that is neither, and all behind it, are new.

Pure: no clock, no I/O. Memory is bounded: the words not said yet, and the last `KEPT_WORDS` said ones.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from engine.api import Word, replace_from
from pipeline.punctuation import bare_word, ends_sentence, is_opening

KEPT_WORDS = 64
SAME_PLACE_S = 0.5
"""So far apart one word written twice may begin."""

PAUSE_S = 0.4
"""A sentence is final when its end is so long ago."""

LONGEST_S = 15.0
"""Words said without a pause become final in pieces no longer than this."""

_EPSILON_S = 1e-6


@dataclass(frozen=True, slots=True)
class Said:
    """`words`, times in seconds of the session. `is_final`: they stay; else the next of these replaces them.
    `finalized`: it answers a `finalize` or the end, so all that was pushed before is in; may then be empty. `paused`: a
    pause has followed."""

    words: tuple[Word, ...]
    is_final: bool
    finalized: bool = False
    paused: bool = False

    @property
    def text(self) -> str:
        return "".join(" " + word.text if word.spaced else word.text for word in self.words).strip()

    @property
    def language(self) -> str | None:
        """Of most of the words; None while none is known."""
        counts = Counter(word.language for word in self.words if word.language is not None)
        return counts.most_common(1)[0][0] if counts else None


class Utterances:
    """Of one session."""

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._base = 0  # index of the first word kept
        self._said = 0  # of the words as they are now, those before this index are in finals
        self._finals: list[Word] = []  # as they were said, from index `_base` on
        self._finals_end_s = 0.0
        self._shown: tuple[Word, ...] = ()
        self._progress_s = 0.0

    @property
    def quiet(self) -> bool:
        """The last word is `PAUSE_S` ago."""
        return not self._words or self._paused

    def update(self, first: int, words: Sequence[Word], *, final: bool) -> list[Said]:
        """`words` replace all from index `first` on. `final`: and all is in that was pushed before `finalize`."""
        missing = first - self._base - len(self._words)
        if missing > 0:  # words that never came: later indices must still mean the same words
            self._base += missing
            self._said += missing
        touched = min(replace_from(self._words, first, words, self._base), self._said)
        if touched < self._base + len(self._finals):
            at = touched - self._base
            self._said = touched + _said_again(self._finals[at:], self._finals_end_s, self._words[at:])
        self._skip_punctuation()
        return self._say(final)

    def advance(self, progress_s: float) -> list[Said]:
        """So much media was consumed: a sentence may have ended by its pause."""
        self._progress_s = max(self._progress_s, progress_s)
        return self._say(False)

    def end(self) -> Said:
        """No more comes."""
        return self._final(self._waiting, finalized=True)

    @property
    def _waiting(self) -> list[Word]:
        return self._words[self._said - self._base :]

    @property
    def _paused(self) -> bool:
        return self._progress_s - self._words[-1].end >= PAUSE_S - _EPSILON_S

    def _skip_punctuation(self) -> None:
        """A mark that comes after its word was said is no text of its own."""
        while self._said and self._waiting:
            text = self._waiting[0].text
            if bare_word(text) or is_opening(text):
                return
            self._said += 1

    def _say(self, final: bool) -> list[Said]:
        waiting = self._waiting
        if final:
            return [self._final(waiting, finalized=True)]
        said = []
        if waiting and self._paused and ends_sentence(waiting[-1].text, waiting[-1].language):
            said.append(self._final(waiting, paused=True))
        elif waiting and waiting[-1].end - waiting[0].start > LONGEST_S:
            count = next((k for k in range(len(waiting) - 1, 0, -1) if ends_sentence(waiting[k - 1].text)), 0)
            said.append(self._final(waiting[: count or len(waiting) - 1]))
        rest = tuple(self._waiting)
        if rest and rest != self._shown:
            said.append(Said(rest, is_final=False))
        self._shown = rest
        return said

    def _final(self, words: Sequence[Word], *, finalized: bool = False, paused: bool = False) -> Said:
        self._shown = ()
        if words:
            self._said += len(words)
            self._finals = self._words[: self._said - self._base]
            self._finals_end_s = max(self._finals_end_s, words[-1].end)
            surplus = len(self._finals) - KEPT_WORDS
            if surplus > 0:
                del self._words[:surplus], self._finals[:surplus]
                self._base += surplus
        return Said(tuple(words), is_final=True, finalized=finalized, paused=paused)


def _said_again(finals: Sequence[Word], finals_end_s: float, words: Sequence[Word]) -> int:
    """How many of `words` count as said, which stand in the place of the said `finals`."""
    for k, word in enumerate(words):
        same = k < len(finals) and bare_word(word.text) == bare_word(finals[k].text)
        if same and abs(word.start - finals[k].start) <= SAME_PLACE_S:
            continue
        if word.start >= finals_end_s - _EPSILON_S:
            return k
    return len(words)
