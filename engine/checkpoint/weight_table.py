"""The table of weights as a file holds it, brought to the names that the model has.

Training tools wrap a model: `module.` (DataParallel), `model.` (a trainer's own attribute), `_orig_mod.`
(torch.compile). What is wrapped once and whole is unwrapped; of several copies none is guessed.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from engine.errors import DamagedCheckpoint, UnsupportedCheckpoint

_LANDMARK = re.compile(r"^(.*?)(?:encoder\.pre_encode\.out|encoder\.subsampling\.linear)\.weight$")
"""A weight that every model of the family has once, in NeMo's names and in transformers'."""

_COMPILED = "_orig_mod."


def weight_table(loaded: Any, where: str) -> dict[str, Tensor]:
    """Tensors by name, from what a weights file holds. Raises `DamagedCheckpoint`, `UnsupportedCheckpoint`."""
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not loaded:
        raise DamagedCheckpoint(f"{where} is not a table of tensors")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DamagedCheckpoint(f"{where} is not a table of tensors: {name!r} is {type(value).__name__}")
    return _unwrapped(loaded, where)


def _unwrapped(weights: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The names without what they were wrapped in."""
    plain = {name.replace(_COMPILED, ""): tensor for name, tensor in weights.items()}
    prefixes = sorted({found.group(1) for name in plain if (found := _LANDMARK.match(name)) is not None})
    if len(prefixes) > 1:
        copies = ", ".join(repr(prefix.rstrip(".")) if prefix else "without prefix" for prefix in prefixes)
        raise UnsupportedCheckpoint(f"{where} holds several models ({copies}): save the one that is meant by itself")
    prefix = prefixes[0] if prefixes else ""
    return {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
