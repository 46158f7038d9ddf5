"""The words of one stream, from tokens.

Kept is only what can still change: the words since the last language tag. Earlier ones are counted, not stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.chunking import FRAME_MS
from engine.session import LanguageSource, Word
from engine.tokenizer import PieceKind, Tokenizer

_LONGEST_TAIL = 256
"""Words kept open when no tag comes; the oldest half is settled beyond it."""


@dataclass(slots=True)
class _OpenWord:
    tokens: tuple[int, ...]
    first_frame: int
    last_frame: int
    probability: float
    spaced: bool
    language: str | None
    source: LanguageSource | None


class Transcript:
    """Turns tokens into words; remembers what its reader has not been told yet.

    A language tag names the language of the words since the tag before and never appears in text. Until it comes,
    words have the configured language, or the one carried over from the last tag.
    """

    def __init__(self, tokenizer: Tokenizer, configured: str | None) -> None:
        self.configured = configured
        self._tokenizer = tokenizer
        self._detected: str | None = None
        self._settled = 0
        self._tail: list[_OpenWord] = []
        self._space_due = True
        self._changed: int | None = None
        self._foreseen: list[tuple[int, int]] = []
        self._foreseen_from = 0

    def fork(self) -> "Transcript":
        """An independent transcript that goes on from here, for the same reader."""
        twin = Transcript(self._tokenizer, self.configured)
        twin._detected, twin._settled, twin._space_due = self._detected, self._settled, self._space_due
        twin._tail = [replace(word) for word in self._tail]
        twin._changed = self._changed
        twin._foreseen, twin._foreseen_from = list(self._foreseen), self._foreseen_from
        return twin

    @property
    def words(self) -> int:
        """Number of words so far."""
        return self._settled + len(self._tail)

    def foresee(self, tokens: Sequence[tuple[int, int]]) -> None:
        """The reader was told already what `tokens`, written from here on at their frames, would say (by a flushed
        fork).

        As long as exactly these tokens follow, nothing is reported again; where others come, the words from here on
        are.
        """
        self._foreseen = list(reversed(tokens))
        # A token may have made the last word longer: it belongs to what was foretold.
        self._foreseen_from = max(self._settled, self.words - 1)

    def add(self, token: int, frame: int, probability: float) -> None:
        """Append one token, emitted at encoder frame `frame` of the stream."""
        as_foretold = bool(self._foreseen) and self._foreseen[-1] == (token, frame)
        if self._foreseen and not as_foretold:
            self._mark(self._foreseen_from)
            self._foreseen.clear()
        changed = self._append(token, frame, probability)
        if as_foretold:
            self._foreseen.pop()
        elif changed is not None:
            self._mark(changed)

    def take(self, *, last: bool = False) -> tuple[int, tuple[Word, ...]] | None:
        """What changed since the last call: all words from an index on; None where nothing did.

        With `last`, no token will follow: a foretold rest that never came counts as a change.
        """
        if last and self._foreseen:
            self._foreseen.clear()
            self._mark(self._foreseen_from)
        if self._changed is None:
            return None
        first = max(self._changed, self._settled)
        words = tuple(self._word(word) for word in self._tail[first - self._settled :])
        self._changed = None
        self._settle()
        return first, words

    def _mark(self, index: int) -> None:
        self._changed = index if self._changed is None else min(index, self._changed)

    def _append(self, token: int, frame: int, probability: float) -> int | None:
        """Apply one token; returns the index of the first word it changed."""
        piece = self._tokenizer.pieces[token]
        if piece.kind is PieceKind.SILENT:
            return None
        if piece.kind is PieceKind.TAG:
            return self._tag(piece.text)
        self._space_due |= piece.spaced
        if piece.kind is PieceKind.TEXT and not piece.text:
            return None
        starts = self._space_due or piece.starts_word or not self._open_words()
        if starts and not self._space_due and not any(map(str.isalnum, piece.text)) and piece.kind is PieceKind.TEXT:
            return None  # punctuation that leaked over the tag of the sentence before
        if starts:
            language, source = self._language()
            word = _OpenWord((token,), frame, frame, probability, self._space_due, language, source)
            self._tail.append(word)
            self._space_due = False
        else:
            word = self._tail[-1]
            word.tokens += (token,)
            word.last_frame = frame
            word.probability = min(word.probability, probability)
        return self.words - 1

    def _open_words(self) -> list[_OpenWord]:
        """Words after the last tag, at the end of the tail."""
        return [word for word in self._tail[-1:] if word.source is not LanguageSource.DETECTED]

    def _tag(self, language: str) -> int | None:
        self._detected = language
        first = len(self._tail)
        while first and self._tail[first - 1].source is not LanguageSource.DETECTED:
            first -= 1
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
        """Stop keeping words that nothing can change any more."""
        settled = len(self._tail)
        while settled and self._tail[settled - 1].source is not LanguageSource.DETECTED:
            settled -= 1
        if len(self._tail) - settled > _LONGEST_TAIL:
            settled += _LONGEST_TAIL // 2
        del self._tail[:settled]
        self._settled += settled

    def _word(self, word: _OpenWord) -> Word:
        return Word(
            text=self._tokenizer.decode(word.tokens),
            start=word.first_frame * FRAME_MS / 1000,
            end=(word.last_frame + 1) * FRAME_MS / 1000,
            confidence=word.probability,
            language=word.language,
            language_source=word.source,
            spaced=word.spaced,
        )
