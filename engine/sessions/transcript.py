"""The words of one stream, from tokens. Pure.

The model writes pieces of text and language tags. A tag stands at the end of a sentence and names its language, so it
changes words that were reported already; a piece may make the last word longer; a language lock may put other words in
the place of the last ones (`rewrite`). All words are numbered, from 0 at the start of the session:

    0 ............ settled ......................... words
    counted only   the tail: can still change

The invariant. Who keeps a list of words and, for each (first, words) of `take`, puts `words` in the place of all from
index `first` on, has the words of this transcript. `_changed` is the first index at which that list is out of date;
every operation lowers it (`_mark`), `take` reports from there on and clears it. Words are settled by a `take`, after
it has reported them, and no report begins before the first one kept.

What can still change, and stays in the tail (`_settle`): the words after the last tag; the last word, to which a mark
may come; the words that a lock may rewrite (`unsettled_after`). Where no tag comes the tail is limited
(`_LONGEST_TAIL`), and its older half is settled as it stands.

Example, with a `take` after each token (a space before a piece is written as _):

    token     take                                        settled
    _de       (0, [de])                                   0
    en        (0, [deen])         one word, grown         0
    _is       (1, [is])                                   0
    <es-US>   (0, [deen, is])     both are es-US now      1     "is" is the last word
    _le       (2, [le])           es-US, carried over     2

Words ahead of time. A final comes from a clone of the stream, flushed with silence while the stream itself stands
still. Its words were reported, and then the stream goes on from before them. It gets the audio that really followed,
and mostly writes the same tokens at the same frames: `expect` takes those of the clone, and while exactly these come
nothing is marked. At the first other one all words since the clone are marked, and so they are at the end where some
never came:

    reported  [deen, is, le]      the clone then writes  er _el   its final: (2, [leer, el])
    er        nothing             as expected
    _est      (2, [leer, est])    not as expected: what the final said is taken back
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.api import LanguageSource, Word
from engine.checkpoint.scripts import is_leaked_punctuation, joins_next
from engine.checkpoint.tokenizer import Piece, Tokenizer
from engine.chunking import FRAME_MS
from engine.sessions.detokenizer import Detokenizer, Fragment, TagWritten
from engine.sessions.language_lock import Rewrite

_LONGEST_TAIL = 256
"""Words kept open when no tag comes; the oldest half is settled beyond it."""

_LONGEST_WORD = 64
"""Pieces of a word that no space ends; the next one begins a word without a space before it. A combining mark is cut
off its letter only at twice as many."""


@dataclass(slots=True)
class _OpenWord:
    tokens: tuple[Piece, ...]
    first_frame: int
    last_frame: int
    probability: float
    spaced: bool
    language: str | None
    source: LanguageSource | None


class Transcript:
    """Turns tokens into words; remembers which of them changed since the last `take`.

    A language tag names the language of the words since the tag before and never appears in text, nor does the
    beginning of one. Until it comes, words have the configured language, or the one carried over from the last tag.
    `unsettled_after`: words that begin after this frame may be rewritten and are kept for it.
    """

    def __init__(self, tokenizer: Tokenizer, configured: str | None) -> None:
        self.configured = configured
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)
        self._detected: str | None = None
        self._settled = 0
        self._tail: list[_OpenWord] = []
        self._space_due = True
        self._changed: int | None = None
        self.unsettled_after: int | None = None
        self._expected: list[tuple[int, int] | Rewrite] = []
        self._expected_from = 0

    def clone(self) -> "Transcript":
        """An independent transcript that goes on from here."""
        clone = Transcript(self._tokenizer, self.configured)
        clone._detected, clone._settled, clone._space_due = self._detected, self._settled, self._space_due
        clone._detokenizer = self._detokenizer.clone()
        clone._tail = [replace(word) for word in self._tail]
        clone._changed, clone.unsettled_after = self._changed, self.unsettled_after
        clone._expected, clone._expected_from = list(self._expected), self._expected_from
        return clone

    @property
    def words(self) -> int:
        """Number of words so far."""
        return self._settled + len(self._tail)

    def expect(self, steps: Sequence[tuple[int, int] | Rewrite]) -> None:
        """What `steps`, tokens at their frames and rewrites from here on, will bring was reported already: by the final
        of a flushed clone.

        As long as exactly these follow, nothing is reported again; where others come, the words from here on are.
        """
        self._expected = list(reversed(steps))
        # A token may have made the last word longer, a tag may have given all words since the last tag their language:
        # they belong to what was reported ahead. A rewrite reaches further back.
        rewrites = any(isinstance(step, Rewrite) for step in steps)
        first = 0 if rewrites else min(self._first_untagged(), max(0, len(self._tail) - 1))
        self._expected_from = self._settled + first

    def add(self, token: int, frame: int, probability: float) -> None:
        """Append one token, emitted at encoder frame `frame` of the stream."""
        as_expected = self._is_expected((token, frame))
        changed = self._append(token, frame, probability)
        if not as_expected and changed is not None:
            self._mark(changed)

    def rewrite(self, rewrite: Rewrite) -> None:
        """Put other words in the place of those that began after `rewrite.after`."""
        as_expected = self._is_expected(rewrite)
        kept = sum(word.first_frame <= rewrite.after for word in self._tail)
        changed = kept
        for index, word in enumerate(self._tail[:kept]):
            if word.source is not LanguageSource.DETECTED:
                word.language, word.source = rewrite.language, LanguageSource.DETECTED
                changed = min(changed, index)
        del self._tail[kept:]
        self._detokenizer.discard()
        self._space_due = not self.words
        self._detected = rewrite.language
        for token in rewrite.tokens:
            self._append(token.token, token.frame, token.probability)
        if not as_expected:
            self._mark(self._settled + changed)

    def take(self, *, last: bool = False) -> tuple[int, tuple[Word, ...]] | None:
        """What changed since the last call: all words from an index on; None where nothing did.

        With `last`, no token will follow: what was expected and never came counts as a change, and what is held back
        because it may become a tag is given up.
        """
        if last and self._expected:
            self._expected.clear()
            self._mark(self._expected_from)
        if last and (changed := self._apply(self._detokenizer.finish())) is not None:
            self._mark(changed)
        if self._changed is None:
            return None
        first = max(self._changed, self._settled)
        words = tuple(self._word(word) for word in self._tail[first - self._settled :])
        self._changed = None
        self._settle()
        return first, words

    def _is_expected(self, step: tuple[int, int] | Rewrite) -> bool:
        """Whether the step is the one that was expected; where another was, the words since count as changed."""
        if not self._expected:
            return False
        if self._expected[-1] == step:
            self._expected.pop()
            return True
        self._mark(self._expected_from)
        self._expected.clear()
        return False

    def _mark(self, index: int) -> None:
        self._changed = index if self._changed is None else min(index, self._changed)

    def _append(self, token: int, frame: int, probability: float) -> int | None:
        """Apply one token; returns the index of the first word it changed."""
        detokenizer = self._detokenizer
        piece = detokenizer.pieces[token]
        if piece.is_plain and not detokenizer.is_holding:
            return self._write(piece, frame, frame, probability)
        return self._apply(detokenizer.add(token, frame, probability))

    def _apply(self, written: Sequence[Fragment | TagWritten]) -> int | None:
        """Apply what was finished; returns the index of the first word that changed."""
        first: int | None = None
        for item in written:
            if isinstance(item, Fragment):
                changed = self._write(item.piece, item.frame, item.last_frame, item.probability)
            else:
                self._space_due |= item.spaced
                changed = self._tag(item.locale) if item.locale is not None else None
            if changed is not None:
                first = changed if first is None else min(first, changed)
        return first

    def _write(self, piece: Piece, frame: int, last_frame: int, probability: float) -> int | None:
        """Add text to the last word, or begin one with it; returns the index of that word."""
        self._space_due |= piece.spaced
        if not piece.text:
            return None
        if self._begins_word(piece):
            if not self._space_due and not self._open_words() and is_leaked_punctuation(piece.text):
                return None  # it came with the sentence before the tag
            language, source = self._language()
            spaced, self._space_due = self._space_due, False
            self._tail.append(_OpenWord((piece,), frame, last_frame, probability, spaced, language, source))
        else:
            word = self._tail[-1]
            word.tokens += (piece,)
            word.last_frame = last_frame
            word.probability = min(word.probability, probability)
        return self.words - 1

    def _begins_word(self, piece: Piece) -> bool:
        """Whether no word goes on with the piece. A combining mark goes on even with one that its tag has ended."""
        if self._space_due or not self._tail:
            return True
        before = self._tail[-1]
        if len(before.tokens) >= _LONGEST_WORD * (1 + piece.continues):
            return True
        if piece.continues:
            return False
        if before.source is LanguageSource.DETECTED:
            return True
        return piece.starts_word and not joins_next(before.tokens[-1].text)

    def _open_words(self) -> list[_OpenWord]:
        """Words after the last tag, at the end of the tail."""
        return [word for word in self._tail[-1:] if word.source is not LanguageSource.DETECTED]

    def _first_untagged(self) -> int:
        """Where in the tail the words after the last tag begin."""
        first = len(self._tail)
        while first and self._tail[first - 1].source is not LanguageSource.DETECTED:
            first -= 1
        return first

    def _tag(self, language: str) -> int | None:
        self._detected = language
        first = self._first_untagged()
        for word in self._tail[first:]:
            word.language, word.source = language, LanguageSource.DETECTED
        return self._settled + first if first < len(self._tail) else None

    def _language(self) -> tuple[str | None, LanguageSource | None]:
        if self.configured is not None:
            return self.configured, LanguageSource.CONFIGURED
        if self._detected is not None:
            return self._detected, LanguageSource.CARRIED
        return None, None

    def _settle(self) -> None:
        """Stop keeping words that nothing can change any more; the last one may still get a mark."""
        settled = min(self._first_untagged(), max(0, len(self._tail) - 1))
        if self.unsettled_after is not None:
            settled = min(settled, sum(word.first_frame <= self.unsettled_after for word in self._tail))
        if len(self._tail) - settled > _LONGEST_TAIL:
            settled += _LONGEST_TAIL // 2
        del self._tail[:settled]
        self._settled += settled

    def _word(self, word: _OpenWord) -> Word:
        return Word(
            text=" ".join("".join(piece.text for piece in word.tokens).split()),
            start=word.first_frame * FRAME_MS / 1000,
            end=(word.last_frame + 1) * FRAME_MS / 1000,
            confidence=word.probability,
            language=word.language,
            language_source=word.source,
            spaced=word.spaced,
        )
