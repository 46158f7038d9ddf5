"""A loaded checkpoint: configuration, tensors under NeMo's names, vocabulary."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.api import Precision
from engine.checkpoint.tokenizer import Tokenizer
from engine.config import ModelConfig
from engine.errors import DamagedCheckpoint, UnsupportedCheckpoint
from engine.precision import DTYPES

logger = logging.getLogger(__name__)

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

_WITHOUT_EFFECT = re.compile(
    r"preprocessor\.featurizer\.(window|fb)"
    r"|encoder\.pos_enc\.pe"
    r"|(.*\.)?num_batches_tracked"
    r"|(.*\.)?_extra_state"
    r"|(loss|wer|spec_augmentation|ctc_loss|ctc_wer)\..*"
)
"""What is in a checkpoint and never changes what a model writes: the window and filters of the features (their values
follow from the configuration), the table of positions, counters, and buffers of the training."""

_AUXILIARY = re.compile(r"ctc_decoder\..*")
"""The second head of a hybrid model. Its transducer is complete without."""

_NAMED = 3
"""Unused weights that an error names."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`source` names it in errors and logs. `weights` are as stored, in any float type."""

    source: str
    config: ModelConfig
    weights: Mapping[str, Tensor]
    tokenizer: Tokenizer


class WeightReader:
    """Hands out the tensors of a checkpoint on one device in one precision, each of the shape that the model needs, and
    knows which of them were never asked for."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        precision: Precision,
        prefix: str = "",
        taken: set[str] | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._device = device
        self.precision = precision
        self._prefix = prefix
        self._taken = set[str]() if taken is None else taken

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensors."""
        return DTYPES[self.precision]

    def under(self, prefix: str) -> "WeightReader":
        return WeightReader(self._checkpoint, self._device, self.precision, f"{self._prefix}{prefix}.", self._taken)

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._checkpoint.weights

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor `name`. Raises `DamagedCheckpoint` where it is missing, has another shape or is not finite,
        `UnsupportedCheckpoint` where it is quantised."""
        full = self._prefix + name
        tensor = self._checkpoint.weights.get(full)
        if tensor is None:
            raise DamagedCheckpoint(f"{self._checkpoint.source}: weight {full} is missing")
        if tensor.dtype not in _FLOATS or tensor.layout is not torch.strided or tensor.is_meta:
            kind = "without values" if tensor.is_meta else str(tensor.dtype).removeprefix("torch.")
            kind = kind if tensor.layout is torch.strided else f"sparse {kind}"
            raise UnsupportedCheckpoint(
                f"{self._checkpoint.source}: weight {full} is {kind}: give the checkpoint in float32, float16, "
                "bfloat16 or float64 that the quantised one was made from"
            )
        if tuple(tensor.shape) != shape:
            raise DamagedCheckpoint(
                f"{self._checkpoint.source}: weight {full} has shape {tuple(tensor.shape)}, "
                f"its configuration says {shape}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise DamagedCheckpoint(f"{self._checkpoint.source}: weight {full} holds infinite or undefined numbers")
        self._taken.add(full)
        return tensor.to(self._device, torch.float32).to(self.dtype)

    def bias(self, name: str, size: int, present: bool) -> Tensor | None:
        """The bias `name` where the configuration has biases, else None."""
        return self.take(name, size) if present else None

    def in_float32(self) -> "WeightReader":
        """The same tensors for parts that always compute in float32."""
        return WeightReader(self._checkpoint, self._device, Precision.FLOAT32, self._prefix, self._taken)

    def refuse_unused(self) -> None:
        """After the whole model was made. A weight that nobody took belongs to a part that this engine does not run,
        and without it the model would write something else. Raises `UnsupportedCheckpoint`, which names them."""
        rest = sorted(name for name in self._checkpoint.weights.keys() - self._taken)
        unused = [name for name in rest if not _WITHOUT_EFFECT.fullmatch(name)]
        if head := [name for name in unused if _AUXILIARY.fullmatch(name)]:
            unused = [name for name in unused if name not in head]
            logger.info("%s: the CTC head of a hybrid model is left out", self._checkpoint.source)
        if not unused:
            return
        more = f" and {len(unused) - _NAMED} more" if len(unused) > _NAMED else ""
        raise UnsupportedCheckpoint(
            f"{self._checkpoint.source}: {len(unused)} weights are of a part that this engine does not run: "
            f"{', '.join(unused[:_NAMED])}{more}{_advice(unused)}"
        )


def _advice(unused: list[str]) -> str:
    if any("adapter" in name for name in unused):
        return ": give the checkpoint without its adapters"
    if any(".lora_" in name or ".base_layer." in name for name in unused):
        return ": merge the LoRA weights into the model and save it again"
    return ": give a checkpoint of the model alone"
