"""Incremental detokenization of one stream: tokens in, finished pieces of text and language tags out.

What is not finished is held back: the bytes of a character whose others have not come, and text that may become a
language tag. A tag is read from the written text, so it does not matter in how many pieces, chunks or bytes it comes.
Held text is written out as it came as soon as it cannot become a tag any more. At most one tag's length is held.
"""

import re
from dataclasses import dataclass, replace

from engine.checkpoint.language_tags import OPENING, UNKNOWN
from engine.checkpoint.tokenizer import Piece, PieceKind, Tokenizer, text_piece

_AROUND_BRACKETS = re.compile(r"(?=<)|(?<=>)|(?= )")


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text of a token, or of a part of one, or of the several bytes of a character; frames of the stream."""

    piece: Piece
    frame: int
    last_frame: int
    probability: float


@dataclass(frozen=True, slots=True)
class TagWritten:
    """A language tag, or a symbol that is no text (`locale` is None). `spaced`: a space stood before it."""

    locale: str | None
    spaced: bool


class Detokenizer:
    """What one stream has written and not finished."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.pieces = tokenizer.pieces
        self._tokenizer = tokenizer
        self._held: tuple[Fragment, ...] = ()
        self._text = ""
        self._bytes: tuple[tuple[int, int, float], ...] = ()

    def clone(self) -> "Detokenizer":
        """An independent one that goes on from here."""
        clone = Detokenizer(self._tokenizer)
        clone._held, clone._text, clone._bytes = self._held, self._text, self._bytes
        return clone

    @property
    def is_holding(self) -> bool:
        """Something is held back. While nothing is, a piece that is plain stands for itself."""
        return bool(self._text or self._bytes)

    def add(self, token: int, frame: int, probability: float) -> list[Fragment | TagWritten]:
        """Take one token; returns what is finished by it, in order."""
        piece = self.pieces[token]
        out: list[Fragment | TagWritten] = []
        if piece.kind is PieceKind.BYTE:
            self._add_byte(piece.byte, frame, probability, out)
            return out
        if piece.kind is PieceKind.SILENT and not piece.text:
            return out
        self._flush_bytes(out)
        if piece.kind is PieceKind.TAG:
            self._release(out)
            out.append(TagWritten(piece.text, spaced=False))
        else:
            self._add_text(Fragment(piece, frame, frame, probability), out)
        return out

    def finish(self) -> list[Fragment | TagWritten]:
        """The end of the stream: an unfinished character becomes a replacement character, what may have become a tag is
        never written."""
        out: list[Fragment | TagWritten] = []
        self._flush_bytes(out)
        self.discard()
        return out

    def discard(self) -> None:
        """Forget what is held back."""
        self._held, self._text, self._bytes = (), "", ()

    def _add_text(self, fragment: Fragment, out: list[Fragment | TagWritten]) -> None:
        """Brackets and spaces begin and end parts, so that a tag is always made of whole ones."""
        piece = fragment.piece
        if piece.is_plain and not self._text:
            out.append(fragment)
            return
        parts = [part for part in _AROUND_BRACKETS.split(piece.text) if part]
        if len(parts) < 2:
            self._add_part(fragment, out)
            return
        for index, part in enumerate(parts):
            spaced = part.startswith(" ") or (piece.spaced and not index)
            self._add_part(replace(fragment, piece=text_piece(part.lstrip(" "), spaced=spaced)), out)

    def _add_part(self, fragment: Fragment, out: list[Fragment | TagWritten]) -> None:
        if self._text and fragment.piece.spaced:
            self._release(out)
        text = self._text + fragment.piece.text
        if self._text and self._hold(text, fragment, out):
            return
        self._release(out)
        text = fragment.piece.text
        if not text.startswith((OPENING, UNKNOWN)) or not self._hold(text, fragment, out):
            _write(fragment, out)

    def _hold(self, text: str, fragment: Fragment, out: list[Fragment | TagWritten]) -> bool:
        """Whether `text`, which ends with the fragment, is a tag or may become one."""
        tags = self._tokenizer.language_tags
        if (tag := tags.read(text)) is not None:
            first = self._held[0] if self._held else fragment
            self._held, self._text = (), ""
            out.append(TagWritten(tag.locale, first.piece.spaced))
            return True
        if not tags.may_become(text):
            return False
        self._held, self._text = (*self._held, fragment), text
        return True

    def _release(self, out: list[Fragment | TagWritten]) -> None:
        for fragment in self._held:
            _write(fragment, out)
        self._held, self._text = (), ""

    def _add_byte(self, byte: int, frame: int, probability: float, out: list[Fragment | TagWritten]) -> None:
        """UTF-8: a leading byte says how many follow it, and those are 0x80 to 0xBF (RFC 3629, section 3)."""
        if byte & 0xC0 != 0x80:
            self._flush_bytes(out)
        self._bytes = (*self._bytes, (byte, frame, probability))
        if len(self._bytes) >= _length(self._bytes[0][0]):
            self._flush_bytes(out)

    def _flush_bytes(self, out: list[Fragment | TagWritten]) -> None:
        """Write the bytes that are there as a character; what is none becomes a replacement character."""
        if not self._bytes:
            return
        text = bytes(byte for byte, _, _ in self._bytes).decode(errors="replace")
        frames = [frame for _, frame, _ in self._bytes]
        likely = min(probability for _, _, probability in self._bytes)
        self._bytes = ()
        self._add_text(Fragment(_character(text), frames[0], frames[-1], likely), out)


def _write(fragment: Fragment, out: list[Fragment | TagWritten]) -> None:
    if fragment.piece.kind is PieceKind.TEXT:
        out.append(fragment)


def _character(text: str) -> Piece:
    return text_piece("", spaced=True) if text.isspace() else text_piece(text)


def _length(leading: int) -> int:
    """Bytes of the character that begins so; 1 for a byte that begins none."""
    return 2 if 0xC2 <= leading <= 0xDF else 3 if 0xE0 <= leading <= 0xEF else 4 if 0xF0 <= leading <= 0xF4 else 1
