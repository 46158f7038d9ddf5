"""Pieces to text, against SentencePiece itself."""

import random
import re

import pytest
import sentencepiece

from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.tokenizer import PieceKind, Tokenizer, from_sentencepiece
from engine.errors import DamagedCheckpoint
from testing.shapes import BIASED, ENGLISH, PLAIN, TAGS, Shape
from tests.engine.conftest import MakeCheckpoint

TEXTS = (
    "Hello, ¿dónde está mi pedido 4711?",
    "Straße für schöne Grüße.",
    "s'il vous plaît",
    "日本語 €100 🎧 naïve",
    "number one-two-three",
)


def plain(text: str) -> str:
    """One space between words, one mark for a run of bytes that make no character."""
    return " ".join(re.sub("\ufffd+", "\ufffd", text).split())


@pytest.mark.parametrize("shape", [PLAIN, BIASED, ENGLISH], ids=lambda shape: shape.name)
def test_text_equals_sentencepieces(made: MakeCheckpoint, shape: Shape) -> None:
    tokenizer = load_checkpoint(made(shape).nemo).tokenizer
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(made(shape).folder / "tokenizer.model"))
    for text in TEXTS:
        tokens = [token for token in pieces.encode(text) if token != pieces.unk_id()]
        assert plain(tokenizer.decode(tokens)) == plain(pieces.decode(tokens))


def test_any_sequence_of_pieces_is_what_sentencepiece_makes_of_it(made: MakeCheckpoint) -> None:
    tokenizer = load_checkpoint(made(BIASED).nemo).tokenizer
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(made(BIASED).folder / "tokenizer.model"))
    texts = [i for i, piece in enumerate(tokenizer.pieces) if piece.kind in (PieceKind.TEXT, PieceKind.BYTE)]
    rng = random.Random(1)
    for _ in range(300):
        tokens = rng.choices(texts, k=rng.randint(1, 12))
        assert plain(tokenizer.decode(tokens)) == plain(pieces.decode(tokens))


def test_bytes_make_characters_and_broken_ones_a_replacement() -> None:
    tokenizer = Tokenizer(["<unk>", "▁a", "<0xE2>", "<0x82>", "<0xAC>"], frozenset({0}))
    assert tokenizer.decode([1, 2, 3, 4]) == "a€"
    assert tokenizer.decode([2, 3, 1]).startswith("\ufffd")
    assert tokenizer.decode([2, 3, 1]).endswith(" a")


def test_tags_and_unknown_pieces_have_no_text(made: MakeCheckpoint) -> None:
    tokenizer = load_checkpoint(made(PLAIN).nemo).tokenizer
    silent = [i for i, piece in enumerate(tokenizer.pieces) if piece.kind in (PieceKind.TAG, PieceKind.SILENT)]
    assert len(silent) == len(TAGS) + 1
    assert tokenizer.decode(silent) == ""


def test_what_merely_looks_like_a_tag_is_text() -> None:
    tokenizer = Tokenizer(["<en-US>", "<b>", "<EN-us>", "▁<", "<xx>"])
    assert tokenizer.tags == {"en-US"}
    assert [piece.kind for piece in tokenizer.pieces[1:]] == [PieceKind.TEXT] * 4


@pytest.mark.parametrize("content", [b"x", b"\x00" * 100])
def test_a_file_that_is_no_model_is_named(content: bytes) -> None:
    with pytest.raises(DamagedCheckpoint, match=r"some\.model"):
        from_sentencepiece(content, "some.model")
