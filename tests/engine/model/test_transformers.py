"""The Hugging Face folder against transformers' own offline forward of the same folder."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from engine.checkpoint.find import load_checkpoint
from engine.errors import CheckpointError, DamagedCheckpoint, UnsupportedCheckpoint
from engine.executor import StepExecutor
from testing import audio
from testing.damage import copy_folder, edit_json
from testing.oracle import NemoReference, TransformersReference
from testing.shapes import BIASED, ENGLISH, PLAIN, Shape
from testing.streams import Stream, run
from tests.engine.conftest import MakeCheckpoint


@pytest.mark.parametrize("shape", [PLAIN, BIASED, ENGLISH], ids=lambda shape: shape.name)
def test_tokens_equal_transformers_offline(made: MakeCheckpoint, shape: Shape) -> None:
    folder = made(shape).hugging_face
    checkpoint, reference = load_checkpoint(folder), TransformersReference(folder)
    languages = ("auto", "de-DE", "es-US") if shape.prompts else ("auto",) * 3
    dictionary = checkpoint.config.prompt.dictionary if checkpoint.config.prompt else {"auto": 0}
    for chunk_ms in shape.chunks_ms:
        frames = chunk_ms // 80
        signals = [audio.babble(seconds, 200 + row) for row, seconds in enumerate((7.0, 1.3, 2.5))]
        streams = [
            Stream(signal, row, dictionary[languages[row]], chunks=-(-len(signal) // (1_280 * frames)) + 1)
            for row, signal in enumerate(signals)
        ]
        run(StepExecutor(checkpoint, {chunk_ms: 3}), chunk_ms, streams)
        for stream, language in zip(streams, languages, strict=True):
            wanted = reference.tokens(stream.audio, stream.chunks * frames, frames, language)
            assert [token.piece for token in stream.tokens] == wanted


def test_the_references_agree(made: MakeCheckpoint) -> None:
    """NeMo and transformers on the same weights: what the one says, the other does."""
    nemo, hf = NemoReference(made(PLAIN).model), TransformersReference(made(PLAIN).hugging_face)
    signal = audio.babble(3.0, 210)
    for chunk in (1, 7):
        tokens = nemo.tokens(signal, 42, chunk, "fr-FR")
        assert [token.piece for token in tokens] == hf.tokens(signal, 42, chunk, "fr-FR")


def test_both_formats_have_the_same_configuration_and_pieces(made: MakeCheckpoint) -> None:
    for shape in (PLAIN, BIASED, ENGLISH):
        nemo, folder = load_checkpoint(made(shape).nemo), load_checkpoint(made(shape).hugging_face)
        assert nemo.config == folder.config
        assert nemo.tokenizer.pieces == folder.tokenizer.pieces
        assert nemo.tokenizer.tags == ({"en-US", "es-US", "de-DE", "fr-FR"} if shape.prompts else frozenset())


def test_weights_in_several_files_are_read(made: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy_folder(made(PLAIN).hugging_face, tmp_path)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, content in shards.items():
        safetensors.torch.save_file({name: tensors[name] for name in content}, folder / shard)
    weight_map = {name: shard for shard, content in shards.items() for name in content}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    found, whole = load_checkpoint(folder), load_checkpoint(made(PLAIN).hugging_face)
    assert found.weights.keys() == whole.weights.keys()
    assert all(found.weights[name].equal(whole.weights[name]) for name in whole.weights)


def test_half_precision_weights_are_read(made: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy_folder(made(PLAIN).hugging_face, tmp_path)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    halves = {name: value.to(torch.bfloat16) for name, value in tensors.items()}
    safetensors.torch.save_file(halves, folder / "model.safetensors", {"format": "pt"})
    edit_json(folder / "config.json", {"dtype": "bfloat16"})
    checkpoint = load_checkpoint(folder)
    stream = Stream(audio.babble(2.0, 211), 0, 101, chunks=26)
    run(StepExecutor(checkpoint, {80: 1}), 80, [stream])
    reference = TransformersReference(folder)
    reference.model.float()
    assert [token.piece for token in stream.tokens] == reference.tokens(stream.audio, 26, 1, "auto")


def _heads(count: int) -> dict[str, object]:
    return {"num_attention_heads": count, "num_key_value_heads": count}


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("config.json", {"model_type": "parakeet_rnnt"}, "model_type"),
        ("config.json", {"hidden_act": "tanh"}, "hidden_act"),
        ("config.json", {"encoder_config": {"hidden_act": "gelu"}}, "encoder_config.hidden_act"),
        ("config.json", {"encoder_config": {"subsampling_factor": 4}}, "subsampling_factor"),
        ("config.json", {"encoder_config": {"subsampling_conv_kernel_size": 5}}, "subsampling_conv_kernel_size"),
        ("config.json", {"encoder_config": {"num_key_value_heads": 2}}, "num_key_value_heads"),
        ("config.json", {"encoder_config": {"convolution_bias": True}}, "convolution_bias"),
        ("config.json", {"encoder_config": _heads(0)}, "num_attention_heads"),
        ("config.json", {"encoder_config": _heads(5)}, "num_attention_heads"),
        ("processor_config.json", {"feature_extractor": {"sampling_rate": 8_000}}, "sampling_rate"),
        ("processor_config.json", {"feature_extractor": {"n_fft": 400}}, "n_fft"),
        ("processor_config.json", {"feature_extractor": {"mel_filters_dtype": "bfloat16"}}, "mel_filters_dtype"),
        ("processor_config.json", {"supported_num_lookahead_tokens": "all"}, "supported_num_lookahead_tokens"),
        ("processor_config.json", {"supported_num_lookahead_tokens": 13}, "supported_num_lookahead_tokens"),
        ("processor_config.json", {"supported_num_lookahead_tokens": []}, "supported_num_lookahead_tokens"),
    ],
)
def test_an_unsupported_value_is_named(
    made: MakeCheckpoint, tmp_path: Path, file: str, change: dict[str, object], named: str
) -> None:
    folder = copy_folder(made(PLAIN).hugging_face, tmp_path)
    edit_json(folder / file, change)
    with pytest.raises(UnsupportedCheckpoint, match=named):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "list"])
def test_a_missing_or_damaged_file_is_named(made: MakeCheckpoint, tmp_path: Path, name: str, damage: str) -> None:
    folder = copy_folder(made(PLAIN).hugging_face, tmp_path)
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "list": b"[1, 2]"}[damage])
    with pytest.raises(DamagedCheckpoint, match=name.replace(".", r"\.")):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"added_tokens": [{}]},
        {"added_tokens": 7},
        {"added_tokens": [{"id": "1", "content": "<en-US>"}]},
        {"model": {"vocab": {"a": "b"}}},
        {"model": {"vocab": ["a", "b"]}},
    ],
)
def test_a_strange_tokenizer_is_named(made: MakeCheckpoint, tmp_path: Path, change: dict[str, object]) -> None:
    folder = copy_folder(made(PLAIN).hugging_face, tmp_path)
    data = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(data | change))
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_checkpoint(folder)


def test_an_index_that_leaves_the_folder_is_refused(made: MakeCheckpoint, tmp_path: Path) -> None:
    folder = copy_folder(made(PLAIN).hugging_face, tmp_path)
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(DamagedCheckpoint, match="elsewhere"):
        load_checkpoint(folder)
