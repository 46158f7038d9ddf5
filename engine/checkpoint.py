"""Finding a checkpoint: the shipped demo model, a `.nemo` file, a Hugging Face folder or id."""

import re
from pathlib import Path

from engine.errors import CheckpointNotFound, DamagedCheckpoint
from engine.hf_folder import read_folder
from engine.nemo_file import read_nemo
from engine.weights import Checkpoint

DEMO_MODEL = Path(__file__).parent / "models" / "pocket.nemo"

RELEASED_MODEL = "nvidia/nemotron-3.5-asr-streaming-0.6b"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WANTED = ["*.json", "*.safetensors"]


def load_checkpoint(source: str | Path | None = None) -> Checkpoint:
    """Load a checkpoint of the family, whatever its format; None is the shipped demo model.

    Raises `CheckpointNotFound`, `DamagedCheckpoint` or `UnsupportedCheckpoint`, each one line.
    """
    if source is None:
        return _checked(read_nemo(DEMO_MODEL))
    path = Path(source).expanduser()
    if path.is_dir():
        return _checked(read_folder(path, str(path)))
    if path.is_file():
        return _checked(read_nemo(path))
    name = str(source)
    if path.suffix == ".nemo" or not _HUB_ID.fullmatch(name):
        raise CheckpointNotFound(
            f"no checkpoint at {name}: give a .nemo file, a checkpoint folder, or an id such as {RELEASED_MODEL}"
        )
    return _checked(read_folder(_fetch(name), name))


def _fetch(name: str) -> Path:
    """Folder of the hub's `name`, from the cache or over the network."""
    # Half a second to import, and only an id needs it.
    from huggingface_hub import constants, errors, snapshot_download  # noqa: PLC0415

    cache = constants.HF_HUB_CACHE
    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED))
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
