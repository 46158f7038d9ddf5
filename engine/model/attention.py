"""Attention of a chunk over each stream's own ring of keys and values, with relative positions.

Sits in every conformer layer between the projection to query, key and value and the output projection. A step writes
the chunk's keys and values into the ring chunk that holds the oldest ones, in place, and attends over the ring in
whatever order it stands: relative positions are picked by age, frames not of this stream are hidden. (Relative
positions: Dai et al., arXiv:1901.02860.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.config import EncoderConfig
from engine.model.state import Rows, ring_chunks

_LARGE_RINGS = 512
"""Width from which a ring is too large to be copied at every step on a CPU."""


@dataclass(frozen=True, slots=True)
class Relative:
    """A layer's share of the scores that positions have. bias_u, bias_v: (h, 1, d_head), scaled like the query.

    table: (h, d_head, R + c - 1), projected positions; column m stands for query - key = R - 1 - m.
    """

    bias_u: Tensor
    bias_v: Tensor
    table: Tensor


class LayerAttention(Protocol):
    """Attention of one step, prepared for all its layers."""

    def __call__(self, qkv: Tensor, relative: Relative, keys: Tensor, values: Tensor) -> Tensor:
        """qkv: (B, c, 3 d_model), the query scaled; keys, values: (S, h, R, d_head), a layer's rings, which get the
        chunk's. Returns (B, c, d_model)."""
        ...


Prepare = Callable[[Rows, int], LayerAttention]
"""Makes the attention of a step from its rows and c."""

Attention = Callable[[EncoderConfig, torch.device], Prepare]
"""An attention for all latency classes of an encoder."""

Mix = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Attention of every row over its slot's ring. query: (B, h, c, d_head), scaled; bias: (B, h, c, R), added to the
scores; keys, values: (S, h, R, d_head); slots: int64 (B,). Returns (B, h, c, d_head)."""


def torch_attention(config: EncoderConfig, device: torch.device) -> Prepare:
    """The one of torch's operators that costs least there."""
    large = device.type != "cuda" and config.d_model >= _LARGE_RINGS
    return in_place_attention(config, device) if large else gathered_attention(config, device)


def gathered_attention(config: EncoderConfig, device: torch.device) -> Prepare:
    """Attention over copies of the batch's rings, in two products."""
    return _composed(config, device, _mix_gathered)


def in_place_attention(config: EncoderConfig, device: torch.device) -> Prepare:
    """Attention row by row over the rings where they lie. Waits for the device, so it is for CPUs."""
    return _composed(config, device, _mix_in_place)


def _composed(config: EncoderConfig, device: torch.device, mix: Mix) -> Prepare:
    left, heads = config.left_context, config.heads

    def prepare(rows: Rows, frames: int) -> LayerAttention:
        return _Composed(heads, frames, rows.slots, mix, *_ring_view(rows, frames, ring_chunks(left, frames), device))

    return prepare


def _ring_view(rows: Rows, frames: int, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """How a batch sees rings of `count` chunks in this step, the same for all layers. R: frames in the ring.

    Returns int64 (B, 1, c, R), the column of the positional scores for each query and ring frame; bool (B, 1, 1, R),
    ring frames that hold nothing of this stream yet; int64 (B,), the ring chunk to fill.
    """
    write = rows.chunks % count  # (B,)
    place = torch.arange(count * frames, device=device)
    age = (write[:, None] - place // frames) % count  # (B, R) in chunks
    query = torch.arange(frames, device=device)
    distance = age[:, None] * frames + query[:, None] - place % frames  # (B, c, R): query - key
    return (count * frames - 1 - distance)[:, None], (age > rows.chunks[:, None])[:, None, None], write


def _mix_gathered(query: Tensor, bias: Tensor, keys: Tensor, values: Tensor, slots: Tensor) -> Tensor:
    """In one product over copies of the rings."""
    scores = query @ keys.index_select(0, slots).transpose(-1, -2)
    return (scores + bias).softmax(-1) @ values.index_select(0, slots)


def _mix_in_place(query: Tensor, bias: Tensor, keys: Tensor, values: Tensor, slots: Tensor) -> Tensor:
    """Row by row over the rings where they lie: on a CPU, copies of large rings cost more than the calls."""
    rings = slots.tolist()
    scores = torch.stack(
        [torch.baddbmm(bias[row], query[row], keys[slot].transpose(-1, -2)) for row, slot in enumerate(rings)]
    ).softmax(-1)
    return torch.stack([torch.bmm(scores[row], values[slot]) for row, slot in enumerate(rings)])


@dataclass(frozen=True, slots=True)
class _Composed:
    """Attention in torch's own operators. position, hidden, write: of the rings in this step
    (`_ring_view`)."""

    heads: int
    frames: int
    slots: Tensor
    mix: Mix
    position: Tensor
    hidden: Tensor
    write: Tensor

    def __call__(self, qkv: Tensor, relative: Relative, keys: Tensor, values: Tensor) -> Tensor:
        rows, frames = qkv.shape[:2]
        split = qkv.view(rows, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, B, h, c, dh)
        for cache, new in ((keys, split[1]), (values, split[2])):
            chunked = cache.view(cache.shape[0], self.heads, -1, frames, cache.shape[-1])
            chunked[self.slots, :, self.write] = new
        query = split[0]
        by_position = (query + relative.bias_v) @ relative.table  # (B, h, c, R + c - 1)
        bias = by_position.gather(-1, self.position.expand(-1, self.heads, -1, -1))
        bias.masked_fill_(self.hidden, -math.inf)
        mixed = self.mix(query + relative.bias_u, bias, keys, values, self.slots)  # (B, h, c, dh)
        return mixed.transpose(1, 2).reshape(rows, frames, -1)
