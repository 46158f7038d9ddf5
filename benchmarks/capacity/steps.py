"""Our own step by itself: its time by batch size, and beside it the time of its weight products alone."""

import functools
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.api import Precision
from engine.checkpoint.weights import Checkpoint
from engine.config import ModelConfig
from engine.cpu.jit import plain
from engine.cpu.openmp import all_threads
from engine.cpu.product import Int8Linear, activation_rows, pack, product
from engine.executor import StepExecutor
from engine.model.linear import float_linear
from testing.audio import babble
from testing.streams import window

_FULL = 64
"""Encoder frames of history from which caches are full: streams begin as if they had so many."""

_WARM = 3


@dataclass(frozen=True, slots=True)
class Steps:
    """Seconds of a step: median and 95th percentile; `tokens`: a second a stream."""

    median: float
    p95: float
    tokens: float


class OurSteps:
    """The engine's step executor in one precision."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision, most: int, device: str = "cpu") -> None:
        self.precision = precision
        self._config = checkpoint.config
        self._most = most
        self._executor = StepExecutor(checkpoint, {}, device, precision, max_batch=most)
        self._classes: set[int] = set()

    def measure(self, chunk_ms: int, rows: int, rounds: int) -> Steps:
        """Streams with full caches, each with its own audio, in steps one after the other."""
        frames = chunk_ms // 80
        if chunk_ms not in self._classes:
            self._executor.allocate(chunk_ms, self._most)
            self._classes.add(chunk_ms)
        past = -(-_FULL // frames)
        signals = [babble((_WARM + rounds + 4) * frames * 0.08, row % 8) for row in range(rows)]
        slots, times, tokens = list(range(rows)), list[float](), 0
        for step in range(_WARM + rounds):
            audio = np.stack([window(signal, step, frames) for signal in signals])
            at = time.perf_counter()
            said = self._executor.step(chunk_ms, audio, slots, [past + step] * rows, [101 % self._prompts] * rows)
            if step >= _WARM:
                times.append(time.perf_counter() - at)
                tokens += len(said)
        rate = tokens / (rows * rounds * chunk_ms / 1000)
        return Steps(statistics.median(times), float(np.quantile(times, 0.95)), rate)

    @property
    def _prompts(self) -> int:
        return self._config.prompt.count if self._config.prompt is not None else 1

    def products(self, chunk_ms: int, rows: int, rounds: int) -> float:
        """Seconds of the weight products of the encoder's layers alone, in the fastest way that torch and we have."""
        exact = rows * chunk_ms // 80
        padded = -(-exact // 8) * 8  # some kernels are slower for a few rows than for eight
        ways = [_torchs, _ours_in_8_bits] if self.precision is Precision.INT8 else [_ours]
        return min(products_s(self._config, way, self.precision, n, rounds) for way in ways for n in {exact, padded})


Product = Callable[[Tensor], object]


def products_s(
    config: ModelConfig, way: Callable[[Tensor, Precision], Product], precision: Precision, rows: int, rounds: int
) -> float:
    """Median time of all layers' weight products for so many rows of activations, one after the other.

    Each layer has its own weights, as in the model, so that they come from memory and not from a cache.
    """
    d, ff = config.encoder.d_model, config.encoder.d_ff
    shapes = [(ff, d), (d, ff), (3 * d, d), (d, d), (2 * d, d), (d, d), (ff, d), (d, ff)]
    with torch.inference_mode():
        layers = [[way(torch.randn(shape) * 0.02, precision) for shape in shapes] for _ in range(config.encoder.layers)]
        inputs = {width: torch.randn(rows, width) for width in (d, ff)}
        times = []
        for _ in range(rounds + 2):
            at = time.perf_counter()
            for layer in layers:
                for product, (_, width) in zip(layer, shapes, strict=True):
                    product(inputs[width])
            times.append(time.perf_counter() - at)
    return statistics.median(times[2:])


def _ours(weight: Tensor, precision: Precision) -> Product:
    return (Int8Linear if precision is Precision.INT8 else float_linear)(weight, None)


def _ours_in_8_bits(weight: Tensor, _precision: Precision) -> Product:
    """Of rows that are rounded already."""
    packed = pack(weight)
    values = plain(packed)

    def multiply(x: Tensor) -> NDArray[np.float32]:
        out = np.empty((len(x), packed.outputs), np.float32)
        product(all_threads(), _rounded(*x.shape), values, out)
        return out

    return multiply


@functools.cache
def _rounded(rows: int, inputs: int) -> NDArray[np.uint8]:
    rounded = activation_rows(rows, inputs)
    rounded[:] = 3
    return rounded


def _torchs(weight: Tensor, _precision: Precision) -> Product:
    """FBGEMM's, which rounds the rows too."""
    with warnings.catch_warnings():  # torch will give up its quantised tensors
        warnings.simplefilter("ignore", UserWarning)
        quantized = torch.quantize_per_tensor(weight, 0.001, 0, torch.qint8)
    engine, torch.backends.quantized.engine = torch.backends.quantized.engine, "fbgemm"
    packed = torch.ops.quantized.linear_prepack(quantized, None)
    torch.backends.quantized.engine = engine
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, reduce_range=False)
