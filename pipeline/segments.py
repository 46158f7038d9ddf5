"""Cut one leg's growing row of words into segments: ids, revisions, partials and finals. No clock, no I/O.

A segment ends
(a) at terminal punctuation with `silence_s` of media time after it and no new word,
(b) at terminal punctuation when the next word comes, once the language of the sentence is settled (its tag follows
    the punctuation, so a sentence whose words are still `carried` waits for it, but not past the next sentence),
(c) before the word that would make it longer than `max_segment_s`, or after that time in a pause, never in a word,
(d) when the leg ends, a `finalize` that wants it is answered, or the speaker's turn ends (`end_turn`).
While a turn is open (`begin_turn`), a pause does not end a segment before it would have ended the turn: `silence_s` is
then longer. Where segments end follows from the words, their times and the turns alone, not from how hypotheses were
cut.

`speech_final` is Deepgram's: true where the speaker paused, the turn or the leg ended, false where speech ran on (b),
the segment was cut by its length (c), or the pause was one within a turn.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TypeVar

from engine.api import Hypothesis, LanguageSource, Word, replace_from
from pipeline.punctuation import bare_word, ends_sentence, is_opening, may_be_abbreviation

KEPT_SEGMENTS = 8  # closed segments that a late tag may still correct
_EPSILON_S = 1e-6  # word times are multiples of 80 ms in floating point

_Text = TypeVar("_Text", bound=str)


@dataclass(frozen=True, slots=True)
class Segment:
    """One revision of a segment. Words that were punctuation only are part of their neighbour.

    `start`, `end`: seconds of media time, from the first word's start to the last word's end. `stability`: share of
    the words whose text can no longer change, 1 in finals.
    """

    segment_id: str
    revision: int
    is_final: bool
    speech_final: bool
    words: tuple[Word, ...]
    start: float
    end: float
    stability: float

    @property
    def transcript(self) -> str:
        return "".join(" " + word.text if word.spaced else word.text for word in self.words).strip()

    @property
    def confidence(self) -> float:
        """Mean over the words; 0 without words."""
        return sum(word.confidence for word in self.words) / max(len(self.words), 1)

    @property
    def languages(self) -> tuple[str, ...]:
        """Distinct languages in the order of the words."""
        return tuple(dict.fromkeys(word.language for word in self.words if word.language is not None))

    @property
    def language(self) -> str | None:
        """Language of most of the words; the earlier one of two that are even."""
        return _most_common(word.language for word in self.words)

    @property
    def language_source(self) -> LanguageSource | None:
        """How most of the words in `language` came by it."""
        language = self.language
        return _most_common(word.language_source for word in self.words if word.language == language)


@dataclass(slots=True)
class _Closed:
    """A segment that had its final. Its words are those with index `first` up to `end`."""

    first: int
    end: int
    last: Segment


class Segmenter:
    """Segments of one leg. `prefix`: what their ids begin with. `first_number` continues the ids of an earlier leg of
    the same name in the same call.

    Memory is constant: the words of the open segment and of the last `KEPT_SEGMENTS` closed ones. `silence_s`: pause
    after terminal punctuation that ends a segment.
    """

    def __init__(
        self, prefix: str, *, silence_s: float = 0.4, max_segment_s: float = 15.0, first_number: int = 0
    ) -> None:
        self.next_number = first_number
        self.final_words = 0
        self.silence_s = silence_s
        self._prefix = prefix
        self._pause_s = self._silence_s = silence_s - _EPSILON_S
        self._in_turn = False
        self._turn_number = first_number  # of the turn's first segment
        self._late_until_s = -inf  # words that begin before belong to the turn that has ended
        self._max_segment_s = max_segment_s
        self._first_number = first_number
        self._words: list[Word] = []
        self._base = 0  # index of the first word kept
        self._first = 0  # index of the open segment's first word
        self._revision = 0
        self._shown: tuple[Word, ...] = ()
        self._closed: deque[_Closed] = deque()
        self._progress_s = 0.0
        self._deadline_s = inf  # progress at which time alone closes the open segment

    def update(self, hypotheses: Sequence[Hypothesis], progress_s: float, *, flush: bool = True) -> list[Segment]:
        """Take what one engine step brought for this leg; `progress_s`: media time consumed. `flush`: the answer to a
        `finalize` closes what is open. Returns what changed, in order."""
        self._progress_s = max(self._progress_s, progress_s)
        if not hypotheses and self._progress_s < self._deadline_s:
            return []
        segments: list[Segment] = []
        for hypothesis in hypotheses:
            touched = self._replace(hypothesis.first, hypothesis.words)
            touched = min(touched, self._give_back(hypothesis.is_final and flush))
            segments += self._corrections(touched)
            if hypothesis.is_final and flush:
                segments += self._collect(flush=True)
        return segments + self._collect(flush=False)

    def close(self, had_audio: bool = True) -> list[Segment]:
        """The leg has ended: close what is open. A leg with audio in which no word was recognised ends with one empty
        final, so that every leg ends with a final."""
        segments = self._corrections(self._give_back(True)) + self._collect(flush=True)
        if had_audio and self.next_number == self._first_number:
            segments.append(self._close([], self._base + len(self._words), speech_final=True))
        return segments

    def begin_turn(self, start_s: float, pause_s: float) -> None:
        """The speaker has begun at `start_s`. A pause shorter than `pause_s` ends no segment until `end_turn`."""
        self._in_turn = True
        self._pause_s = max(pause_s - _EPSILON_S, self._silence_s)
        self._turn_number = self.next_number
        self._late_until_s = min(self._late_until_s, start_s)
        self._deadline_s = -inf  # the next update finds it anew

    def complete(self) -> list[Segment]:
        """All words up to now are known, though the segment stays open: a partial of it in which all are stable."""
        words = tuple(word for word, _ in self._units(self._first, self._base + len(self._words)))
        if not words:
            return []
        segment = replace(self._segment(words, is_final=False, speech_final=False), stability=1.0)
        self._revision += 1
        self._shown = words
        return [segment]

    def end_turn(self, until_s: float, *, all_known: bool) -> list[Segment]:
        """The turn has ended: close what is open of it, all known words, or those that begin before `until_s`. Words
        that come later and begin before it still belong there. The last final of a turn is `speech_final`."""
        units = self._units(self._first, self._base + len(self._words))
        if not all_known:
            units = [unit for unit in units if unit[0].start < until_s]
        segments: list[Segment] = []
        while units:
            count, speech_final = self._cut([word for word, _ in units], True) or (len(units), True)
            is_last = count == len(units)
            words = [word for word, _ in units[:count]]
            segments.append(self._close(words, units[count - 1][1], speech_final or is_last))
            units = units[count:]
        closed = self._closed[-1] if self._closed and self.next_number > self._turn_number else None
        if not segments and closed is not None and not closed.last.speech_final:
            closed.last = replace(closed.last, revision=closed.last.revision + 1, speech_final=True)
            segments.append(closed.last)
        self._in_turn, self._pause_s, self._late_until_s = False, self._silence_s, until_s
        return segments + self._collect(flush=False)

    def _replace(self, first: int, words: tuple[Word, ...]) -> int:
        """Write `words` over everything from index `first` on; returns the first index written."""
        missing = first - self._base - len(self._words)
        if missing > 0:  # words that never came: later indices must still mean the same words
            self._base += missing
            self._first += missing
            for closed in self._closed:
                closed.first += missing
                closed.end += missing
        first = replace_from(self._words, first, words, self._base)
        total = self._base + len(self._words)
        self._first = min(self._first, total)
        for closed in self._closed:
            closed.end = min(closed.end, total)
            closed.first = min(closed.first, total)
        return first

    def _give_back(self, flush: bool) -> int:
        """What stands at the head of the open segment and belongs to the one before it: words of a turn that has ended,
        and closing punctuation, unless it is the last word and may yet grow into a real one. Returns the first index
        that moved."""
        end = self._base + len(self._words)
        moved = self._first
        while self._closed and self._first < end:
            if self._words[self._first - self._base].start >= self._late_until_s:
                is_last = self._first == end - 1 and not flush
                if is_last or not self._is_closing(self._first):
                    break
            self._first += 1
            self._closed[-1].end = self._first
        return moved if self._first > moved else end

    def _give_back_within(self, touched: int) -> int:
        """Punctuation at the borders of closed segments goes to the word that it belongs to, where words from index
        `touched` on were written over. Returns the first index that moved, or `touched`."""
        for k in range(len(self._closed) - 1, -1, -1):
            closed, after = self._closed[k], self._closed[k + 1] if k + 1 < len(self._closed) else None
            if closed.end < touched:
                break
            while closed.first < closed.end and is_opening(self._words[closed.end - 1 - self._base].text):
                closed.end -= 1
                touched = min(touched, closed.end)
                if after is None:
                    self._first = closed.end
                else:
                    after.first = closed.end
            while after is not None and after.first < after.end and self._is_closing(after.first):
                after.first += 1
                closed.end = after.first
                touched = min(touched, closed.end - 1)
        return touched

    def _is_closing(self, index: int) -> bool:
        """It is punctuation that belongs to the word before it."""
        text = self._words[index - self._base].text
        return not (bare_word(text) or is_opening(text))

    def _corrections(self, touched: int) -> list[Segment]:
        """New finals of closed segments whose words were written over, where that changed anything."""
        segments = []
        touched = min(touched, self._give_back_within(touched))
        for closed in self._closed:
            if closed.end < touched:
                continue
            words = tuple(word for word, _ in self._units(closed.first, closed.end))
            if words != closed.last.words:
                self.final_words += len(words) - len(closed.last.words)
                start, end = (words[0].start, words[-1].end) if words else (closed.last.start, closed.last.start)
                closed.last = replace(closed.last, revision=closed.last.revision + 1, words=words, start=start, end=end)
                segments.append(closed.last)
        return segments

    def _collect(self, *, flush: bool) -> list[Segment]:
        """Close all that can be closed, then show what is left as a partial."""
        segments = []
        units = self._units(self._first, self._base + len(self._words))
        while units:
            cut = self._cut([word for word, _ in units], flush)
            if cut is None:
                break
            count, speech_final = cut
            segments.append(self._close([word for word, _ in units[:count]], units[count - 1][1], speech_final))
            units = units[count:]
        words = tuple(word for word, _ in units)
        if words != self._shown:
            segments.append(self._segment(words, is_final=False, speech_final=False))
            self._revision += 1
            self._shown = words
        if flush and self._revision and not words:  # a partial whose words were all taken back
            segments.append(self._close([], self._first, speech_final=True))
        self._deadline_s = self._time_limit(words)
        return segments

    def _cut(self, words: list[Word], flush: bool) -> tuple[int, bool] | None:
        """(words in the first segment, its `speech_final`), or None while it stays open."""
        start, last = words[0].start, len(words) - 1
        waiting: int | None = None  # a sentence ended here, but its tag has not come
        cut: tuple[int, bool] | None = None
        for k, word in enumerate(words):
            if k and word.end - start > self._max_segment_s + _EPSILON_S:
                cut = k, False
            elif not _ends(word):
                continue
            elif k == last:
                if self._progress_s - word.end >= self._pause_s:
                    cut = k + 1, True
            elif words[k + 1].start - word.end >= self._silence_s:
                cut = k + 1, not self._in_turn
            elif may_be_abbreviation(word.text):
                continue
            elif word.language_source in (None, LanguageSource.CARRIED):
                waiting = waiting or k + 1
            else:
                cut = k + 1, False
            if cut:
                break
        if cut is None and self._progress_s >= self._time_limit(tuple(words)):
            cut = len(words), False
        if cut is None and flush:
            cut = len(words), True
        return (waiting, False) if cut and waiting and waiting < cut[0] else cut

    def _time_limit(self, words: tuple[Word, ...]) -> float:
        """Progress at which a pause after the last of `words` closes them."""
        if not words:
            return inf
        silent = words[-1].end + self._pause_s
        return silent if _ends(words[-1]) else max(silent, words[0].start + self._max_segment_s - _EPSILON_S)

    def _close(self, words: list[Word], end: int, speech_final: bool) -> Segment:
        """The open segment, which holds `words` and reaches up to index `end`, becomes final."""
        segment = self._segment(tuple(words), is_final=True, speech_final=speech_final)
        self._closed.append(_Closed(self._first, end, segment))
        self.final_words += len(words)
        self._first = end
        self.next_number += 1
        self._revision = 0
        self._shown = ()
        if len(self._closed) > KEPT_SEGMENTS:
            self._closed.popleft()
            kept = self._closed[0].first
            del self._words[: kept - self._base]
            self._base = kept
        return segment

    def _segment(self, words: tuple[Word, ...], *, is_final: bool, speech_final: bool) -> Segment:
        past = self._shown or words
        start = words[0].start if words else past[0].start if past else 0.0
        return Segment(
            segment_id=f"{self._prefix}-{self.next_number:04d}",
            revision=self._revision,
            is_final=is_final,
            speech_final=speech_final,
            words=words,
            start=start,
            end=words[-1].end if words else start,
            stability=1.0 if is_final else (len(words) - 1) / len(words) if words else 0.0,
        )

    def _units(self, first: int, end: int) -> list[tuple[Word, int]]:
        """The words with index `first` up to `end`, punctuation joined to its neighbour; each with the index after
        it. Closing punctuation with no word before it is left out."""
        units: list[tuple[Word, int]] = []
        opening: Word | None = None
        for index in range(first, end):
            word = self._words[index - self._base]
            if bare_word(word.text):
                if opening is not None:
                    word = replace(word, text=opening.text + word.text, spaced=opening.spaced)
                    opening = None
                units.append((word, index + 1))
            elif is_opening(word.text):
                opening = word if opening is None else replace(opening, text=opening.text + word.text)
            elif units and opening is None:
                before = units[-1][0]
                repeated = _ends(before) and _ends(word)
                text = before.text if repeated else before.text + word.text
                units[-1] = replace(before, text=text), index + 1
        return units


def _most_common(values: Iterable[_Text | None]) -> _Text | None:
    """The most frequent value that is not None, the first of those that are even."""
    counts = Counter(value for value in values if value is not None)
    return counts.most_common(1)[0][0] if counts else None


def _ends(word: Word) -> bool:
    return ends_sentence(word.text, word.language)
