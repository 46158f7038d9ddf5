"""Weight products, the bulk of a step.

Three kinds: 8-bit weights (CPU), blocked float32 weights (CPU), and `torch.nn.functional.linear` for everything else.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.api import Precision
from engine.cpu.product import Int8Weight, Weight

_PACKED_ROWS = 32
"""Rows that the packing of a weight is tuned for; it serves any number."""


class Affine:
    """`x @ weight.T + bias`; weight: float (outputs, inputs), bias: (outputs,) or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None, precision: Precision) -> None:
        self.bias = bias
        self._product: Int8Weight | _Blocked | _Plain
        if precision is Precision.INT8:
            self._product = Int8Weight(weight)
        elif precision is Precision.FLOAT32 and weight.device.type == "cpu" and _has_onednn():
            self._product = _Blocked(weight)
        else:
            self._product = _Plain(weight)

    @property
    def packed(self) -> Weight:
        """The weight alone, for kernels that multiply; in INT8 only."""
        assert isinstance(self._product, Int8Weight)
        return self._product.packed

    def __call__(self, x: Tensor) -> Tensor:
        """x: (..., inputs). Returns (..., outputs)."""
        return self._product(x, self.bias)


class _Plain:
    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, self._weight, bias)


class _Blocked:
    """float32 in oneDNN's blocked layout only, which is 1.3 to 3 times faster than the plain one from 1 to 64 rows
    (docs/decisions.md). The operators are those that `torch.compile` uses for it."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_ROWS)

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, bias, "none", [], "")
        return y


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
