"""What a stream's past leaves behind on the device: one row of every tensor here is one slot.

Nothing else of a stream lives on the device, so a copy of a row is a copy of the stream, and memory does not grow
with the length of a call. Nothing is cleared either: a stream's first chunk sees what an earlier stream left in its
slot as nothing (`Rows.begins`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config import DecoderConfig, ModelConfig


@dataclass(frozen=True, slots=True)
class Rows:
    """The streams of one step. B: rows.

    slots: int64 (B,), where each stream's state lies; chunks: int64 (B,), chunks it has had before; begins: bool (B,),
    true where it has had none, or None where no stream of the step begins.
    """

    slots: Tensor
    chunks: Tensor
    begins: Tensor | None

    def recall(self, cache: Tensor) -> Tensor:
        """The rows of a cache (S, ...), zeros for a stream that begins: (B, ...)."""
        return self.zero_new_streams(cache.index_select(0, self.slots))

    def zero_new_streams(self, x: Tensor) -> Tensor:
        """Zero x (B, ...) in place for streams that begin."""
        if self.begins is None:
            return x
        return x.masked_fill_(self.begins.view(-1, *[1] * (x.ndim - 1)), 0)


@dataclass(frozen=True, slots=True)
class DecoderState:
    """What has been said in each slot. S: slots.

    hidden, cell: (S, layers, d) of the prediction network; predicted: (S, d_joint), its projected output.
    """

    hidden: Tensor
    cell: Tensor
    predicted: Tensor

    @classmethod
    def allocate(cls, config: DecoderConfig, slots: int, device: torch.device, dtype: torch.dtype) -> "DecoderState":
        memory = (slots, config.layers, config.hidden)
        return cls(
            hidden=torch.zeros(memory, device=device, dtype=dtype),
            cell=torch.zeros(memory, device=device, dtype=dtype),
            predicted=torch.zeros(slots, config.joint_hidden, device=device, dtype=dtype),
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.hidden, self.cell, self.predicted


@dataclass(frozen=True, slots=True)
class SlotState:
    """Preallocated state of all slots of one latency class. S: slots, N: encoder layers, c: frames a chunk.

    keys, values: (N, S, heads, ring, d_head), a ring of whole chunks: the left context and the chunk being written.
    convolution: (N, S, kernel - 1, d_model), the last input of the depthwise convolutions.
    mel: (S, 1, 1, mels), middle, deep: (S, channels, 1, bins after the first and the second of them): the frame before
    the chunk, at each of the three subsampling convolutions.
    """

    keys: Tensor
    values: Tensor
    convolution: Tensor
    mel: Tensor
    middle: Tensor
    deep: Tensor
    decoder: DecoderState

    @classmethod
    def allocate(
        cls,
        config: ModelConfig,
        slots: int,
        chunk_frames: int,
        device: torch.device,
        dtype: torch.dtype,
        ring_dtype: torch.dtype,
    ) -> "SlotState":
        encoder = config.encoder
        ring = ring_chunks(encoder.left_context, chunk_frames) * chunk_frames
        kv = (encoder.layers, slots, encoder.heads, ring, encoder.d_head)
        first_bins, second_bins, _ = config.features.subsampled_bins
        channels = encoder.subsampling_channels

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device, dtype=dtype)

        return cls(
            keys=torch.zeros(kv, device=device, dtype=ring_dtype),
            values=torch.zeros(kv, device=device, dtype=ring_dtype),
            convolution=zeros(encoder.layers, slots, encoder.conv_kernel - 1, encoder.d_model),
            mel=zeros(slots, 1, 1, config.features.mels),
            middle=zeros(slots, channels, 1, first_bins),
            deep=zeros(slots, channels, 1, second_bins),
            decoder=DecoderState.allocate(config.decoder, slots, device, dtype),
        )

    def copy(self, source: int, target: int) -> None:
        """Make slot `target` the same stream as slot `source`."""
        for tensor in self._by_slot():
            tensor[target].copy_(tensor[source])

    def wipe(self) -> None:
        """Zero all slots, as they were when allocated."""
        for tensor in self._by_slot():
            tensor.zero_()

    def _by_slot(self) -> list[Tensor]:
        """Views of all tensors, each with the slots first."""
        per_layer = (self.keys, self.values, self.convolution)
        per_slot = (self.mel, self.middle, self.deep, *self.decoder.tensors)
        return [*(tensor.transpose(0, 1) for tensor in per_layer), *per_slot]


def ring_chunks(left_context: int, chunk_frames: int) -> int:
    """Chunks in the ring: as many as fit the left context, and the chunk being written."""
    return left_context // chunk_frames + 1
