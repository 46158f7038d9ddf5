"""A loaded checkpoint: configuration, tensors under NeMo's names, vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.affine import Affine
from engine.config import ModelConfig
from engine.errors import DamagedCheckpoint
from engine.precision import DTYPES
from engine.session import Precision
from engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`source` names it in errors and logs. `weights` are as stored, in any float type."""

    source: str
    config: ModelConfig
    weights: Mapping[str, Tensor]
    tokenizer: Tokenizer


class WeightReader:
    """Hands out the tensors of a checkpoint on one device in one precision, each of the shape that the model needs."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, precision: Precision, prefix: str = "") -> None:
        self._checkpoint = checkpoint
        self._device = device
        self.precision = precision
        self._prefix = prefix

    def under(self, prefix: str) -> "WeightReader":
        return WeightReader(self._checkpoint, self._device, self.precision, f"{self._prefix}{prefix}.")

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._checkpoint.weights

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor `name`. Raises `DamagedCheckpoint` where it is missing, has another shape or is not finite."""
        full = self._prefix + name
        tensor = self._checkpoint.weights.get(full)
        if tensor is None:
            raise DamagedCheckpoint(f"{self._checkpoint.source}: weight {full} is missing")
        if tuple(tensor.shape) != shape:
            raise DamagedCheckpoint(
                f"{self._checkpoint.source}: weight {full} has shape {tuple(tensor.shape)}, "
                f"its configuration says {shape}"
            )
        if not tensor.is_floating_point():
            raise DamagedCheckpoint(
                f"{self._checkpoint.source}: weight {full} is {tensor.dtype}, expected a float type"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise DamagedCheckpoint(f"{self._checkpoint.source}: weight {full} holds infinite or undefined numbers")
        return tensor.to(self._device, torch.float32).to(DTYPES[self.precision])

    def bias(self, name: str, size: int, present: bool) -> Tensor | None:
        """The bias `name` where the configuration has biases, else None."""
        return self.take(name, size) if present else None

    def affine(self, weight: Tensor, bias: Tensor | None) -> Affine:
        """A product with a weight made of such tensors."""
        return Affine(weight, bias, self.precision)

    def in_float32(self) -> "WeightReader":
        """The same tensors for parts that always compute in float32."""
        return WeightReader(self._checkpoint, self._device, Precision.FLOAT32, self._prefix)
