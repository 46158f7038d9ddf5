"""Reading a `.nemo` file: a tar of `model_config.yaml`, `model_weights.ckpt` and the tokenizer.

Nothing is extracted to disk and nothing in the file is executed: the YAML is read safely, the weights with
`weights_only`, and a member whose name leaves the archive is refused.
"""

import pickle
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
import yaml

from engine.config import from_nemo
from engine.errors import CheckpointError, DamagedCheckpoint, UnsupportedCheckpoint
from engine.tokenizer import Tokenizer, from_sentencepiece
from engine.weights import Checkpoint

_TARGETS = ("EncDecRNNTBPEModelWithPrompt", "EncDecRNNTBPEModel")


def read_nemo(path: Path) -> Checkpoint:
    """Load the checkpoint in `path`. Raises `DamagedCheckpoint` or `UnsupportedCheckpoint`."""
    try:
        with tarfile.open(path) as archive:
            return _read(_members(archive, path), archive, path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DamagedCheckpoint(f"{path} is not a readable .nemo file ({error}): copy or download it again") from error


def _members(archive: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    members = {}
    for member in archive:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise DamagedCheckpoint(
                f"{path} holds a file outside its archive ({member.name!r}): do not trust this file"
            )
        if member.isreg():
            members[str(name)] = member
    return members


def _open(members: dict[str, tarfile.TarInfo], archive: tarfile.TarFile, name: str, path: Path) -> IO[bytes]:
    member = members.get(name)
    stream = archive.extractfile(member) if member is not None else None
    if stream is None:
        raise DamagedCheckpoint(f"{path} has no {name}: it is not a complete .nemo file")
    return stream


def _read(members: dict[str, tarfile.TarInfo], archive: tarfile.TarFile, path: Path) -> Checkpoint:
    try:
        data = yaml.safe_load(_open(members, archive, "model_config.yaml", path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DamagedCheckpoint(f"{path}: model_config.yaml cannot be read: {str(error).splitlines()[0]}") from error
    target = str(data.get("target", "")).rpartition(".")[2] if isinstance(data, dict) else ""
    if target and target not in _TARGETS:
        raise UnsupportedCheckpoint(f"{path}: model class {target} is not supported: this engine runs {_TARGETS[0]}")
    config = from_nemo(data)
    tokenizer = _tokenizer(data, members, archive, path)
    weights = _weights(_open(members, archive, "model_weights.ckpt", path), path)
    return Checkpoint(str(path), config, weights, tokenizer)


def _tokenizer(
    data: dict[str, Any], members: dict[str, tarfile.TarInfo], archive: tarfile.TarFile, path: Path
) -> Tokenizer:
    section = data.get("tokenizer")
    reference = section.get("model_path") if isinstance(section, dict) else None
    if not isinstance(reference, str):
        raise DamagedCheckpoint(f"{path}: model_config.tokenizer.model_path is missing: the tokenizer cannot be found")
    name = reference.removeprefix("nemo:")
    return from_sentencepiece(_open(members, archive, name, path).read(), f"{path}:{name}")


def _weights(stream: IO[bytes], path: Path) -> dict[str, torch.Tensor]:
    try:
        weights = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise DamagedCheckpoint(f"{path}: model_weights.ckpt is refused: it is not plain weights ({reason})") from error
    except CheckpointError:
        raise
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpoint(f"{path}: model_weights.ckpt cannot be read: {reason}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise DamagedCheckpoint(f"{path}: model_weights.ckpt is not a table of tensors")
    return weights
