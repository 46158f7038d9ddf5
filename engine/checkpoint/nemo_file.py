"""Reading a `.nemo` file: a tar of `model_config.yaml`, `model_weights.ckpt` and the tokenizer, or a folder of these.

The tar may be compressed. Nothing is extracted to disk and nothing in the file is executed: the YAML is read safely,
the weights with `weights_only`, and a member whose name leaves the archive is refused.
"""

import io
import lzma
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
import yaml
from torch import Tensor

from engine.checkpoint.file_kinds import is_pointer, pointer, recognised
from engine.checkpoint.nemo_config import from_nemo
from engine.checkpoint.section import FAMILY
from engine.checkpoint.tokenizer import Tokenizer, from_sentencepieces
from engine.checkpoint.weight_table import weight_table
from engine.checkpoint.weights import Checkpoint
from engine.errors import CheckpointError, DamagedCheckpoint, UnsupportedCheckpoint

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_DISTRIBUTED = "model_weights/"

_TARGETS = (
    "EncDecRNNTBPEModelWithPrompt",
    "EncDecRNNTBPEModel",
    "EncDecHybridRNNTCTCBPEModelWithPrompt",
    "EncDecHybridRNNTCTCBPEModel",
)
"""Classes with a transducer of SentencePiece pieces. A hybrid one has a CTC head beside it, which is left out."""

_OTHERS = (
    ("MultiTask", "an attention decoder (AED), as Canary has"),
    ("CTC", "a CTC model"),
    ("Transducer", "a transducer of another kind"),
    ("RNNT", "a transducer of characters"),
    ("Slu", "a model of intents"),
    ("Salm", "a language model that hears"),
    ("SpeakerLabel", "a model of speakers"),
    ("Classification", "a classifier"),
    ("TTS", "a synthesiser"),
)
"""What is in the name of a class of NeMo's that is not of this family."""

_PLAIN_TAR = 257
"""Offset of `ustar` in a tar that is not compressed."""

Opener = Callable[[str], IO[bytes] | None]


def read_nemo(path: Path) -> Checkpoint:
    """Load the checkpoint in `path`. Raises `DamagedCheckpoint` or `UnsupportedCheckpoint`."""
    try:
        if (other := recognised(path)) is not None:
            raise other
        with tarfile.open(path) as archive:
            return _read(_from_archive(archive, path), path)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpoint(f"{path} is not a readable .nemo file ({reason}): copy or download it again") from error


def read_unpacked(folder: Path) -> Checkpoint:
    """Load a `.nemo` file that was unpacked into `folder`. Raises `DamagedCheckpoint` or `UnsupportedCheckpoint`."""

    def find(name: str) -> IO[bytes] | None:
        path = folder / PurePosixPath(name).name
        if is_pointer(path):
            raise pointer(path)
        return path.open("rb") if path.is_file() else None

    try:
        return _read(find, folder)
    except OSError as error:
        raise DamagedCheckpoint(f"{folder} cannot be read: {error.strerror}") from error


def _from_archive(archive: tarfile.TarFile, path: Path) -> Opener:
    """Members by name. Compressed ones are read whole: a decompressor cannot go back."""
    members = _members(archive, path)
    with path.open("rb") as file:
        is_plain = file.read(_PLAIN_TAR + 5)[_PLAIN_TAR:] == b"ustar"

    def find(name: str) -> IO[bytes] | None:
        member = members.get(name)
        stream = archive.extractfile(member) if member is not None else None
        return stream if stream is None or is_plain else io.BytesIO(stream.read())

    return find


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
    inside = [name for name in members if name.endswith(f"/{CONFIG}")]
    if CONFIG not in members and len(inside) == 1:  # a folder was packed, and not what is in it
        folder = inside[0].removesuffix(CONFIG)
        members = {name.removeprefix(folder): member for name, member in members.items()}
    if CONFIG in members and any(name.startswith(_DISTRIBUTED) for name in members):
        raise UnsupportedCheckpoint(
            f"{path} holds a distributed checkpoint ({_DISTRIBUTED}), whose weights are in pieces: load it in NeMo and "
            "save it again as one file (`save_to`)"
        )
    if CONFIG not in members and "config.json" in {PurePosixPath(name).name for name in members}:
        raise UnsupportedCheckpoint(f"{path} is a checkpoint folder in an archive: unpack it and give the folder")
    return members


def _open(find: Opener, name: str, path: Path) -> IO[bytes]:
    stream = find(name)
    if stream is None:
        raise DamagedCheckpoint(f"{path} has no {name}: it is not a complete .nemo file")
    return stream


def _read(find: Opener, path: Path) -> Checkpoint:
    try:
        with _open(find, CONFIG, path) as stream:
            data = yaml.safe_load(stream)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path}: {CONFIG} cannot be read: {str(error).splitlines()[0]}") from error
    _check_target(data, path)
    config = from_nemo(data)
    tokenizer = _tokenizer(data, config.prompt.dictionary if config.prompt is not None else None, find, path)
    with _open(find, WEIGHTS, path) as stream:
        weights = _weights(stream, path)
    return Checkpoint(str(path), config, weights, tokenizer)


def _check_target(data: Any, path: Path) -> None:
    """Refuse the classes of other models by name."""
    target = str(data.get("target", "")).rpartition(".")[2] if isinstance(data, dict) else ""
    if not target or target in _TARGETS:
        return
    kind = next((f", {words}," for part, words in _OTHERS if part in target), "")
    raise UnsupportedCheckpoint(f"{path}: model class {target}{kind} is not supported: {FAMILY}")


def _tokenizer(data: dict[str, Any], prompts: Any, find: Opener, path: Path) -> Tokenizer:
    """Of one SentencePiece model, or of one for each of the `langs` of an aggregate tokenizer, in their order."""
    section = data.get("tokenizer")
    section = section if isinstance(section, dict) else {}
    by_language = section.get("langs") if section.get("type") == "agg" else None
    sections = by_language if isinstance(by_language, dict) and by_language else {"": section}
    models = []
    for language, one in sections.items():
        reference = one.get("model_path") if isinstance(one, dict) else None
        if not isinstance(reference, str):
            where = f"tokenizer.langs.{language}" if by_language else "tokenizer"
            raise DamagedCheckpoint(
                f"{path}: model_config.{where}.model_path is missing: the tokenizer cannot be found"
            )
        name = reference.removeprefix("nemo:")
        with _open(find, name, path) as stream:
            models.append((stream.read(), f"{path}:{name}"))
    return from_sentencepieces(models, prompts)


def _weights(stream: IO[bytes], path: Path) -> dict[str, Tensor]:
    where = f"{path}: {WEIGHTS}"
    try:
        loaded = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise DamagedCheckpoint(f"{where} is refused: it is not plain weights ({reason})") from error
    except CheckpointError:
        raise
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpoint(f"{where} cannot be read: {reason}") from error
    return weight_table(loaded, where)
