"""Weight products, the bulk of a step.

Three kinds: 8-bit weights (CPU), blocked float32 weights (CPU), and `torch.nn.functional.linear` for everything else.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.precision import has_vnni
from engine.session import Precision

_PACKED_ROWS = 32
"""Rows that the packing of a weight is tuned for; it serves any number."""

_TINY = 1e-20
"""Keeps rows of zeros from being divided by zero."""


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
    def int8_weight(self) -> "Int8Weight":
        """The weight alone, for who scales rows himself; in INT8 only."""
        assert isinstance(self._product, Int8Weight)
        return self._product

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


class Int8Weight:
    """8 bits a value, symmetric, with a scale for each output, in FBGEMM's layout; float32 in and out.

    Each row of activations is scaled by its own largest value, so its result does not depend on the rows beside it.
    They take 8 bits around 128 where the CPU has VNNI; without it the kernel adds pairs of products in 16 bits, so
    they take 7 bits around 64.
    """

    def __init__(self, weight: Tensor) -> None:
        self.outputs = weight.shape[0]
        scales = (weight.abs().amax(1) / 127).clamp(min=_TINY)
        values = (weight / scales[:, None]).round().to(torch.int8)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():  # torch will give up its quantised tensors: `has_int8` looks for the operators
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions", category=UserWarning)
            quantized = torch._make_per_channel_quantized_tensor(values, scales.double(), zeros, 0)
        engine, torch.backends.quantized.engine = torch.backends.quantized.engine, "fbgemm"
        try:
            self._weight = torch.ops.quantized.linear_prepack(quantized, None)
        finally:
            torch.backends.quantized.engine = engine
        self._steps, self._zero = (127, 128) if has_vnni() else (63, 64)

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        largest = x.abs().amax(-1, keepdim=True).clamp_(min=_TINY)
        y = self.multiply(x / largest)
        return y.mul_(largest) if bias is None else torch.addcmul(bias, y, largest)

    def multiply(self, x: Tensor) -> Tensor:
        """x: (..., inputs), every row within [-1, 1] and best filling it. Returns (..., outputs)."""
        y: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x, 1 / self._steps, self._zero, self._weight
        )
        return y


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
