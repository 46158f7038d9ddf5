"""The words of one session as they were told, whichever engine wrote them.

After an engine was lost, its successor hears the last seconds again. Until it has heard as much as the lost one,
nothing is told. Then its words are joined to those told before, and only what differs is told: as long as the successor
writes what was written before, nobody learns of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.api import LanguageSource, Word
from engine.remote.takeover.splice import Seam, find_join, find_seam, find_start

_KEPT_WORDS = 256
"""Words that are kept although they are older than the audio."""

_PATIENCE_S = 0.96
"""How much more a successor may hear before a word it has not written yet counts as taken back."""

_FRAME_S = 0.08

_News = tuple[int, tuple[Word, ...]]


@dataclass(slots=True)
class _Rehearsal:
    """A successor that has not caught up. `words`: all it wrote; `until_s`: how far the lost engine had come."""

    words: list[Word]
    until_s: float


class Account:
    """All times are seconds of the session; `heard_s` never goes back. `rehearsing`: a successor is catching up."""

    def __init__(self) -> None:
        self.heard_s = 0.0
        self._words: list[Word] = []
        self._base = 0  # index of the first word kept
        self._carried: str | None = None  # language of the last tag before the words kept
        self._offset_s = 0.0
        self._seam = Seam(0, 0.0)
        self._join = 0  # words of the present engine before the seam
        self._carry: str | None = None  # what its words have until it writes a tag
        self._rehearsal: _Rehearsal | None = None
        self._ahead = 0, 0.0

    @property
    def rehearsing(self) -> bool:
        return self._rehearsal is not None

    def find_seam(self, oldest_s: float) -> tuple[Seam, float]:
        """From where on a successor's words should count, and from where on it should hear, if audio is left from
        `oldest_s` on."""
        first, until_s = self._ahead
        sure = min(first - self._base, len(self._words)) if self.heard_s < until_s else len(self._words)
        seam = find_seam(self._words, self._base, max(sure, 0), self.heard_s, oldest_s)
        return seam, find_start(self._words, self._base, self.heard_s, oldest_s, seam)

    def rewind(self, seam: Seam, start_s: float) -> None:
        """A successor's time 0 is `start_s`; its words count from the seam on."""
        self._seam, self._offset_s = seam, start_s
        self._carry = self._carried_at(seam.index)
        # A final tells words from beyond what was heard, and so does an end.
        written_s = self._words[-1].end - _FRAME_S if self._words else 0.0
        self._rehearsal = _Rehearsal([], max(self.heard_s, written_s))

    def tell(self, first: int, words: Sequence[Word]) -> _News | None:
        """The present engine's words from its index `first` on; returns what is news, in the session's indices."""
        placed = tuple(self._place(word) for word in words)
        if self._rehearsal is not None:
            self._rehearsal.words[first:] = placed
            return None
        if first < self._join:
            first, placed = self._join, placed[self._join - first :]
        return self._write(self._seam.index + first - self._join, placed)

    def tell_ahead(self, first: int, until_s: float) -> None:
        """The words from index `first` on were a final's: what follows the audio it was asked for is not in them, and
        before `until_s` is heard they may be taken back."""
        self._ahead = first, until_s

    def hear(self, heard_s: float) -> bool:
        """The present engine has heard so much. Returns whether that is more than was known; never while catching up,
        as what it wrote is not told yet."""
        heard_s = round(heard_s + self._offset_s, 6)
        if self._rehearsal is not None or heard_s <= self.heard_s:
            return False
        self.heard_s = heard_s
        return True

    def catch_up(self, heard_s: float, *, at_once: bool = False) -> _News | None:
        """Join what the successor wrote to what was told, if it has heard enough, or `at_once`. Returns the news."""
        rehearsal = self._rehearsal
        if rehearsal is None:
            return None
        heard_s += self._offset_s
        if heard_s < rehearsal.until_s and not at_once:
            return None
        at = self._seam.index - self._base
        join = find_join(self._words, at, rehearsal.words, self._seam.at_s) if self._offset_s else self._seam.index
        told, written = self._words[at:], rehearsal.words[join:]
        if len(written) < len(told) and heard_s < rehearsal.until_s + _PATIENCE_S and not at_once:
            return None
        self._join, self._rehearsal = join, None
        same = 0
        while same < min(len(told), len(written)) and _equal(told[same], written[same]):
            same += 1
        if same == len(told) == len(written):
            return None
        return self._write(self._seam.index + same, tuple(written[same:]))

    @property
    def words(self) -> int:
        """Number of words told."""
        return self._base + len(self._words)

    def forget(self, oldest_s: float) -> None:
        """Words before `oldest_s` are not needed any more."""
        if len(self._words) <= _KEPT_WORDS:
            return
        count = sum(word.end < oldest_s for word in self._words[:-1])
        self._carried = self._carried_at(self._base + count)
        self._base += count
        del self._words[:count]

    def _write(self, first: int, words: tuple[Word, ...]) -> _News:
        if first < self._base:  # nobody asks for these again
            self._words[:] = words[self._base - first :]
        else:
            self._words[first - self._base :] = words
        return first, words

    def _place(self, word: Word) -> Word:
        """The present engine's word in the session's time, with the language it has there."""
        if word.language_source is None and self._carry is not None:
            word = replace(word, language=self._carry, language_source=LanguageSource.CARRIED)
        if not self._offset_s:
            return word
        # Times are multiples of 80 ms: rounded, they are the very numbers that an undisturbed engine tells.
        start, end = round(word.start + self._offset_s, 6), round(word.end + self._offset_s, 6)
        return replace(word, start=start, end=end)

    def _carried_at(self, index: int) -> str | None:
        if index <= self._base:
            return self._carried
        word = self._words[index - self._base - 1]
        carries = word.language_source in (LanguageSource.DETECTED, LanguageSource.CARRIED)
        return word.language if carries else None


def _equal(one: Word, other: Word) -> bool:
    """In all but the confidence, which rounding may change."""
    return one == replace(other, confidence=one.confidence)
