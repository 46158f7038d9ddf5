"""What is given for a checkpoint and is none: loaded where one can be meant, named in one line where not."""

import gzip
import io
import json
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import sentencepiece
import torch
import yaml
from huggingface_hub import constants

from engine.checkpoint.find import DEMO_MODEL, load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.errors import CheckpointError, CheckpointNotFound, DamagedCheckpoint, UnsupportedCheckpoint
from testing.damage import edited_nemo, members, write_nemo
from testing.folders import write_folder

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 2370000000\n"


@pytest.fixture(scope="module")
def demo() -> Checkpoint:
    return load_checkpoint()


@pytest.fixture
def folder(demo: Checkpoint, tmp_path: Path) -> Path:
    model = next(content for name, content in members(DEMO_MODEL).items() if name.endswith("tokenizer.model"))
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    return write_folder(demo, pieces, tmp_path / "checkpoint")


def refused(source: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(source)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return (
        one.config == other.config
        and one.tokenizer.pieces == other.tokenizer.pieces
        and one.weights.keys() - {"preprocessor.featurizer.window", "preprocessor.featurizer.fb"}
        == other.weights.keys() - {"preprocessor.featurizer.window", "preprocessor.featurizer.fb"}
    )


# Files ---------------------------------------------------------------------------------------------------------------


def torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(1)}, "pytorch-lightning_version": "2.4"}, buffer)
    return buffer.getvalue()


def old_torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def zip_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.nemo", b"x")
    return buffer.getvalue()


FILES: dict[str, tuple[str, bytes, str]] = {
    "gguf": ("model.gguf", b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
    "gguf named nemo": ("model.nemo", b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
    "ggml": ("ggml-base.bin", b"lmgg" + bytes(64), "GGML"),
    "trainer's checkpoint": ("last.ckpt", torch_file(), "PyTorch"),
    "old weights": ("model.pt", old_torch_file(), "PyTorch"),
    "safetensors alone": ("model.safetensors", safetensors.torch.save({"a": torch.zeros(3)}), "config.json"),
    "onnx": ("encoder.onnx", b"\x08\x08\x12\x07pytorch" + bytes(64), "ONNX"),
    "pointer": ("model.nemo", POINTER, "git lfs pull"),
    "page": ("model.nemo", b"<!DOCTYPE html><html><head><title>Sign in</title>", "web page"),
    "page after white space": ("model.nemo", b"\n\n <HTML lang=en>", "web page"),
    "error of a store": ("model.nemo", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
    "message of an api": ("model.nemo", b'{"error": "Repository not found"}', "JSON"),
    "sound": ("call.wav", b"RIFF\x24\0\0\0WAVEfmt ", "sound"),
    "zip": ("model.zip", zip_file(), "zip archive"),
    "zip cut short": ("model.nemo", zip_file()[:40], "zip archive"),
    "nothing": ("model.nemo", b"", "empty"),
    "tflite": ("model.tflite", b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow"),
    "zstandard": ("model.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(64), "Zstandard"),
}


@pytest.mark.parametrize(("name", "content", "named"), FILES.values(), ids=FILES)
def test_a_file_of_another_kind_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, named: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refused(path)
    assert named in message
    assert str(path) in message


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_compressed_archive_is_read(demo: Checkpoint, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "old.nemo"
    path.write_bytes(compress(DEMO_MODEL.read_bytes()))
    found = load_checkpoint(path)
    assert same(found, demo)
    assert all(found.weights[name].equal(demo.weights[name]) for name in demo.weights)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_compressed_archive_that_is_cut_short_is_damaged(tmp_path: Path, share: float) -> None:
    content = gzip.compress(DEMO_MODEL.read_bytes(), 1)
    path = tmp_path / "cut.nemo"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DamagedCheckpoint, match=r"cut\.nemo"):
        load_checkpoint(path)


def test_a_compressed_archive_that_is_damaged_is_named(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(DEMO_MODEL.read_bytes(), 1))
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    path = tmp_path / "spoilt.nemo"
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match=r"spoilt\.nemo"):
        load_checkpoint(path)


def test_an_archive_of_a_folder_is_read(demo: Checkpoint, tmp_path: Path) -> None:
    inside = {f"./exported/{name}": content for name, content in members(DEMO_MODEL).items()}
    assert same(load_checkpoint(write_nemo(tmp_path / "a.nemo", inside)), demo)


def test_a_checkpoint_folder_in_an_archive_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "packed.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "checkpoint")
    assert "unpack it" in refused(path)


def test_a_device_is_neither_file_nor_folder() -> None:
    assert "neither a file nor a folder" in refused("/dev/null")


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "it-ran",)

    for name in ("last.ckpt", "model.nemo"):
        torch.save({"state_dict": Payload()}, tmp_path / name)
        assert "PyTorch" in refused(tmp_path / name)
    assert not (tmp_path / "it-ran").exists()


# Models of other families --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"target": "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE"}, "a CTC model"),
        ({"target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel"}, "Canary"),
        ({"target": "nemo.collections.asr.models.rnnt_models.EncDecRNNTModel"}, "characters"),
        ({"target": "nemo.collections.tts.models.FastPitchModel"}, "FastPitchModel"),
        ({"joint": {"num_extra_outputs": 5}}, "TDT"),
        ({"encoder": {"att_context_style": "regular", "att_context_size": [-1, -1]}}, "streaming"),
        ({"preprocessor": {"normalize": "per_feature"}}, "streaming"),
    ],
)
def test_a_model_of_another_family_is_named_with_what_to_give(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    message = refused(edited_nemo(DEMO_MODEL, tmp_path / "a.nemo", change))
    assert named in message
    assert "nvidia/nemotron-3.5-asr-streaming-0.6b" in message


@pytest.mark.parametrize("model_type", ["whisper", "parakeet_ctc", "parakeet_tdt", "canary", "wav2vec2"])
def test_a_folder_of_another_family_is_named_with_what_to_give(folder: Path, model_type: str) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    message = refused(folder)
    assert model_type in message
    assert "nvidia/nemotron-3.5-asr-streaming-0.6b" in message


# Folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [(), ("README.md", ".gitattributes"), ("config.json", "README.md")])
def test_the_nemo_file_in_a_folder_is_loaded(demo: Checkpoint, tmp_path: Path, others: tuple[str, ...]) -> None:
    shutil.copy(DEMO_MODEL, tmp_path / "the.nemo")
    for name in others:
        (tmp_path / name).write_text("{}")
    assert same(load_checkpoint(tmp_path), demo)


def test_a_whole_folder_is_preferred_to_the_nemo_file_in_it(folder: Path) -> None:
    shutil.copy(DEMO_MODEL, folder / "the.nemo")
    assert load_checkpoint(folder).source == str(folder)


def test_of_several_nemo_files_none_is_guessed(tmp_path: Path) -> None:
    for name in ("one.nemo", "two.nemo"):
        shutil.copy(DEMO_MODEL, tmp_path / name)
    message = refused(tmp_path)
    assert "one.nemo, two.nemo" in message
    assert "give the path of one" in message


def test_an_unpacked_nemo_file_is_loaded(demo: Checkpoint, tmp_path: Path) -> None:
    for name, content in members(DEMO_MODEL).items():
        (tmp_path / name).write_bytes(content)
    assert same(load_checkpoint(tmp_path), demo)
    assert same(load_checkpoint(tmp_path / "model_config.yaml"), demo)


def test_an_unpacked_tokenizer_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    for name, content in members(DEMO_MODEL).items():
        where = tmp_path if name.endswith("tokenizer.model") else inside
        (where / name).write_bytes(content)
        if where is tmp_path:
            outside = name
    data = yaml.safe_load((inside / "model_config.yaml").read_text())
    data["tokenizer"]["model_path"] = f"nemo:../{outside}"
    (inside / "model_config.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(DamagedCheckpoint, match=r"tokenizer\.model"):
        load_checkpoint(inside)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_of_a_folder_stands_for_the_folder(demo: Checkpoint, folder: Path, name: str) -> None:
    assert same(load_checkpoint(folder / name), demo)


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="empty folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"encoder.onnx": b"\x08", "joiner.onnx": b"\x08", "tokens.txt": b"x"}, "ONNX"),
        ({"model-q8_0.gguf": b"GGUF" + bytes(9), "README.md": b"x"}, "GGUF"),
        ({"only.gguf": b"GGUF" + bytes(9)}, "GGUF"),
        ({"epoch=3.ckpt": b"x", "last.ckpt": b"x"}, "training checkpoints"),
        ({"notes.txt": b"x"}, "no checkpoint (but notes.txt)"),
    ],
)
def test_a_folder_of_another_kind_is_named(tmp_path: Path, files: dict[str, bytes], named: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert named in refused(tmp_path)


def test_weights_as_a_pickle_in_a_folder_are_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refused(folder)
    assert "model.safetensors" in message
    assert "pytorch_model.bin" in message


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_in_a_folder_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(POINTER)
    message = refused(folder)
    assert name in message
    assert "git lfs pull" in message


def test_a_pointer_in_an_unpacked_nemo_file_is_named(tmp_path: Path) -> None:
    for name, content in members(DEMO_MODEL).items():
        (tmp_path / name).write_bytes(POINTER if name == "model_weights.ckpt" else content)
    assert "git lfs pull" in refused(tmp_path)


def cached(cache: Path) -> Path:
    """The hub's cache with one model in it; returns the folder of its revision."""
    model = cache / "models--somebody--some-model"
    revision = "0123456789abcdef0123456789abcdef01234567"
    (model / "snapshots" / revision).mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(revision)
    return model / "snapshots" / revision


def test_a_model_of_the_hub_that_is_a_nemo_file_is_loaded(
    demo: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(DEMO_MODEL, cached(tmp_path) / "some-model.nemo")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert same(load_checkpoint("somebody/some-model"), demo)


def test_a_folder_of_the_hubs_cache_is_that_of_its_revision_in_use(demo: Checkpoint, tmp_path: Path) -> None:
    shutil.copy(DEMO_MODEL, cached(tmp_path) / "some-model.nemo")
    assert same(load_checkpoint(tmp_path / "models--somebody--some-model"), demo)


def test_unsupported_and_damaged_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.nemo").write_bytes(b"GGUF" + bytes(99))
    (tmp_path / "b.nemo").write_bytes(POINTER)
    with pytest.raises(UnsupportedCheckpoint):
        load_checkpoint(tmp_path / "a.nemo")
    with pytest.raises(DamagedCheckpoint):
        load_checkpoint(tmp_path / "b.nemo")
