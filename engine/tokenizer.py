"""Pieces of the vocabulary: text, word starts, bytes and language tags.

Only the table of pieces is kept. Joining them is all that decoding takes: U+2581 is a space, `<0xE3>` a byte.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import sentencepiece

from engine.errors import DamagedCheckpoint

SPACE = "\u2581"
_TAG = re.compile(r"<([a-z]{2,3}-[A-Z]{2,4})>")
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Burmese, Khmer, kana, Han: written without spaces between words."""


class PieceKind(IntEnum):
    TEXT = 0
    BYTE = 1
    TAG = 2
    SILENT = 3
    """Control and unknown pieces: no text of their own."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`text`: what the piece adds to a word; `starts_word`: a word begins here, `spaced`: after a space."""

    kind: PieceKind
    text: str
    starts_word: bool = False
    spaced: bool = False
    byte: int = 0


class Tokenizer:
    """The vocabulary of one checkpoint. `pieces[i]` describes token i; the blank is not among them."""

    def __init__(self, pieces: Sequence[str], silent: frozenset[int] = frozenset()) -> None:
        self.pieces = tuple(_describe(piece, index in silent) for index, piece in enumerate(pieces))

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def tags(self) -> frozenset[str]:
        """Languages that the vocabulary has a tag for."""
        return frozenset(piece.text for piece in self.pieces if piece.kind is PieceKind.TAG)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`, tags and control pieces left out; never two spaces in a row, none at the ends."""
        parts = bytearray()
        for token in tokens:
            piece = self.pieces[token]
            if piece.spaced:
                parts += b" "
            if piece.kind is PieceKind.TEXT:
                parts += piece.text.encode()
            elif piece.kind is PieceKind.BYTE:
                parts.append(piece.byte)
        return " ".join(parts.decode(errors="replace").split())


def _describe(piece: str, silent: bool) -> Piece:
    if tag := _TAG.fullmatch(piece):
        return Piece(PieceKind.TAG, tag.group(1))
    if byte := _BYTE.fullmatch(piece):
        return Piece(PieceKind.BYTE, "", byte=int(byte.group(1), 16))
    if silent:
        return Piece(PieceKind.SILENT, "")
    spaced = piece.startswith(SPACE)
    text = piece.removeprefix(SPACE).replace(SPACE, " ")
    starts_word = spaced or _UNSPACED.match(text) is not None
    return Piece(PieceKind.TEXT, text, starts_word, spaced)


def from_sentencepiece(model: bytes, where: str) -> Tokenizer:
    """Read a SentencePiece model file's bytes. Raises `DamagedCheckpoint`."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise DamagedCheckpoint(f"{where} is not a SentencePiece model: {error}") from error
    count = processor.get_piece_size()
    silent = frozenset(i for i in range(count) if processor.is_control(i) or processor.is_unknown(i))
    return Tokenizer([processor.id_to_piece(i) for i in range(count)], silent)
