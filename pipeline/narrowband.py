"""8 kHz audio of all legs to 16 kHz, together: one table look-up and one matrix product for many blocks.

Blocks of 20 ms are put into a batch and run at the tick, or, where a whole block of each of many legs is there at
once, doubled without it. Each leg has a row of filter history: the last samples that the filter has seen of it.

Legs are computed together and fail apart: a product that cannot be computed for all is computed leg by leg, so that
the one at fault is found.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Encoding
from pipeline.g711 import ALAW_OFFSET, FLOAT_TABLE, MULAW_OFFSET, SILENCE
from pipeline.resample import BLOCK, HISTORY, half_band, on_grid

NARROWBAND_HZ = 8_000
OFFSETS = {Encoding.PCMU: MULAW_OFFSET, Encoding.PCMA: ALAW_OFFSET}
"""Of a code as an index into `g711.FLOAT_TABLE`."""

_INT16_SCALE = np.float32(1 / 32768)


class BlockOwner(Protocol):
    """Whose blocks these are. `row`: of its filter history."""

    row: int

    def emit(self, pcm: NDArray[np.float32], /) -> None:
        """Take consecutive samples: float32 (T,), 16 kHz. Raises nothing."""

    def fail(self, error: Exception, /) -> None:
        """Its blocks cannot be computed."""


@dataclass(slots=True)
class _Blocks:
    """Rows of `NarrowbandBatch._codes`: whose they are, how many samples they have; those that are no codes, as
    float32."""

    owners: list[BlockOwner]
    lengths: list[int]
    linear: list[tuple[int, NDArray[np.float32]]]


class NarrowbandBatch:
    """`batch_rows`: blocks filtered in one product; a tick with more is done in several. `legs`: rows of history."""

    def __init__(self, batch_rows: int, legs: int) -> None:
        self._history = np.zeros((legs, HISTORY), np.float32)
        self._codes = np.empty((batch_rows, BLOCK), np.int16)
        self._blocks = _Blocks([], [], [])

    def __len__(self) -> int:
        """Rows of history."""
        return len(self._history)

    def grow(self) -> None:
        """Twice as many rows of history."""
        self._history = np.concatenate([self._history, np.zeros_like(self._history)])

    def begin(self, row: int) -> None:
        """What comes of this row does not go on with what was."""
        self._history[row] = 0.0

    def put(self, owner: BlockOwner, samples: NDArray[np.generic], encoding: Encoding) -> None:
        """Add consecutive samples of a leg, at 8 kHz; runs a batch that is full."""
        for at in range(0, samples.size, BLOCK):
            if len(self._blocks.owners) == len(self._codes):
                self.run()
            blocks, block = self._blocks, samples[at : at + BLOCK]
            row, size = len(blocks.owners), block.size
            if encoding is Encoding.PCMU or encoding is Encoding.PCMA:
                self._codes[row, :size] = block
                if encoding is Encoding.PCMA:
                    self._codes[row, :size] += ALAW_OFFSET
                if size < BLOCK:
                    self._codes[row, size:] = SILENCE
            else:
                self._codes[row] = SILENCE
                blocks.linear.append((row, on_grid(to_float(block, encoding))))
            blocks.owners.append(owner)
            blocks.lengths.append(size)

    def run(self) -> None:
        """Decode and resample what was put, and emit it to its owners. Raises nothing."""
        blocks, owners = self._blocks, self._blocks.owners
        if not owners:
            return
        self._blocks = _Blocks([], [], [])
        cuts = [0, *(row for row in range(1, len(owners)) if owners[row] is not owners[row - 1]), len(owners)]
        runs = list(pairwise(cuts))
        try:
            self._run(blocks, runs)
        except Exception:  # noqa: BLE001 - some leg's: found by itself
            for run in runs:
                try:
                    self._run(blocks, [run])
                except Exception as error:  # noqa: BLE001 - of this leg alone
                    owners[run[0]].fail(error)

    def double(self, rows: NDArray[np.int64], codes: NDArray[np.int16]) -> NDArray[np.float32]:
        """One whole block of each of these legs, none of them twice and none with blocks in the batch.

        `rows`: (n,). `codes`: (n, 160), G.711 as indices into `g711.FLOAT_TABLE`. Returns float32 (n, 320), 16 kHz.
        Nothing has changed where it raises.
        """
        x = np.empty((len(rows), HISTORY + BLOCK), np.float32)
        x[:, :HISTORY] = self._history[rows]
        x[:, HISTORY:] = FLOAT_TABLE[codes]
        y = half_band(x)
        self._history[rows] = x[:, BLOCK:]
        return y

    def _run(self, blocks: _Blocks, runs: list[tuple[int, int]]) -> None:
        """`runs`: adjacent; rows [first, end) of the batch are consecutive blocks of one leg. Nothing has changed where
        it raises."""
        begin, end = runs[0][0], runs[-1][1]
        owners, lengths = blocks.owners[begin:end], blocks.lengths[begin:end]
        x = np.empty((end - begin, HISTORY + BLOCK), np.float32)
        x[:, HISTORY:] = FLOAT_TABLE[self._codes[begin:end]]
        for row, pcm in blocks.linear:
            if begin <= row < end:
                x[row - begin, HISTORY : HISTORY + pcm.size] = pcm
        slots = [owner.row for owner in owners]
        x[:, :HISTORY] = self._history[slots]
        runs = [(first - begin, end - begin) for first, end in runs]
        for first, end in runs:
            for row in range(first + 1, end):
                x[row, :HISTORY] = x[row - 1, lengths[row - 1] : lengths[row - 1] + HISTORY]
        y = half_band(x)
        last = [end - 1 for _, end in runs]
        self._history[[slots[row] for row in last]] = x[last, BLOCK:]
        for first, end in runs:
            owner, size = owners[first], lengths[end - 1]
            if size != BLOCK:
                self._history[owner.row] = x[end - 1, size : size + HISTORY]
            if end - first == 1:
                pcm = y[first, : 2 * size]
            else:
                pcm = np.concatenate([y[row, : 2 * lengths[row]] for row in range(first, end)])
            owner.emit(pcm)


def to_float(samples: NDArray[np.generic], encoding: Encoding) -> NDArray[np.float32]:
    """Any encoding -> float32 of the same shape, [-1, 1]."""
    if encoding is Encoding.FLOAT32:
        return np.asarray(samples, np.float32)
    if encoding is Encoding.L16:
        return samples.astype(np.float32) * _INT16_SCALE
    return FLOAT_TABLE[samples.astype(np.int16) + OFFSETS[encoding]]
