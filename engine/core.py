"""The device side of the engine: weights, slots' state and the step. Synchronous, no threads, no clock.

One step is one upload (audio and indices of all rows), the chain features -> encoder -> prompt -> decoder, and one
download (the tokens that were emitted).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.chunking import FRAME_MS, chunk_samples, flush_samples
from engine.decoder import Decoder
from engine.encoder import Encoder
from engine.features import LogMel
from engine.state import SlotState
from engine.weights import Checkpoint, WeightReader

__all__ = ["Core", "Emission", "flush_samples"]


@dataclass(frozen=True, slots=True)
class Emission:
    """One token: `row` of the batch, `frame` of the chunk, `probability` of the token when it was chosen."""

    row: int
    token: int
    frame: int
    probability: float


class Core:
    """A model on one device with preallocated slots for each latency class.

    `slots`: how many slots each class has, by its chunk in milliseconds; more classes come with `allocate`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        slots: Mapping[int, int],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = checkpoint.config
        self._device = torch.device(device)
        self._dtype = dtype
        weights = WeightReader(checkpoint, self._device, dtype)
        with torch.inference_mode():
            self._features = LogMel(self.config.features, weights.in_float32(), self._device)
            self._encoder = Encoder(self.config, weights, self._device, dtype)
            self._decoder = Decoder(self.config, weights)
        self._states: dict[int, SlotState] = {}
        for chunk_ms, count in slots.items():
            self.allocate(chunk_ms, count)

    @torch.inference_mode()
    def allocate(self, chunk_ms: int, slots: int) -> None:
        """Make room for `slots` streams of a class that has none yet."""
        frames = chunk_ms // FRAME_MS
        self._states[chunk_ms] = SlotState.allocate(self.config, slots, frames, self._device, self._dtype)

    @torch.inference_mode()
    def clear(self, chunk_ms: int, slot: int) -> None:
        """Make `slot` a stream that has heard nothing."""
        state = self._states[chunk_ms]
        state.clear(slot)
        self._decoder.clear(state, slot)

    @torch.inference_mode()
    def copy(self, chunk_ms: int, source: int, target: int) -> None:
        """Make `target` the same stream as `source`."""
        self._states[chunk_ms].copy(source, target)

    def bytes_per_slot(self, chunk_ms: int) -> int:
        return self._states[chunk_ms].bytes_per_slot

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
        B different slots; chunks: how many each stream has had before; prompts: language indices (ignored by a
        checkpoint without prompt). Returns the tokens in order of emission, per row in order of time.
        """
        state = self._states[chunk_ms]
        index = torch.tensor([slots, chunks, prompts], device=self._device)  # int64 (3, B)
        uploaded = torch.from_numpy(audio).to(self._device)
        encoded = self._encode(uploaded, index, state)
        found = self._decoder.step(encoded, state, index[0])
        numbers = torch.stack([found.rows, found.tokens, found.frames]).tolist()
        return [Emission(*item) for item in zip(*numbers, found.probabilities.tolist(), strict=True)]

    @torch.inference_mode()
    def encode(
        self,
        chunk_ms: int,
        audio: NDArray[np.float32],
        slots: Sequence[int],
        chunks: Sequence[int],
        prompts: Sequence[int],
    ) -> torch.Tensor:
        """The encoder's part of `step` alone: (B, c, d_model), after the prompt. For tests and benchmarks."""
        assert audio.shape[1] == chunk_samples(chunk_ms // FRAME_MS)
        index = torch.tensor([slots, chunks, prompts], device=self._device)
        return self._encode(torch.from_numpy(audio).to(self._device), index, self._states[chunk_ms])

    def _encode(self, audio: torch.Tensor, index: torch.Tensor, state: SlotState) -> torch.Tensor:
        slots, chunks, prompts = index.unbind()
        mel = self._features(audio, (chunks > 0).float()).to(self._dtype)
        return self._encoder.step(mel, chunks, prompts, state, slots)
