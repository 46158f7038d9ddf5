"""The device side of the engine: weights, slots' state and the step. Synchronous, no threads, no clock.

One step is the chain features -> encoder -> prompt -> decoder over the rows of one class. On a GPU it is one upload,
one launch sequence and one download (`engine.cuda.step`); on a CPU, where calls cost little and arithmetic costs
much, it does just what the rows at hand need.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.api import Precision
from engine.checkpoint.weights import Checkpoint, WeightReader
from engine.chunking import FRAME_MS, chunk_samples, flush_samples
from engine.cpu.parts import INT8
from engine.cuda.graphs import Capture, cuda_capture
from engine.cuda.runner import GraphRunner
from engine.cuda.step import StaticStep
from engine.model.decoder import Emissions
from engine.model.emission import Emission
from engine.model.model import Model
from engine.model.parts import Parts
from engine.model.state import DecoderState, Rows, SlotState

__all__ = ["Emission", "StepExecutor", "flush_samples"]

logger = logging.getLogger(__name__)

_NOTICE_S = 3.0
_NOTICE = "compiling the kernels, some twenty seconds; they are kept for the next start where a disk can be written to"
"""For whoever waits for compiled kernels longer than `_NOTICE_S`."""


def parts(device: torch.device, precision: Precision) -> Parts:
    """What a model is best put together from, on that device in that precision."""
    if precision is Precision.INT8:
        return INT8
    if device.type == "cuda":
        with contextlib.suppress(ImportError):  # no Triton: torch brings it on Linux only
            from engine.cuda.ring_attention import fused_attention  # noqa: PLC0415

            return Parts(attention=fused_attention)
    return Parts()


class StepExecutor:
    """A model on one device with preallocated slots for each latency class.

    `slots`: how many slots each class has, by its chunk in milliseconds; more classes come with `allocate`.
    `max_batch`: rows of the largest step. `static`: whether steps have fixed shapes and never wait for the device in
    between; None: on GPUs. `capture`: what records them; None: CUDA graphs where there is a GPU.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        slots: Mapping[int, int],
        device: str | torch.device = "cpu",
        precision: Precision = Precision.FLOAT32,
        *,
        max_batch: int = 64,
        static: bool | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.config = checkpoint.config
        self._device = torch.device(device)
        self._model = Model(
            self.config, WeightReader(checkpoint, self._device, precision), self._device, parts(self._device, precision)
        )
        self._max_batch = max_batch
        on_gpu = self._device.type == "cuda"
        self._static = on_gpu if static is None else static
        self._capture = cuda_capture() if capture is None and on_gpu else capture
        self._states: dict[int, SlotState] = {}
        self._audio: dict[int, NDArray[np.float32]] = {}
        self._runners: dict[int, GraphRunner] = {}
        self._watchers: dict[int, DecoderState] = {}
        self._encoded: Tensor | None = None
        if precision is Precision.INT8:
            self._compile()
        for chunk_ms, count in slots.items():
            self.allocate(chunk_ms, count)

    def allocate(self, chunk_ms: int, slots: int) -> None:
        """Allocate `slots` slots of a class that has none yet, in one go."""
        for _ in self.allocating(chunk_ms, slots):
            pass

    @torch.inference_mode()
    def allocating(self, chunk_ms: int, slots: int) -> Iterator[None]:
        """Allocate `slots` slots of a class that has none yet, piece by piece. Steps of other classes may come between
        two pieces, but never on another thread during one. On a GPU this records and proves the steps of the class,
        which takes a while. Where it fails, nothing of it is kept."""
        frames = chunk_ms // FRAME_MS
        try:
            if not self._static:
                self._states[chunk_ms] = self._model.allocate(slots, frames)
                self._audio[chunk_ms] = np.empty((self._max_batch, chunk_samples(frames)), np.float32)
                return
            state = self._states[chunk_ms] = self._model.allocate(slots + 1, frames)
            step = StaticStep(self._model, state, frames, self._max_batch)
            self._audio[chunk_ms] = step.audio
            runner = self._runners[chunk_ms] = GraphRunner(step, slots, f"{chunk_ms} ms", self._capture, self._wait)
            yield from runner.prepare()
        except Exception:
            for kept in (self._states, self._audio, self._runners):
                kept.pop(chunk_ms, None)
            raise

    def audio(self, chunk_ms: int) -> NDArray[np.float32]:
        """Where the audio of the next step of an allocated class is best put: float32 (max_batch, 1280 c + 241)."""
        return self._audio[chunk_ms]

    def recorded(self, chunk_ms: int) -> int:
        """How many launch sequences of a class play from a recording."""
        runner = self._runners.get(chunk_ms)
        return len(runner.recorded) if runner is not None else 0

    @torch.inference_mode()
    def copy(self, chunk_ms: int, source: int, target: int) -> None:
        """Copy the state of slot `source`, its watcher's too, into slot `target`."""
        self._states[chunk_ms].copy(source, target)
        if chunk_ms in self._watchers:
            for tensor in self._watchers[chunk_ms].tensors:
                tensor[target].copy_(tensor[source])

    @torch.inference_mode()
    def start_watcher(self, chunk_ms: int, slot: int) -> None:
        """Give `slot` a watcher: a second decoder state for `step_watchers`, which begins as a copy of its own."""
        own = self._states[chunk_ms].decoder
        if chunk_ms not in self._watchers:
            self._watchers[chunk_ms] = DecoderState(*(torch.zeros_like(tensor) for tensor in own.tensors))
        for mine, watcher in zip(own.tensors, self._watchers[chunk_ms].tensors, strict=True):
            watcher[slot].copy_(mine[slot])

    @torch.inference_mode()
    def adopt_watcher(self, chunk_ms: int, slot: int) -> None:
        """Go on with the state of the slot's watcher in its own decoder."""
        own, watchers = self._states[chunk_ms].decoder, self._watchers[chunk_ms]
        for mine, watcher in zip(own.tensors, watchers.tensors, strict=True):
            mine[slot].copy_(watcher[slot])

    @torch.inference_mode()
    def step_watchers(self, chunk_ms: int, rows: Sequence[int], slots: Sequence[int], prompt: int) -> list[Emission]:
        """Decode some rows of the last step, of this class, once more under another prompt, for their slots' watchers.

        Returns the tokens, `row` counted in `rows`, of each row in order of time.
        """
        assert self._encoded is not None
        index = torch.tensor([rows, slots, [prompt] * len(rows)], device=self._device)
        encoded = self._model.encoder.prompted(self._encoded.index_select(0, index[0]), index[2])
        found = self._model.decoder.step(encoded, self._watchers[chunk_ms], Rows(index[1], index[0], None))
        return _emissions(found)

    @torch.inference_mode()
    def step(
        self,
        chunk_ms: int,
        audio: NDArray[np.float32],
        slots: Sequence[int],
        chunks: Sequence[int],
        prompts: Sequence[int],
    ) -> list[Emission]:
        """Advance B streams of one class by one chunk.

        audio: float32 (B, 1280 c + 241), each row from `chunking.chunk_begin` to `chunk_end` of its chunk; slots:
        B different slots; chunks: how many each stream has had before, with 0 a slot starts afresh; prompts: language
        indices (ignored by a checkpoint without prompt). Returns the tokens, of each row in order of time.
        """
        runner = self._runners.get(chunk_ms)
        if runner is not None:
            emissions = runner.run(audio, slots, chunks, prompts)
            self._encoded = runner.encoded
            return emissions
        state = self._states[chunk_ms]
        uploaded, rows, language = self._upload(audio, slots, chunks, prompts)
        self._encoded = encoded = self._model.encode(uploaded, rows, state)
        found = self._model.decoder.step(self._model.encoder.prompted(encoded, language), state.decoder, rows)
        return _emissions(found)

    @torch.inference_mode()
    def encode(
        self,
        chunk_ms: int,
        audio: NDArray[np.float32],
        slots: Sequence[int],
        chunks: Sequence[int],
        prompts: Sequence[int],
    ) -> Tensor:
        """The encoder's part of `step` alone: (B, c, d_model), after the prompt. For tests and benchmarks."""
        assert audio.shape[1] == chunk_samples(chunk_ms // FRAME_MS)
        uploaded, rows, language = self._upload(audio, slots, chunks, prompts)
        return self._model.encoder.prompted(self._model.encode(uploaded, rows, self._states[chunk_ms]), language)

    @torch.inference_mode()
    def _compile(self) -> None:
        """Have the kernels of the 8-bit step compiled, or read from disk, before a session waits for them."""
        frames = min(self.config.chunk_frames)
        audio, rows, _ = self._upload(np.zeros((1, chunk_samples(frames)), np.float32), [0], [0], [0])
        notice = threading.Timer(_NOTICE_S, logger.warning, [_NOTICE])
        notice.daemon = True
        notice.start()
        try:
            self._model.encode(audio, rows, self._model.allocate(1, frames))
        finally:
            notice.cancel()
            notice.join()

    def _upload(
        self, audio: NDArray[np.float32], slots: Sequence[int], chunks: Sequence[int], prompts: Sequence[int]
    ) -> tuple[Tensor, Rows, Tensor]:
        index = torch.tensor([slots, chunks, prompts], device=self._device)  # int64 (3, B)
        begins = index[1] == 0 if 0 in chunks else None
        return torch.from_numpy(audio).to(self._device), Rows(index[0], index[1], begins), index[2]

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.current_stream().synchronize()


def _emissions(found: Emissions) -> list[Emission]:
    """Tokens of a step as the host handles them; the first copy waits for the device."""
    numbers = torch.stack([found.rows, found.tokens, found.frames]).tolist()
    return [Emission(*item) for item in zip(*numbers, found.probabilities.tolist(), strict=True)]
