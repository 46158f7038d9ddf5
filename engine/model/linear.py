"""Linear layers, the bulk of a step: blocked float32 weights on a CPU, `torch.nn.functional.linear` for all else.

Weights in 8 bits are `engine.cpu.product.Int8Linear`.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.weights import WeightReader

_PACKED_ROWS = 32
"""Rows that the packing of a weight is tuned for; it serves any number."""


class Linear(Protocol):
    """`x @ weight.T + bias`; weight: float (outputs, inputs)."""

    def __call__(self, x: Tensor) -> Tensor:
        """x: (..., inputs). Returns (..., outputs)."""
        ...


class MakeLinear(Protocol):
    """weight: float (outputs, inputs); bias: (outputs,) or None."""

    def __call__(self, weight: Tensor, bias: Tensor | None, /) -> Linear: ...


def float_linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """In the weight's own type, as fast as torch has it on the weight's device."""
    if weight.dtype is torch.float32 and weight.device.type == "cpu" and _has_onednn():
        return _Blocked(weight, bias)
    return _Plain(weight, bias)


def read_linear(
    make: MakeLinear, weights: WeightReader, name: str, outputs: int, inputs: int, bias: bool, scale: float = 1.0
) -> Linear:
    """The layer `name`, multiplied by `scale`. `bias`: whether the configuration has biases."""
    weight, shift = weights.take(f"{name}.weight", outputs, inputs), weights.bias(f"{name}.bias", outputs, bias)
    return make(weight * scale, None if shift is None else shift * scale)


class _Plain:
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight, self._bias)


class _Blocked:
    """float32 in oneDNN's blocked layout only, which is 1.3 to 3 times faster than the plain one from 1 to 64 rows
    (docs/decisions/engine.md). The operators are those that `torch.compile` uses for it."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_ROWS)
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return y


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
