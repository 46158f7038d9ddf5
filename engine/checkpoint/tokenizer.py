"""Pieces of the vocabulary: text, word starts, bytes and language tags.

Only the table of pieces is kept. Joining them is all that decoding takes: U+2581 is a space, `<0xE3>` a byte.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import sentencepiece

from engine.checkpoint.language_tags import OPENING, UNKNOWN, LanguageTags
from engine.checkpoint.scripts import continues_word, starts_word
from engine.errors import DamagedCheckpoint

SPACE = "\u2581"
_TAG = re.compile(r"<([a-z]{2,3}-[A-Z]{2,4})>")
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class PieceKind(IntEnum):
    TEXT = 0
    BYTE = 1
    TAG = 2
    SILENT = 3
    """Control and unknown pieces: no text of their own."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`text`: what the piece adds to a word; `starts_word`: a word begins here, `spaced`: after a space; `continues`:
    it belongs to what stands before it and never begins a word by itself. `is_plain`: text that is no part of a tag and
    no part of a character. Of a tag, `text` is the locale."""

    kind: PieceKind
    text: str
    starts_word: bool = False
    spaced: bool = False
    byte: int = 0
    continues: bool = False
    is_plain: bool = False


class Tokenizer:
    """The vocabulary of one checkpoint. `pieces[i]` describes token i; the blank is not among them.

    `silent`: tokens that are control symbols. `prompts`: the checkpoint's prompt dictionary, whose names languages get;
    None: the released one.
    """

    def __init__(
        self, pieces: Sequence[str], silent: frozenset[int] = frozenset(), prompts: Mapping[str, int] | None = None
    ) -> None:
        self.language_tags = LanguageTags(prompts)
        self.pieces = tuple(_describe(piece, index in silent, self.language_tags) for index, piece in enumerate(pieces))

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


def text_piece(text: str, *, spaced: bool = False) -> Piece:
    """The description of text, by its first character."""
    return Piece(
        PieceKind.TEXT,
        text,
        starts_word=spaced or starts_word(text),
        spaced=spaced,
        continues=not spaced and continues_word(text),
        is_plain=OPENING not in text,
    )


def _describe(piece: str, silent: bool, tags: LanguageTags) -> Piece:
    """A control symbol that names a language is a tag: a folder's tokenizer marks its tags so."""
    tag = tags.read(piece) if silent or _TAG.fullmatch(piece) else None
    if tag is not None and tag.locale is not None:
        return Piece(PieceKind.TAG, tag.locale)
    if byte := _BYTE.fullmatch(piece):
        return Piece(PieceKind.BYTE, "", byte=int(byte.group(1), 16))
    if silent:
        return Piece(PieceKind.SILENT, UNKNOWN if piece == "<unk>" else "")
    spaced = piece.startswith(SPACE)
    return text_piece(piece.removeprefix(SPACE).replace(SPACE, " "), spaced=spaced)


def from_sentencepiece(model: bytes, where: str, prompts: Mapping[str, int] | None = None) -> Tokenizer:
    """Read a SentencePiece model file's bytes. Raises `DamagedCheckpoint`."""
    return from_sentencepieces([(model, where)], prompts)


def from_sentencepieces(models: Sequence[tuple[bytes, str]], prompts: Mapping[str, int] | None = None) -> Tokenizer:
    """Several models (bytes, where from) as one vocabulary, one behind the other: NeMo's aggregate tokenizer. Raises
    `DamagedCheckpoint`."""
    pieces, silent = list[str](), set[int]()
    for model, where in models:
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise DamagedCheckpoint(f"{where} is not a SentencePiece model: {error}") from error
        first, count = len(pieces), processor.get_piece_size()
        silent |= {first + i for i in range(count) if processor.is_control(i) or processor.is_unknown(i)}
        pieces += [processor.id_to_piece(i) for i in range(count)]
    return Tokenizer(pieces, frozenset(silent), prompts)
