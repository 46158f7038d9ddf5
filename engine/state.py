"""What a stream's past leaves behind on the device: one row of every tensor here is one slot.

Nothing else of a stream lives on the device, so a copy of a row is a copy of the stream, and memory does not grow
with the length of a call.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from engine.config import ModelConfig


@dataclass(frozen=True, slots=True)
class SlotState:
    """Preallocated state of all slots of one latency class. S: slots, N: encoder layers, c: frames a chunk.

    keys, values: (N, S, heads, ring, d_head), a ring of whole chunks: the left context and the chunk being written.
    convolution: (N, S, kernel - 1, d_model), the last input of the depthwise convolutions.
    mel: (S, 1, 1, mels), middle: (S, channels, 1, mels / 2 + 1), deep: (S, channels, 1, mels / 4 + 1): the frame
    before the chunk, at each of the three subsampling convolutions.
    hidden, cell: (S, layers, d) of the prediction network; predicted: (S, d_joint), its projected output.
    """

    keys: Tensor
    values: Tensor
    convolution: Tensor
    mel: Tensor
    middle: Tensor
    deep: Tensor
    hidden: Tensor
    cell: Tensor
    predicted: Tensor

    @classmethod
    def allocate(
        cls, config: ModelConfig, slots: int, chunk_frames: int, device: torch.device, dtype: torch.dtype
    ) -> "SlotState":
        encoder, decoder = config.encoder, config.decoder
        ring = ring_chunks(encoder.left_context, chunk_frames) * chunk_frames
        kv = (encoder.layers, slots, encoder.heads, ring, encoder.d_model // encoder.heads)
        half = config.features.mels // 2 + 1
        channels = encoder.subsampling_channels

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device, dtype=dtype)

        return cls(
            keys=zeros(*kv),
            values=zeros(*kv),
            convolution=zeros(encoder.layers, slots, encoder.conv_kernel - 1, encoder.d_model),
            mel=zeros(slots, 1, 1, config.features.mels),
            middle=zeros(slots, channels, 1, half),
            deep=zeros(slots, channels, 1, half // 2 + 1),
            hidden=zeros(slots, decoder.layers, decoder.hidden),
            cell=zeros(slots, decoder.layers, decoder.hidden),
            predicted=zeros(slots, decoder.joint_hidden),
        )

    def copy(self, source: int, target: int) -> None:
        """Make slot `target` the same stream as slot `source`."""
        for field in fields(self):
            tensor = getattr(self, field.name)
            rows = tensor.transpose(0, 1) if field.name in _PER_LAYER else tensor
            rows[target].copy_(rows[source])

    def clear(self, slot: int) -> None:
        """Forget the stream in `slot`. Old keys and values stay: a new stream's mask never shows them."""
        self.convolution[:, slot] = 0
        for tensor in (self.mel, self.middle, self.deep):
            tensor[slot] = 0

    @property
    def bytes_per_slot(self) -> int:
        tensors: list[Tensor] = [getattr(self, field.name) for field in fields(self)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) // self.mel.shape[0]


_PER_LAYER = ("keys", "values", "convolution")


def ring_chunks(left_context: int, chunk_frames: int) -> int:
    """Chunks in the ring: as many as fit the left context, and the chunk being written."""
    return left_context // chunk_frames + 1
