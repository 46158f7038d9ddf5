"""What a file that is no checkpoint is instead, by its first bytes, and what to give for it."""

import json
import zipfile
from pathlib import Path

from engine.errors import CheckpointError, DamagedCheckpoint, UnsupportedCheckpoint

_HEAD = 1_024

_GIVE = "give the .nemo file or the checkpoint folder that it was made from"

_POINTER = b"version https://git-lfs.github.com/spec"

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", f"a GGUF file, as llama.cpp and parakeet.cpp run: {_GIVE}"),
    (b"lmgg", f"a GGML file, as whisper.cpp runs: {_GIVE}"),
    (b"ggml", f"a GGML file: {_GIVE}"),
    (b"\x80\x02", f"a pickle of PyTorch (.ckpt, .pt, .bin), which holds no configuration: {_GIVE}"),
    (b"\x80\x03", f"a pickle: {_GIVE}"),
    (b"\x80\x04", f"a pickle: {_GIVE}"),
    (b"\x80\x05", f"a pickle: {_GIVE}"),
    (b"\x89HDF", f"an HDF5 file: {_GIVE}"),
    (b"RIFF", "a sound, not a checkpoint: `trunkline transcribe` takes it as FILE"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it and give what is in it"),
    (b"Rar!", "a RAR archive: unpack it and give what is in it"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard: unpack it and give what is in it"),
)

_SUFFIXES = {
    ".onnx": f"an ONNX file: {_GIVE}",
    ".ort": f"an ONNX file: {_GIVE}",
    ".tflite": f"a TensorFlow Lite file: {_GIVE}",
    ".engine": f"a TensorRT engine: {_GIVE}",
    ".plan": f"a TensorRT engine: {_GIVE}",
    ".riva": f"a Riva model: {_GIVE}",
    ".rmir": f"a Riva model: {_GIVE}",
    ".mlmodel": f"a Core ML model: {_GIVE}",
}


def is_pointer(path: Path) -> bool:
    """True for the short text that Git LFS leaves in the place of a file."""
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def pointer(path: Path | str) -> DamagedCheckpoint:
    """The error for a Git LFS pointer."""
    return DamagedCheckpoint(
        f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned, or download it"
    )


def recognised(path: Path) -> CheckpointError | None:
    """The error that says what the file is; None where that is not known, or it may be a `.nemo` file.

    Raises `OSError`.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return DamagedCheckpoint(f"{path} is empty: copy or download it again")
    if head.startswith(_POINTER):
        return pointer(path)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return DamagedCheckpoint(
            f"{path} is a web page, not a checkpoint: download the file itself (on a hub, its address has `resolve`, "
            "not `blob`), logged in where the model asks for it"
        )
    found = next((words for beginning, words in _BEGINNINGS if head.startswith(beginning)), None)
    found = found or _by_structure(path, head) or _SUFFIXES.get(path.suffix.lower())
    return UnsupportedCheckpoint(f"{path} is {found}") if found is not None else None


def _by_structure(path: Path, head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000:
        return "safetensors, weights without their configuration: give the folder that also has config.json"
    if head[4:8] == b"TFL3":
        return _SUFFIXES[".tflite"]
    if head[:1] in (b"{", b"["):
        return _json(path)
    return None


def _zip(path: Path) -> str:
    """PyTorch's own format is a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a zip archive that is cut short or damaged: copy or download it again"
    if any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names):
        return f"a TorchScript program: {_GIVE}"
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return f"weights of PyTorch (.ckpt, .pt, .bin), without the configuration of the model: {_GIVE}"
    return "a zip archive: unpack it and give the .nemo file or the folder that is in it"


def _json(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return None
    return "a JSON file, not a checkpoint: give the folder that it is in"
