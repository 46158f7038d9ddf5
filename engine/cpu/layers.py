"""The conformer layers in 8-bit weights on a CPU, a call a layer.

Computes what `engine.model.conformer.ConformerLayers` does, the sums in the same order: what differs is the rounding of
weights and activations alone.
"""

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from engine.cpu.jit import Array, Bytes, Halves, Index, inner, kernel, plain
from engine.cpu.kernels import NormWeights, add_norm, add_norm_out, attend, convolve, norm, swish
from engine.cpu.openmp import Threads, all_threads, fork
from engine.cpu.product import Biased, Int8Linear, activation_rows, product, quantise_rows
from engine.model.attention import Relative
from engine.model.layer import Layer, LayerNorm
from engine.model.linear import Linear
from engine.model.state import Rows, SlotState


class Int8Layers:
    """All layers of an encoder. `relative`: of each latency class by its frames a chunk, for each layer."""

    def __init__(self, layers: list[Layer], relative: Mapping[int, list[Relative]]) -> None:
        first = layers[0]
        self._d_model, self._d_ff = first.taps.shape[1], _product(first.expand).weight.outputs
        self._layers = [plain(_layer(layer)) for layer in layers]
        self._positions = {frames: [plain(_positions(one)) for one in table] for frames, table in relative.items()}

    def __call__(self, x: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """x: float32 (B, c, d_model), is overwritten with what comes out. Brings the rows' state forward."""
        frames, size = x.shape[1:]
        flat: Array = x.view(-1, size).numpy()  # (T, d)
        slots, chunks = rows.slots.numpy(), rows.chunks.numpy()
        buffers, threads = plain(self._buffers(len(flat))), all_threads()
        memory = state.keys, state.values, state.convolution
        for layer, position, keys, values, convolution in zip(
            self._layers, self._positions[frames], *memory, strict=True
        ):
            past = _LayerState(_halves(keys), _halves(values), convolution.numpy(), slots, chunks)
            conformer(threads, flat, layer, position, plain(past), buffers)
        return x

    def _buffers(self, rows: int) -> "_Buffers":
        return _Buffers(
            within=activation_rows(rows, self._d_model),
            wide=activation_rows(rows, self._d_ff),
            scale=np.empty(rows, np.float32),
            raw=np.empty(rows * max(self._d_ff, 3 * self._d_model), np.float32),
            mixed=np.empty((rows, self._d_model), np.float32),
        )


_IN_POSITIONS = {"bias_u", "bias_v", "positions"}
"""Weights of a layer that the kernel takes as `_Positions`."""

_LAYER_FIELDS = [field.name for field in fields(Layer) if field.name not in _IN_POSITIONS]

_KernelLayer = cast(Any, namedtuple("_KernelLayer", _LAYER_FIELDS))
"""A layer as the kernel takes it: of each norm `NormWeights`, of each linear layer `Biased`, of all else the array."""


class _Positions(NamedTuple):
    """The positions' share of the scores (`engine.model.attention.Relative`). bias_u, bias_v: (h, d_head); table:
    (h, R + c - 1, d_head)."""

    bias_u: Array
    bias_v: Array
    table: Array


class _LayerState(NamedTuple):
    """A layer's state of all slots, and which of them are stepped. keys, values: bfloat16 as uint16 (S, h, R, d_head);
    convolution: (S, k - 1, d); slots, chunks: int64 (B,)."""

    keys: Halves
    values: Halves
    convolution: Array
    slots: Index
    chunks: Index


class _Buffers(NamedTuple):
    """Memory of a step: uint8 rows (T, d) and (T, d_ff) with their scale (T,), a product, and mixed values (T, d)."""

    within: Bytes
    wide: Bytes
    scale: Array
    raw: Array
    mixed: Array


@inner
def _multiply(threads: Threads, x: Bytes, by: Biased, raw: Array) -> tuple[Array, Array]:
    """The product, in the memory of `raw`, and what is to be added to it."""
    weight, shift = by
    rows, outputs = x.shape[0], shift.shape[0]
    out = raw[: rows * outputs].reshape(rows, outputs)
    product(threads, x, weight, out)
    return out, shift


@kernel
def conformer(
    threads: Threads, x: Array, layer: Any, positions: _Positions, past: _LayerState, buffers: _Buffers
) -> None:
    """One layer on x (T, d), in place; brings the rows' memory forward. Takes named tuples as `plain`; layer: a
    `_KernelLayer`."""
    by = _KernelLayer(*layer)
    within, wide, scale, raw, mixed = buffers
    keys, values, convolution, slots, chunks = past
    bias_u, bias_v, table = positions
    fork(threads, norm, (x, by.norm_in, within, scale))
    y, shift = _multiply(threads, within, by.expand_in, raw)
    fork(threads, swish, (y, shift, wide, scale))
    y, shift = _multiply(threads, wide, by.contract_in, raw)
    fork(threads, add_norm, (x, y, shift, by.norm_attention, within, scale))
    y, shift = _multiply(threads, within, by.qkv, raw)
    fork(threads, attend, (y, shift, bias_u, bias_v, table, keys, values, slots, chunks, mixed, scale))
    fork(threads, quantise_rows, (mixed, within, scale))
    y, shift = _multiply(threads, within, by.out, raw)
    fork(threads, add_norm, (x, y, shift, by.norm_convolution, within, scale))
    y, shift = _multiply(threads, within, by.gate, raw)
    fork(threads, convolve, (y, shift, convolution, slots, chunks, by.taps, by.taps_bias, by.norm_taps, within, scale))
    y, shift = _multiply(threads, within, by.mix, raw)
    fork(threads, add_norm, (x, y, shift, by.norm_feed, within, scale))
    y, shift = _multiply(threads, within, by.expand, raw)
    fork(threads, swish, (y, shift, wide, scale))
    y, shift = _multiply(threads, wide, by.contract, raw)
    fork(threads, add_norm_out, (x, y, shift, scale, by.norm_out))


def _product(linear: Linear) -> Biased:
    assert isinstance(linear, Int8Linear)
    return linear.biased


def _layer(layer: Layer) -> Any:
    return _KernelLayer(*(_weights(getattr(layer, name), layer) for name in _LAYER_FIELDS))


def _weights(part: LayerNorm | Linear | Tensor | None, layer: Layer) -> Any:
    """A part of a layer as kernels take it."""
    if isinstance(part, LayerNorm):
        return NormWeights(part.weight.contiguous().numpy(), part.bias.contiguous().numpy())
    if part is None:  # no bias
        return np.zeros(layer.taps.shape[1], np.float32)
    return part.numpy() if isinstance(part, Tensor) else _product(part)


def _positions(relative: Relative) -> _Positions:
    u, v = relative.bias_u[:, 0].contiguous(), relative.bias_v[:, 0].contiguous()
    return _Positions(u.numpy(), v.numpy(), relative.table.transpose(1, 2).contiguous().numpy())


def _halves(cached: Tensor) -> Halves:
    return cached.view(torch.uint16).numpy()
