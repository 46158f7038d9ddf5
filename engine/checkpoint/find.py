"""Finding a checkpoint: the shipped demo model, a `.nemo` file, a Hugging Face folder or id.

A path into a checkpoint, or a folder around one, is as good as the checkpoint itself where only one can be meant.
"""

import re
from pathlib import Path

from engine.checkpoint.file_kinds import recognised
from engine.checkpoint.hf_folder import read_folder
from engine.checkpoint.nemo_file import CONFIG, read_nemo, read_unpacked
from engine.checkpoint.weights import Checkpoint
from engine.errors import CheckpointError, CheckpointNotFound, DamagedCheckpoint, UnsupportedCheckpoint

DEMO_MODEL = Path(__file__).parents[1] / "demo" / "pocket.nemo"

RELEASED_MODEL = "nvidia/nemotron-3.5-asr-streaming-0.6b"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WANTED = ["*.json", "*.safetensors"]
_WANTED_NEMO = ["*.nemo"]

_OF_A_FOLDER = frozenset(
    ("config.json", "processor_config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json")
)
"""Files that a Hugging Face folder has; one of them makes a folder one, and gives it."""

_GIVE = f"give a .nemo file, a checkpoint folder, or an id such as {RELEASED_MODEL}"

_FOREIGN = {
    ".gguf": "GGUF",
    ".onnx": "ONNX",
    ".ckpt": "training checkpoints",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".bin": "PyTorch",
    ".mlmodelc": "Core ML",
    ".mlpackage": "Core ML",
    ".npz": "NumPy",
    ".tflite": "TensorFlow Lite",
    ".engine": "TensorRT",
    ".riva": "Riva",
    ".rmir": "Riva",
}


def load_checkpoint(source: str | Path | None = None) -> Checkpoint:
    """Load a checkpoint of the family, whatever its format; None is the shipped demo model.

    Raises `CheckpointNotFound`, `DamagedCheckpoint` or `UnsupportedCheckpoint`, each one line.
    """
    if source is None:
        return _checked(read_nemo(DEMO_MODEL))
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _checked(_in_folder(path, str(path)))
        if path.exists():
            return _checked(_of_file(path))
    except OSError as error:
        raise DamagedCheckpoint(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    name = str(source)
    if path.suffix == ".nemo" or not _HUB_ID.fullmatch(name):
        raise CheckpointNotFound(f"no checkpoint at {name}: {_GIVE}")
    return _checked(_in_folder(_fetch(name), name))


def _of_file(path: Path) -> Checkpoint:
    """The checkpoint that a file is, or is a part of."""
    if not path.is_file():
        raise UnsupportedCheckpoint(f"{path} is neither a file nor a folder: {_GIVE}")
    if path.name == CONFIG or (path.name == "model_weights.ckpt" and (path.parent / CONFIG).exists()):
        return read_unpacked(path.parent)
    is_part = path.name in _OF_A_FOLDER or path.suffix == ".safetensors"
    if is_part and (path.parent / "config.json").exists():
        return read_folder(path.parent, str(path.parent))
    return read_nemo(path)


def _in_folder(folder: Path, source: str) -> Checkpoint:
    """The one checkpoint of a folder; `source` names it in errors."""
    entries = {entry.name: entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")}
    archives = [entry for name, entry in entries.items() if name.endswith(".nemo") and entry.is_file()]
    has_weights = any(name.endswith(".safetensors") for name in entries)
    if _OF_A_FOLDER & entries.keys() and (has_weights or not archives):
        return read_folder(folder, source)
    if CONFIG in entries:
        return read_unpacked(folder)
    if len(archives) == 1:
        return read_nemo(archives[0])
    if archives:
        names = ", ".join(entry.name for entry in archives)
        raise UnsupportedCheckpoint(f"{source} holds {len(archives)} checkpoints ({names}): give the path of one")
    if snapshot := _snapshot(folder):
        return _in_folder(snapshot, source)
    raise _no_checkpoint(list(entries.values()), source)


def _snapshot(folder: Path) -> Path | None:
    """The revision in use, where `folder` is that of a model in the hub's cache."""
    revision = folder / "refs" / "main"
    if revision.is_file():
        used = folder / "snapshots" / revision.read_text().strip()
        return used if used.is_dir() else None
    snapshots = list((folder / "snapshots").glob("*/"))
    return snapshots[0] if len(snapshots) == 1 else None


def _no_checkpoint(entries: list[Path], source: str) -> CheckpointError:
    """The error that says what a folder holds instead."""
    if not entries:
        return CheckpointNotFound(f"{source} is an empty folder: {_GIVE}")
    kinds = sorted({_FOREIGN[entry.suffix.lower()] for entry in entries if entry.suffix.lower() in _FOREIGN})
    if not kinds:
        names = ", ".join(entry.name for entry in entries[:3])
        return CheckpointNotFound(f"{source} holds no checkpoint (but {names}): {_GIVE}")
    files = [entry for entry in entries if entry.is_file()]
    if len(files) == 1 and (found := recognised(files[0])) is not None:
        return found
    return UnsupportedCheckpoint(
        f"{source} holds {' and '.join(kinds)}, which this engine does not run: give the .nemo file or the checkpoint "
        "folder that it was made from"
    )


def _fetch(name: str) -> Path:
    """Folder of the hub's `name`, from the cache or over the network."""
    # Half a second to import, and only an id needs it.
    from huggingface_hub import constants, errors, snapshot_download  # noqa: PLC0415

    cache = constants.HF_HUB_CACHE
    try:
        folder = Path(snapshot_download(name, allow_patterns=_WANTED))
        has_weights = any(folder.glob("*.safetensors"))  # some are published as a .nemo file only
        return folder if has_weights else Path(snapshot_download(name, allow_patterns=_WANTED_NEMO))
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise CheckpointNotFound(
            f"{name} is not in the cache ({cache}) and cannot be fetched ({type(error).__name__}): "
            f"check the network and the name, or put the checkpoint's folder there and give its path"
        ) from error


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    pieces, vocabulary = len(checkpoint.tokenizer), checkpoint.config.decoder.vocabulary
    if pieces != vocabulary:
        raise DamagedCheckpoint(
            f"{checkpoint.source}: the tokenizer has {pieces} pieces, the model's configuration says {vocabulary}"
        )
    return checkpoint
