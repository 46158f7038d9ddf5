"""The words of one session as they were published, whichever engine wrote them.

The idea
--------
Users of a session see one growing row of words, numbered from 0, and one media time that only goes forward. An engine
numbers its words from 0 and counts time from its own start. The two are the same until an engine is lost. Its
successor begins at `start_s` of the session (`splice.find_start`), some words before the splice, so what it says is
translated and the part before the splice left out:

    session index = splice.index + engine index - join          session time = engine time + start_s

where `join` counts the successor's words before the splice (`splice.find_join`).

A successor is in one of two states:

| state | its words (`update`) | its progress (`advance`) | leaves it |
|---|---|---|---|
| catching up (`_CatchUp`) | are collected | is not reported | `catch_up` joined the words |
| live | are translated and published | is reported | `rewind`: the engine was lost |

It has caught up when it has consumed the audio that the lost engine had (`until_s`) and written as many words after the
splice as were published; `_PATIENCE_S` later fewer are enough, and those that are missing count as taken back. The
first final that was not reported before ends the wait at once; as long as one that was is to come, it goes on
(`session`). Then only what differs is published, from the first word that differs on. A successor that writes what was
written before is not noticed.

Invariants: `consumed_s` never goes back; no word before the splice is published again; an update leaves no gap, its
first index is at most the number of words published.

Example
-------
Published are [Yes., I, need, help.], all `DETECTED`, the last word up to 9.1 s, of 9.3 s consumed. The engine is lost:
the splice is word 4, at 9.2 s. The successor begins in the pause before "I": its time 0 is at 5.12 s, on the grid of
chunks, with silence up to 5.2 s.

    successor                          its words              published
    update(0, [I, need])               [I, need]              -
    update(2, [help., Now])            [I, need, help., Now]  -
    catch_up: 9.3 s are consumed       join is 3              (4, [Now]), its times 5.12 s later than the engine's
    update(2, [yelp., Now])            [I, need, yelp., Now]  (4, [Now]): the part before the join is left out
    update(4, [what?])                 [.., Now, what?]       (5, [what?])

How an update replaces words: `engine.api.replace_from`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.api import LanguageSource, Word, replace_from
from engine.remote.takeover.splice import Splice, find_join, find_splice, find_start

_KEPT_WORDS = 256
"""Words that are kept although they are older than the audio."""

_PATIENCE_S = 0.96
"""How much more a successor may consume before a word it has not written yet counts as taken back."""

_FRAME_S = 0.08

_Update = tuple[int, tuple[Word, ...]]


@dataclass(slots=True)
class _CatchUp:
    """A successor that has not caught up. `words`: all it wrote; `until_s`: media time that the lost engine had
    consumed."""

    words: list[Word]
    until_s: float


class PublishedTranscript:
    """All times are seconds of the session. `consumed_s`: media time that users know to be consumed."""

    def __init__(self) -> None:
        self.consumed_s = 0.0
        self._words: list[Word] = []
        self._base = 0  # index of the first word kept
        self._carried: str | None = None  # language of the last tag before the words kept
        self._offset_s = 0.0
        self._splice = Splice(0, 0.0)
        self._join = 0  # words of the present engine before the splice
        self._carry: str | None = None  # what its words have until it writes a tag
        self._catch_up: _CatchUp | None = None
        self._ahead = 0, 0.0

    @property
    def catching_up(self) -> bool:
        """A successor has not caught up yet."""
        return self._catch_up is not None

    def find_splice(self, oldest_s: float) -> tuple[Splice, float]:
        """From where on a successor's words should count, and from where on it should be given audio, if audio is left
        from `oldest_s` on."""
        first, until_s = self._ahead
        sure = min(first - self._base, len(self._words)) if self.consumed_s < until_s else len(self._words)
        splice = find_splice(self._words, self._base, max(sure, 0), self.consumed_s, oldest_s)
        return splice, find_start(self._words, self._base, self.consumed_s, oldest_s, splice)

    def rewind(self, splice: Splice, start_s: float) -> None:
        """A successor's time 0 is `start_s`; its words count from the splice on."""
        self._splice, self._offset_s = splice, start_s
        self._carry = self._carried_at(splice.index)
        # A final has words from beyond what was consumed, and so does an end.
        written_s = self._words[-1].end - _FRAME_S if self._words else 0.0
        self._catch_up = _CatchUp([], max(self.consumed_s, written_s))

    def update(self, first: int, words: Sequence[Word]) -> _Update | None:
        """The present engine's words from its index `first` on; returns what is to be published, in the session's
        indices."""
        placed = tuple(self._place(word) for word in words)
        if self._catch_up is not None:
            replace_from(self._catch_up.words, first, placed)
            return None
        if first < self._join:
            first, placed = self._join, placed[self._join - first :]
        index = self._splice.index + first - self._join
        replace_from(self._words, index, placed, self._base)
        return index, placed

    def mark_ahead(self, first: int, until_s: float) -> None:
        """The words from index `first` on were a final's: what follows the audio it was asked for is not in them, and
        before `until_s` is consumed they may be taken back."""
        self._ahead = first, until_s

    def advance(self, consumed_s: float) -> bool:
        """The present engine has consumed so much. Returns whether that is more than was known; never while catching
        up, as what it wrote is not published yet."""
        consumed_s = round(consumed_s + self._offset_s, 6)
        if self._catch_up is not None or consumed_s <= self.consumed_s:
            return False
        self.consumed_s = consumed_s
        return True

    def catch_up(self, consumed_s: float, *, at_once: bool = False) -> _Update | None:
        """Join what the successor wrote to what was published, if it has consumed enough, or `at_once`. Returns what is
        to be published."""
        catch_up = self._catch_up
        if catch_up is None:
            return None
        consumed_s += self._offset_s
        if consumed_s < catch_up.until_s and not at_once:
            return None
        at = self._splice.index - self._base
        join = find_join(self._words, at, catch_up.words, self._splice.at_s) if self._offset_s else self._splice.index
        published, written = self._words[at:], catch_up.words[join:]
        if len(written) < len(published) and consumed_s < catch_up.until_s + _PATIENCE_S and not at_once:
            return None
        self._join, self._catch_up = join, None
        same = 0
        while same < min(len(published), len(written)) and _equal(published[same], written[same]):
            same += 1
        if same == len(published) == len(written):
            return None
        index, different = self._splice.index + same, tuple(written[same:])
        replace_from(self._words, index, different, self._base)
        return index, different

    @property
    def end(self) -> int:
        """Index after the last word published."""
        return self._base + len(self._words)

    def drop_before(self, oldest_s: float) -> None:
        """Words before `oldest_s` are not needed any more."""
        if len(self._words) <= _KEPT_WORDS:
            return
        count = sum(word.end < oldest_s for word in self._words[:-1])
        self._carried = self._carried_at(self._base + count)
        self._base += count
        del self._words[:count]

    def _place(self, word: Word) -> Word:
        """The present engine's word in the session's time, with the language it has there."""
        if word.language_source is None and self._carry is not None:
            word = replace(word, language=self._carry, language_source=LanguageSource.CARRIED)
        if not self._offset_s:
            return word
        # Times are multiples of 80 ms: rounded, they are the very numbers of an undisturbed engine.
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
