"""Weight products, the bulk of a step."""

import torch
import torch.nn.functional as F
from torch import Tensor

_PACKED_ROWS = 32
"""Rows that the packing of a weight is tuned for; it serves any number."""


class Affine:
    """`x @ weight.T + bias`; weight: (outputs, inputs), bias: (outputs,) or None.

    On a CPU in float32 the weight is kept in oneDNN's blocked layout only, which is 1.3 to 3 times faster than the
    plain one from 1 to 64 rows (docs/decisions.md). The operators are those that `torch.compile` uses for it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._bias = bias
        has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        self._packed = has_onednn and weight.device.type == "cpu" and weight.dtype is torch.float32
        if self._packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_ROWS)
        self._weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        """x: (..., inputs). Returns (..., outputs)."""
        if self._packed:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
            return y
        return F.linear(x, self._weight, self._bias)
