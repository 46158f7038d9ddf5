"""Steps of one class on a device: staged, launched, waited for once and read; recorded and proven before use."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.cuda.graphs import Capture, Graphs, Launch
from engine.cuda.step import StaticStep
from engine.model.emission import Emission

_LAUNCH, _PROCEED = "step", "continuation"

_TICKS = 3
"""Steps of a trial: rows begin at the first or the second, so that every tick has rows that begin or go on."""

_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Largest difference of a row between the plain sequence and its recording, relative to the row."""


@dataclass(frozen=True, slots=True)
class TrialRows:
    """What the rows of a trial brought. B: rows, T: ticks and turns.

    emitted: int32 (B, T); probabilities: float32 (B, T), 0 where nothing was emitted; frames: float32
    (B, ticks * c * d_joint).
    """

    emitted: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    frames: NDArray[np.float32]


class GraphRunner:
    """Runs a `StaticStep`. `slots`: how many slots streams may use; `name`: of the class, in logs; `wait`: returns when
    the device has done all it was given."""

    def __init__(
        self, step: StaticStep, slots: int, name: str, capture: Capture | None, wait: Callable[[], None]
    ) -> None:
        self._step = step
        self._slots = slots
        self._wait = wait
        self._name = name
        self._graphs: Graphs[tuple[str, str, int]] = Graphs(capture)

    @property
    def recorded(self) -> frozenset[tuple[str, str, int]]:
        """Class, part and batch size of every graph in use."""
        return self._graphs.recorded

    @property
    def encoded(self) -> Tensor:
        """What the encoder made of the rows of the last `run`, before any prompt: (max_rows, c, d_model), valid until
        the next."""
        return self._step.encoded

    def prepare(self) -> Iterator[None]:
        """Record every batch size, then hold each against the plain sequence; yields after each of them. Streams must
        not be there yet."""
        parts: list[tuple[str, Callable[[int], None]]] = [(_LAUNCH, self._step.launch), (_PROCEED, self._step.proceed)]
        for size in reversed(self._step.sizes):  # the largest first: the others fit the memory it took
            for part, run in parts:
                self._graphs.add((self._name, part, size), lambda run=run, size=size: run(size))  # type: ignore[misc]
                yield
        self._wait()
        for size in self._step.sizes:
            for part, _ in parts:
                self._graphs.verify((self._name, part, size), self._trial(part, size), self._differences)
                yield
        self._wait()

    def run(
        self, audio: NDArray[np.float32], slots: Sequence[int], chunks: Sequence[int], prompts: Sequence[int]
    ) -> list[Emission]:
        """Advance the streams in `slots` by one chunk. Returns what they emitted, of each in order of time."""
        step, count = self._step, len(slots)
        size = step.fill(audio, slots, chunks, prompts)
        self._graphs.run((self._name, _LAUNCH, size))
        self._wait()
        found = step.emissions(count)
        while step.unfinished(count):
            self._graphs.run((self._name, _PROCEED, size))
            self._wait()
            found += step.emissions(count)
        return found

    def _trial(self, part: str, size: int) -> Callable[[Launch], TrialRows]:
        """Streams of noise through the part under trial, the other part plain."""
        step, count = self._step, min(size, self._slots)
        slots = [self._slots - 1 - row for row in range(count)]

        def trial(launch: Launch) -> TrialRows:
            rng = np.random.default_rng(size)
            emitted, probabilities, frames = [], [], []
            step.wipe(state=True)
            for tick in range(_TICKS):
                audio = (rng.standard_normal((count, step.audio.shape[1])) * 0.1).astype(np.float32)
                chunks = [max(0, tick - row % 2) for row in range(count)]
                assert step.fill(audio, slots, chunks, [0] * count) == size
                if part == _PROCEED:
                    step.launch(size)
                    step.rewind(size)
                    self._wait()
                step.wipe(state=False)
                launch()
                self._wait()
                tokens, chances = step.by_turn(count)
                emitted.append(tokens)
                probabilities.append(np.where(tokens >= 0, chances, np.float32(0)))
                frames.append(step.projected[:count].flatten(1).float().cpu().numpy())
            return TrialRows(np.hstack(emitted), np.hstack(probabilities), np.hstack(frames))

        return trial

    def _differences(self, plain: TrialRows, recorded: TrialRows) -> str:
        tolerance = _TOLERANCES[self._step.projected.dtype]
        scale = np.linalg.norm(plain.frames, axis=1) + 1e-6
        wrong = ~(np.linalg.norm(plain.frames - recorded.frames, axis=1) <= tolerance * scale)
        wrong |= (plain.emitted != recorded.emitted).any(1)
        wrong |= ~(np.abs(plain.probabilities - recorded.probabilities) <= tolerance).all(1)
        rows = np.flatnonzero(wrong)
        return f"{len(rows)} of {len(wrong)} rows differ, the first is {rows[0]}" if len(rows) else ""
