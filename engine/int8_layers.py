"""The conformer layers in 8-bit weights on a CPU: FBGEMM's products, and Numba's kernels between them.

Takes the place of the loop over layers in `Encoder.step`; the same sums in the same order, so that what differs is the
rounding of weights and activations alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import cpu_kernels
from engine.affine import Affine, Int8Weight
from engine.attention import Relative
from engine.state import Rows, SlotState

if TYPE_CHECKING:
    from engine.encoder import Layer, Norm

Array = NDArray[np.float32]


class Int8Layers:
    """All layers of an encoder. `relative`: of each latency class by its frames a chunk, for each layer."""

    def __init__(self, layers: "list[Layer]", relative: dict[int, list[Relative]]) -> None:
        self._layers = [_Layer.of(layer) for layer in layers]
        self._positions = {frames: [_Positions.of(one) for one in table] for frames, table in relative.items()}

    def __call__(self, x: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """x: float32 (B, c, d_model), is overwritten with what comes out. Brings the rows' state forward."""
        streams, frames, size = x.shape
        flat: Array = x.view(-1, size).numpy()  # (T, d)
        slots, chunks = rows.slots.numpy(), rows.chunks.numpy()
        out = torch.empty(streams * frames, size)
        within: Array = out.numpy()
        scale = np.empty(len(flat), np.float32)
        for index, layer in enumerate(self._layers):
            at = self._positions[frames][index]
            cpu_kernels.norm(flat, *layer.norm_in, within, scale)
            hidden = layer.expand_in(out)
            cpu_kernels.swish(hidden.numpy(), layer.expand_in.shift, scale)
            raw = layer.contract_in(hidden)
            cpu_kernels.add_norm(flat, raw.numpy(), layer.contract_in.shift, *layer.norm_attention, within, scale)
            raw = layer.qkv(out)
            keys, values = state.keys[index].view(torch.uint16).numpy(), state.values[index].view(torch.uint16).numpy()
            projected = raw.numpy(), layer.qkv.shift
            cpu_kernels.attend(*projected, at.bias_u, at.bias_v, at.table, keys, values, slots, chunks, within, scale)
            raw = layer.out(out)
            cpu_kernels.add_norm(flat, raw.numpy(), layer.out.shift, *layer.norm_convolution, within, scale)
            raw = layer.gate(out)
            cpu_kernels.convolve(
                *(raw.numpy(), layer.gate.shift, state.convolution[index].numpy(), slots, chunks),
                *(layer.taps, layer.taps_bias, *layer.norm_taps, within, scale),
            )
            raw = layer.mix(out)
            cpu_kernels.add_norm(flat, raw.numpy(), layer.mix.shift, *layer.norm_feed, within, scale)
            hidden = layer.expand(out)
            cpu_kernels.swish(hidden.numpy(), layer.expand.shift, scale)
            raw = layer.contract(hidden)
            cpu_kernels.add_norm_out(flat, raw.numpy(), layer.contract.shift, scale, *layer.norm_out)
        return x


@dataclass(frozen=True, slots=True)
class _Product:
    """A weight and what is added to its product; zeros where the model has no bias."""

    weight: Int8Weight
    shift: Array

    @classmethod
    def of(cls, affine: Affine) -> "_Product":
        weight = affine.int8_weight
        shift = np.zeros(weight.outputs, np.float32) if affine.bias is None else affine.bias.numpy()
        return cls(weight, shift)

    def __call__(self, within: Tensor) -> Tensor:
        return self.weight.multiply(within)


@dataclass(frozen=True, slots=True)
class _Layer:
    """`engine.encoder.Layer` as the kernels take it."""

    norm_in: tuple[Array, Array]
    expand_in: _Product
    contract_in: _Product
    norm_attention: tuple[Array, Array]
    qkv: _Product
    out: _Product
    norm_convolution: tuple[Array, Array]
    gate: _Product
    taps: Array
    taps_bias: Array
    norm_taps: tuple[Array, Array]
    mix: _Product
    norm_feed: tuple[Array, Array]
    expand: _Product
    contract: _Product
    norm_out: tuple[Array, Array]

    @classmethod
    def of(cls, layer: "Layer") -> "_Layer":
        size = layer.taps.shape[1]
        return cls(
            norm_in=_arrays(layer.norm_in),
            expand_in=_Product.of(layer.expand_in),
            contract_in=_Product.of(layer.contract_in),
            norm_attention=_arrays(layer.norm_attention),
            qkv=_Product.of(layer.qkv),
            out=_Product.of(layer.out),
            norm_convolution=_arrays(layer.norm_convolution),
            gate=_Product.of(layer.gate),
            taps=layer.taps.numpy(),
            taps_bias=np.zeros(size, np.float32) if layer.taps_bias is None else layer.taps_bias.numpy(),
            norm_taps=_arrays(layer.norm_taps),
            mix=_Product.of(layer.mix),
            norm_feed=_arrays(layer.norm_feed),
            expand=_Product.of(layer.expand),
            contract=_Product.of(layer.contract),
            norm_out=_arrays(layer.norm_out),
        )


@dataclass(frozen=True, slots=True)
class _Positions:
    """`engine.attention.Relative` as the kernel takes it: (h, d_head) twice, and (h, R + c - 1, d_head)."""

    bias_u: Array
    bias_v: Array
    table: Array

    @classmethod
    def of(cls, relative: Relative) -> "_Positions":
        u, v = relative.bias_u[:, 0].contiguous(), relative.bias_v[:, 0].contiguous()
        return cls(u.numpy(), v.numpy(), relative.table.transpose(1, 2).contiguous().numpy())


def _arrays(norm: "Norm") -> tuple[Array, Array]:
    return norm.weight.contiguous().numpy(), norm.bias.contiguous().numpy()
