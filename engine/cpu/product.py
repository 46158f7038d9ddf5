"""Weight products in 8 bits on an x86 CPU, the bulk of a step: as fast as memory gives the weights, to twelve rows."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.cpu.dot import BLOCKS, LANES, LINE, ROWS, STEPS, ZERO, dot
from engine.cpu.jit import F32, I32, TINY, U8, Array, Bytes, inner, kernel, plain, share
from engine.cpu.openmp import Threads, all_threads, fork, take

_GROUP = BLOCKS * LANES
"""Outputs that are summed at a time."""

_PACE = BLOCKS * LINE
"""Bytes of a group for each four inputs."""


class Weight(NamedTuple):
    """A packed weight as kernels take it: values: int8 (groups, inputs / 4, BLOCKS, LANES, 4), outputs and inputs
    filled up with zeros; shift: int32 (outputs,), what ZERO adds to a sum; scale: float32 (outputs,)."""

    values: NDArray[np.int8]
    shift: NDArray[np.int32]
    scale: Array

    @property
    def outputs(self) -> int:
        return len(self.scale)


class Biased(NamedTuple):
    """A weight and what is added to its product: (outputs,)."""

    weight: Weight
    shift: Array


def activation_rows(rows: int, inputs: int) -> Bytes:
    """Memory for activations: uint8 (rows, at least `inputs`). Rows are an odd number of cache lines apart, because
    those of a product at the same place of a page would push one another out of the cache."""
    lines = -(-inputs // LINE) | 1
    return np.empty((rows, lines * LINE), np.uint8)


def pack(weight: Tensor) -> Weight:
    """Round a weight, float (outputs, inputs), to 8 bits a value, symmetric, with a scale for each output."""
    scale = (weight.abs().amax(1) / 127).clamp(min=float(TINY))
    values = (weight / scale[:, None]).round().to(torch.int8)
    outputs, inputs = values.shape
    groups, quads = -(-outputs // _GROUP), -(-inputs // 4)
    filled = torch.nn.functional.pad(values, (0, 4 * quads - inputs, 0, groups * _GROUP - outputs))
    packed = filled.view(groups, BLOCKS, LANES, quads, 4).permute(0, 3, 1, 2, 4).contiguous()
    shift = ZERO * values.sum(1, dtype=torch.int32)
    return Weight(packed.numpy(), shift.numpy(), (scale / STEPS).numpy())


class Int8Linear:
    """`x @ weight.T + bias` of float32 rows; weight: float (outputs, inputs), bias: (outputs,) or None.

    Each row of activations is scaled by its own largest value, so its result does not depend on the rows beside it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        packed = pack(weight)
        shift = np.zeros(packed.outputs, np.float32) if bias is None else bias.numpy()
        self.biased = Biased(packed, shift)
        self._weight = plain(packed)
        self._shift = shift[:0] if bias is None else shift

    def __call__(self, x: Tensor) -> Tensor:
        """x: float32 (..., inputs). Returns (..., outputs)."""
        outputs = self.biased.weight.outputs
        out = torch.empty(*x.shape[:-1], outputs)
        rows = x.reshape(-1, x.shape[-1]).contiguous().numpy()
        affine(
            all_threads(), rows, activation_rows(*rows.shape), self._weight, self._shift, out.view(-1, outputs).numpy()
        )
        return out


@inner
def quantise(row: Array, scratch: Array, out: Bytes) -> np.float32:
    """8 bits a value of a row, as part of its largest magnitude; returns that. `scratch`: as long as the row, is
    overwritten.

    Halves are compared with one another, because one running maximum would not become a vector.
    """
    width = row.shape[0]
    for i in range(width):
        scratch[i] = abs(row[i])
    while width > 16 and width % 2 == 0:
        width //= 2
        for i in range(width):
            a, b = scratch[i], scratch[width + i]
            scratch[i] = a if a > b else b
    largest = TINY
    for i in range(width):
        largest = max(largest, scratch[i])
    factor, middle = F32(STEPS) / largest, F32(ZERO) + F32(0.5)
    for i in range(row.shape[0]):
        out[i] = U8(I32(row[i] * factor + middle))
    return largest


@inner
def quantise_rows(x: Array, out: Bytes, scale: Array, part: int, parts: int) -> None:
    """Part of x (T, inputs) into rows of `activation_rows`; scale: (T,)."""
    scratch = np.empty(x.shape[1], F32)
    for row in share(x.shape[0], part, parts):
        scale[row] = quantise(x[row], scratch, out[row])


@inner
def product(threads: Threads, x: Bytes, weight: Weight, out: Array) -> None:
    """x: rows of `activation_rows`, from `quantise`; out: (T, outputs), to be multiplied by what that returned."""
    fork(threads, _product, (x, weight, out, np.zeros(1, np.int64)))


@inner
def _product(x: Bytes, weight: Weight, out: Array, tickets: NDArray[np.int64], _part: int, _parts: int) -> None:
    """Whoever is free takes the next group of outputs, so a thread that the system holds up does not hold up the
    others; and takes it before it needs it, so that memory works while the sums before are made."""
    values, shift, scale = weight
    rows, outputs, (groups, quads) = x.shape[0], out.shape[1], values.shape[:2]
    tiles = (rows + ROWS - 1) // ROWS
    sums = np.empty((ROWS, _GROUP), np.int32)
    following = take(tickets)
    while following < groups:
        group, following = following, take(tickets)
        ahead = values[min(following, groups - 1)].ctypes.data
        first = group * _GROUP
        width = min(_GROUP, outputs - first)
        for tile in range(tiles):
            row = rows * tile // tiles
            count = rows * (tile + 1) // tiles - row
            part_ahead = ahead + quads * _PACE * tile // tiles
            dot(
                *(count, x[row:].ctypes.data, x.shape[1], values[group].ctypes.data, quads, sums.ctypes.data),
                *(part_ahead, _PACE // tiles),
            )
            for index in range(count):
                into, total = out[row + index, first : first + width], sums[index]
                for i in range(width):
                    into[i] = F32(total[i] - shift[first + i]) * scale[first + i]


@kernel
def affine(threads: Threads, x: Array, rows: Bytes, weight: Weight, bias: Array, out: Array) -> None:
    """x: (T, inputs); rows: `activation_rows` for them; bias: (outputs,) or empty; out: (T, outputs)."""
    scale = np.empty(x.shape[0], F32)
    fork(threads, quantise_rows, (x, rows, scale))
    product(threads, rows, weight, out)
    fork(threads, finish_rows, (out, scale, bias))


@inner
def finish_rows(out: Array, scale: Array, bias: Array, part: int, parts: int) -> None:
    """Multiply part of a product (T, outputs) by its scale and add a bias, which may be empty; in place."""
    for row in share(out.shape[0], part, parts):
        of, by = out[row], scale[row]
        if bias.shape[0]:
            for i in range(of.shape[0]):
                of[i] = of[i] * by + bias[i]
        else:
            for i in range(of.shape[0]):
                of[i] *= by
