"""The prediction network in float32 on a CPU, beside 8-bit weights everywhere else.

Its state is the one memory of a session that no left context bounds. Rounded to 8 bits at every token it never loses
the trace of what was said long before: a difference in the last bit of a sum that lies on the edge between two values
comes out whole and is carried on. In float32 such a difference stays one of the last bit and dies out. Sums go in one
order on every CPU and in any batch, so what a session says does not depend on who speaks beside it.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.cpu.jit import F32, I32, Array, exact_inner, exact_kernel, plain, share
from engine.cpu.openmp import Threads, all_threads, fork

_TAKEN = 8
"""Inputs that are added in one pass over a strip's sums."""

_STRIP = 640
"""Outputs that are summed at a time. Longer ones keep more of memory's streams busy, shorter ones more threads."""

_LOG2E, _LN2 = F32(1.4426950408889634), F32(0.6931471805599453)
_C2, _C3, _C4, _C5, _C6 = F32(1 / 2), F32(1 / 6), F32(1 / 24), F32(1 / 120), F32(1 / 720)


class PackedLinear(NamedTuple):
    """weight: float32 (strips, inputs, `_STRIP`), inputs filled up with zeros to a multiple of `_TAKEN`, outputs to
    whole strips; bias: (strips * `_STRIP`,)."""

    weight: Array
    bias: Array


class CpuPredictor:
    """`lstm`: for each layer its weights of the input and of the hidden state, (4 d, d), and the sum of their biases,
    (4 d,); gates in torch's order: input, forget, cell, output. `out`: the projection into the joint network, (J, d),
    and its bias (J,)."""

    def __init__(self, lstm: list[tuple[Tensor, Tensor, Tensor]], out: tuple[Tensor, Tensor]) -> None:
        self._lstm = tuple(plain(_packed(torch.cat([x, hidden], 1), bias)) for x, hidden, bias in lstm)
        self._out = plain(_packed(*out))
        self._outputs = len(out[1])

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (B, d); hidden, cell: (B, layers, d). Returns the new two and the projected output (B, J)."""
        new_hidden, new_cell = torch.empty_like(hidden), torch.empty_like(cell)
        predicted = torch.empty(len(x), self._outputs)
        given = x.contiguous().numpy(), hidden.contiguous().numpy(), cell.contiguous().numpy()
        made = new_hidden.numpy(), new_cell.numpy(), predicted.numpy()
        predict(all_threads(), self._lstm, self._out, given, made)
        return new_hidden, new_cell, predicted


def _packed(weight: Tensor, bias: Tensor) -> PackedLinear:
    """weight: (outputs, inputs)."""
    outputs, inputs = weight.shape
    more = -outputs % _STRIP
    filled = torch.nn.functional.pad(weight, (0, -inputs % _TAKEN, 0, more))
    packed = filled.view(-1, _STRIP, filled.shape[1]).transpose(1, 2).contiguous()
    return PackedLinear(packed.numpy(), torch.nn.functional.pad(bias, (0, more)).numpy())


@exact_kernel
def predict(
    threads: Threads,
    lstm: tuple[tuple[Array, Array], ...],
    out: tuple[Array, Array],
    given: tuple[Array, Array, Array],
    made: tuple[Array, Array, Array],
) -> None:
    """One token more. given: x (B, d), hidden and cell (B, layers, d); made: hidden, cell and predicted (B, J)."""
    x, hidden, cell = given
    new_hidden, new_cell, predicted = made
    rows, size = x.shape
    gates = np.empty((rows, 4 * size), F32)
    for layer in range(len(lstm)):
        weight, bias = lstm[layer]
        joined = np.zeros((rows, weight.shape[1]), F32)
        for row in range(rows):
            joined[row, :size] = x[row] if layer == 0 else new_hidden[row, layer - 1]
            joined[row, size : 2 * size] = hidden[row, layer]
        fork(threads, _multiply, (joined, weight, bias, gates))
        for row in range(rows):
            _remember(gates[row], cell[row, layer], new_cell[row, layer], new_hidden[row, layer])
    weight, bias = out
    last = np.zeros((rows, weight.shape[1]), F32)
    for row in range(rows):
        last[row, :size] = new_hidden[row, len(lstm) - 1]
    fork(threads, _multiply, (last, weight, bias, predicted))


@exact_inner
def _multiply(x: Array, weight: Array, bias: Array, out: Array, part: int, parts: int) -> None:
    """x (B, inputs) times weight, plus bias, into out (B, outputs): this thread's strips of outputs. The sum of each
    begins with the bias and takes the inputs in order."""
    rows, outputs, (strips, inputs) = x.shape[0], out.shape[1], weight.shape[:2]
    sums = np.empty((rows, _STRIP), F32)
    for strip in share(strips, part, parts):
        by, first = weight[strip], strip * _STRIP
        for row in range(rows):
            sums[row] = bias[first : first + _STRIP]
        for k in range(0, inputs, _TAKEN):
            near, far = (by[k], by[k + 1], by[k + 2], by[k + 3]), (by[k + 4], by[k + 5], by[k + 6], by[k + 7])
            for row in range(rows):
                of = x[row]
                _add(of[k : k + 4], near, sums[row])
                _add(of[k + 4 : k + 8], far, sums[row])
        width = min(_STRIP, outputs - first)
        for row in range(rows):
            out[row, first : first + width] = sums[row, :width]


@exact_inner
def _add(x: Array, weights: tuple[Array, Array, Array, Array], out: Array) -> None:
    """Four inputs x (4,) times their weights, each (`_STRIP`,), one after the other onto out (`_STRIP`,)."""
    w0, w1, w2, w3 = weights
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    for n in range(_STRIP):
        out[n] = out[n] + x0 * w0[n] + x1 * w1[n] + x2 * w2[n] + x3 * w3[n]


@exact_inner
def _remember(gates: Array, cell: Array, new_cell: Array, new_hidden: Array) -> None:
    """An LSTM's cell: gates (4 d,), the others (d,)."""
    size = cell.shape[0]
    enter, forget, update, leave = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size :]
    for i in range(size):
        new_cell[i] = _sigmoid(forget[i]) * cell[i] + _sigmoid(enter[i]) * _tanh(update[i])
    for i in range(size):
        new_hidden[i] = _sigmoid(leave[i]) * _tanh(new_cell[i])


@exact_inner
def _exp(x: np.float32) -> np.float32:
    """e to the x for |x| <= 87, to 3e-7 of itself: a power of two put into the exponent, times a polynomial."""
    t = x * _LOG2E
    whole = np.floor(t + F32(0.5))
    f = (t - whole) * _LN2
    p = F32(1) + f * (F32(1) + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    power: np.float32 = I32(I32(I32(whole) + I32(127)) << I32(23)).view(F32)
    y: np.float32 = p * power
    return y


@exact_inner
def _sigmoid(x: np.float32) -> np.float32:
    y = -x
    y = y if y < F32(80) else F32(80)
    y = y if y > F32(-80) else F32(-80)
    return F32(1) / (F32(1) + _exp(y))


@exact_inner
def _tanh(x: np.float32) -> np.float32:
    return F32(2) * _sigmoid(F32(2) * x) - F32(1)
