"""Checkpoints made wrong on purpose."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml


def copy_folder(source: Path, parent: Path) -> Path:
    """A copy of a checkpoint folder that may be spoilt."""
    return Path(shutil.copytree(source, parent / "checkpoint"))


def edit_json(path: Path, change: Mapping[str, Any]) -> None:
    """Merge a change into a JSON file, sections into sections."""
    path.write_text(json.dumps(merged(json.loads(path.read_text()), change)))


def merged(data: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with `change` in it; None takes a key away."""
    result = dict(data)
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def members(path: Path) -> dict[str, bytes]:
    """All files of a `.nemo` archive by their plain names."""
    with tarfile.open(path) as archive:
        files = {member.name.removeprefix("./"): archive.extractfile(member) for member in archive if member.isreg()}
        return {name: stream.read() for name, stream in files.items() if stream is not None}


def write_nemo(path: Path, files: Mapping[str, bytes]) -> Path:
    """An archive of these files, their names taken as they are."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def edited_nemo(source: Path, target: Path, change: Mapping[str, Any]) -> Path:
    """A copy of a `.nemo` file with a change merged into its configuration."""
    files = members(source)
    files["model_config.yaml"] = yaml.safe_dump(
        merged(yaml.safe_load(files["model_config.yaml"]), change), allow_unicode=True
    ).encode()
    return write_nemo(target, files)


def reweighted_nemo(source: Path, target: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """A copy of a `.nemo` file whose table of weights went through `change`, which alters it in place."""
    files = members(source)
    weights = torch.load(io.BytesIO(files["model_weights.ckpt"]), weights_only=True)
    change(weights)
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    files["model_weights.ckpt"] = buffer.getvalue()
    return write_nemo(target, files)
