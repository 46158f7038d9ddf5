"""GPU kernels in Triton, each as an operator of torch, so that captures, fake tensors and counters see one launch.

Importing this raises `ImportError` where there is no Triton. Under `TRITON_INTERPRET=1` the kernels run on a CPU.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.config import EncoderConfig
from engine.model.attention import Prepare, Relative
from engine.model.state import Rows, ring_chunks


@triton.jit  # type: ignore[untyped-decorator]
def ring_attention_kernel(  # type: ignore[no-untyped-def]
    qkv,
    bias_u,
    bias_v,
    table,
    keys,
    values,
    slots,
    chunks,
    out,
    heads,
    chunk_frames: tl.constexpr,
    ring_chunks: tl.constexpr,
    d_head: tl.constexpr,
    query_block: tl.constexpr,
    ring_block: tl.constexpr,
    table_block: tl.constexpr,
    head_block: tl.constexpr,
    exact: tl.constexpr,
):
    """One row and head: write the chunk's keys and values into the ring, attend over the ring.

    The chunk's own keys and values come from `qkv` and the rest from the ring, so nothing is read that is written here.
    """
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    slot = tl.load(slots + row)
    chunk = tl.load(chunks + row)
    ring_frames: tl.constexpr = ring_chunks * chunk_frames
    table_frames: tl.constexpr = ring_frames + chunk_frames - 1
    precision: tl.constexpr = "ieee" if exact else "tf32"
    query = tl.arange(0, query_block)
    place = tl.arange(0, ring_block)
    column = tl.arange(0, table_block)
    feature = tl.arange(0, head_block)
    in_head = feature < d_head
    width = heads * d_head

    # Offsets inside a row or a ring are small: 32 bits each, added to one address.
    mine = qkv + row * chunk_frames * 3 * width + head * d_head
    asked = tl.load(
        mine + query[:, None] * (3 * width) + feature[None, :],
        mask=(query[:, None] < chunk_frames) & in_head[None, :],
        other=0.0,
    )  # (query_block, head_block)
    by_content = asked + tl.load(bias_u + head * d_head + feature, mask=in_head, other=0.0)[None, :]
    by_position = asked + tl.load(bias_v + head * d_head + feature, mask=in_head, other=0.0)[None, :]

    age = ((chunk % ring_chunks).to(tl.int32) - place // chunk_frames + ring_chunks) % ring_chunks
    valid = (place < ring_frames) & (age <= chunk)
    new = valid & (age == 0)
    old_cells = (valid & (age > 0))[:, None] & in_head[None, :]
    new_cells = new[:, None] & in_head[None, :]
    cell = place[:, None] * d_head + feature[None, :]
    arrived = (place % chunk_frames)[:, None] * (3 * width) + feature[None, :]
    ring = (slot * heads + head) * ring_frames * d_head
    new_key = tl.load(mine + width + arrived, mask=new_cells, other=0.0)
    key = tl.where(new[:, None], new_key, tl.load(keys + ring + cell, mask=old_cells, other=0.0))
    tl.store(keys + ring + cell, new_key, mask=new_cells)

    positions = tl.load(
        table + head * (d_head * table_frames) + feature[:, None] * table_frames + column[None, :],
        mask=in_head[:, None] & (column[None, :] < table_frames),
        other=0.0,
    )  # (head_block, table_block)
    by_column = tl.dot(by_position, positions, input_precision=precision)
    at = ring_frames - 1 - (age * chunk_frames - place % chunk_frames)[None, :] - query[:, None]
    at = tl.minimum(tl.maximum(at, 0), table_block - 1)
    scores = tl.dot(by_content, tl.trans(key), input_precision=precision) + tl.gather(by_column, at, 1)
    scores = tl.where(valid[None, :], scores, float("-inf"))
    share = tl.exp(scores - tl.max(scores, 1)[:, None])
    share = share / tl.sum(share, 1)[:, None]
    new_value = tl.load(mine + 2 * width + arrived, mask=new_cells, other=0.0)
    value = tl.where(new[:, None], new_value, tl.load(values + ring + cell, mask=old_cells, other=0.0))
    tl.store(values + ring + cell, new_value, mask=new_cells)
    mixed = tl.dot(share.to(value.dtype), value, input_precision=precision)
    tl.store(
        out + row * chunk_frames * width + head * d_head + query[:, None] * width + feature[None, :],
        mixed.to(value.dtype),
        mask=(query[:, None] < chunk_frames) & in_head[None, :],
    )


OPTIONS = {"num_warps": 8, "enable_fp_fusion": True}
"""Of every kernel here. With four warps the larger classes spill registers."""


def ring_attention_constants(frames: int, ring_chunks: int, d_head: int, exact: bool) -> dict[str, Any]:
    """Compile-time values of the kernel for a class. exact: products of float32 in full."""
    ring = ring_chunks * frames
    return {
        "chunk_frames": frames,
        "ring_chunks": ring_chunks,
        "d_head": d_head,
        "query_block": _block(frames),
        "ring_block": _block(ring),
        "table_block": _block(ring + frames - 1),
        "head_block": _block(d_head),
        "exact": exact,
    }


def _block(size: int) -> int:
    """Tensor cores take powers of two, 16 at least."""
    return int(max(16, triton.next_power_of_2(size)))


@torch.library.custom_op("trunkline::ring_attention", mutates_args=("keys", "values"))
def ring_attention(
    qkv: Tensor,
    bias_u: Tensor,
    bias_v: Tensor,
    table: Tensor,
    keys: Tensor,
    values: Tensor,
    slots: Tensor,
    chunks: Tensor,
    ring_chunks: int,
) -> Tensor:
    """As `model.attention.LayerAttention` says; bias_u, bias_v: (h, 1, d_head); table: (h, d_head, R + c - 1)."""
    rows, frames = qkv.shape[:2]
    heads, d_head = keys.shape[1], keys.shape[3]
    out = torch.empty(rows, frames, heads * d_head, device=qkv.device, dtype=qkv.dtype)
    constants = ring_attention_constants(frames, ring_chunks, d_head, qkv.dtype is torch.float32)
    ring_attention_kernel[(rows, heads)](
        qkv, bias_u, bias_v, table, keys, values, slots, chunks, out, heads, **constants, **OPTIONS
    )
    return out


@ring_attention.register_fake
def _(qkv: Tensor, *_others: object) -> Tensor:
    return qkv.new_empty(qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3)


def fused_attention(config: EncoderConfig, _device: torch.device) -> Prepare:
    """Attention in one launch a layer, for all latency classes of an encoder."""
    return lambda rows, frames: _Fused(rows, ring_chunks(config.left_context, frames))


@dataclass(frozen=True, slots=True)
class _Fused:
    rows: Rows
    ring_chunks: int

    def __call__(self, qkv: Tensor, relative: Relative, keys: Tensor, values: Tensor) -> Tensor:
        where = self.rows.slots, self.rows.chunks, self.ring_chunks
        mixed: Tensor = ring_attention(qkv, relative.bias_u, relative.bias_v, relative.table, keys, values, *where)
        return mixed
