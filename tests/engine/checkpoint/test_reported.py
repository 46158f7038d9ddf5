"""Checkpoints as people really have them, from bug reports of NeMo, transformers and tools around them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from engine.checkpoint.find import DEMO_MODEL, load_checkpoint
from engine.checkpoint.tokenizer import PieceKind, Tokenizer, from_sentencepiece, from_sentencepieces
from engine.errors import CheckpointError, DamagedCheckpoint, UnsupportedCheckpoint
from testing.damage import edited_nemo, members, write_nemo
from testing.folders import write_folder

MODEL = next(content for name, content in members(DEMO_MODEL).items() if name.endswith("tokenizer.model"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    processor = sentencepiece.SentencePieceProcessor(model_proto=MODEL)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    return write_folder(load_checkpoint(), pieces, tmp_path / "checkpoint")


def refused(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    return caught.value


def aggregate(tmp_path: Path, sections: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """The demo model with a tokenizer of several languages in its configuration."""
    change = {"tokenizer": {"type": "agg", "model_path": None, "langs": sections}}
    path = edited_nemo(DEMO_MODEL, tmp_path / "edited.nemo", change)
    return write_nemo(tmp_path / "aggregate.nemo", {**members(path), **files})


def test_an_aggregate_tokenizer_is_read(tmp_path: Path) -> None:
    section = {"dir": None, "type": "bpe", "model_path": "nemo:en_tokenizer.model"}
    path = aggregate(tmp_path, {"en": section}, {"en_tokenizer.model": MODEL})
    assert load_checkpoint(path).tokenizer.pieces == load_checkpoint().tokenizer.pieces


def test_the_pieces_of_an_aggregate_tokenizer_follow_each_other_by_language() -> None:
    one = from_sentencepiece(MODEL, "one")
    both = from_sentencepieces([(MODEL, "en"), (MODEL, "ka")])
    assert isinstance(both, Tokenizer)
    assert both.pieces == one.pieces * 2
    assert any(piece.kind is PieceKind.SILENT for piece in both.pieces[len(one) :])


def test_a_part_of_an_aggregate_tokenizer_that_is_missing_is_named(tmp_path: Path) -> None:
    sections = {"en": {"model_path": "nemo:en_tokenizer.model"}, "ka": {"dir": "tok"}}
    error = refused(aggregate(tmp_path, sections, {"en_tokenizer.model": MODEL}))
    assert "tokenizer.langs.ka.model_path is missing" in str(error)


def test_an_aggregate_tokenizer_of_another_size_than_the_model_is_refused(tmp_path: Path) -> None:
    section = {"model_path": "nemo:en_tokenizer.model"}
    error = refused(aggregate(tmp_path, {"en": section, "ka": section}, {"en_tokenizer.model": MODEL}))
    assert "the tokenizer has 512 pieces, the model's configuration says 256" in str(error)


def test_a_distributed_checkpoint_says_how_to_save_it(tmp_path: Path) -> None:
    files = {name: content for name, content in members(DEMO_MODEL).items() if name != "model_weights.ckpt"}
    files |= {"./model_weights/metadata.json": b"{}", "./model_weights/__0_0.distcp": b"x"}
    error = refused(write_nemo(tmp_path / "distributed.nemo", files))
    assert isinstance(error, UnsupportedCheckpoint)
    assert "save it again as one file" in str(error)


@pytest.mark.parametrize("where", ["in the archive", "beside it"])
def test_what_macos_keeps_beside_its_files_is_passed_over(tmp_path: Path, where: str) -> None:
    files = members(DEMO_MODEL)
    beside = {f"._{name}": b"\0\5\x16\7" for name in files} if where == "in the archive" else {}
    folder = tmp_path / "model"
    folder.mkdir()
    write_nemo(folder / "model.nemo", {**beside, **files})
    (folder / "._model.nemo").write_bytes(b"\0\5\x16\7")
    assert load_checkpoint(folder).tokenizer.pieces == load_checkpoint().tokenizer.pieces


@pytest.mark.parametrize(
    ("share", "content", "words"),
    [
        (0.5, b"", "cut short or damaged, copy or download it again"),
        (1.0, b"x", "cut short or damaged, copy or download it again"),
        (0.0, bytes(1000), "cut short or damaged, copy or download it again"),
        (0.0, b"<html>Sign in</html>", "web page"),
        (0.0, b"", "is empty: copy or download it again"),
    ],
    ids=["half", "longer", "zeros", "page", "empty"],
)
def test_weights_that_did_not_arrive_whole_say_what_to_do(
    folder: Path, share: float, content: bytes, words: str
) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)] + content)
    error = refused(folder)
    assert isinstance(error, DamagedCheckpoint)
    assert words in str(error)
    assert "model.safetensors" in str(error)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_byte_order_mark_in_a_folders_json_is_no_fault(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_checkpoint(folder).tokenizer.pieces == load_checkpoint().tokenizer.pieces


def test_settings_of_decoding_of_another_release_are_ignored(tmp_path: Path) -> None:
    change = {"decoding": {"greedy": {"boosting_tree": {"key_phrases_list": None}}}, "extra": "${model.sample_rate}"}
    path = edited_nemo(DEMO_MODEL, tmp_path / "other.nemo", change)
    assert load_checkpoint(path).config == load_checkpoint().config
