"""Tests of the GPU kernels on a CPU, by Triton's interpreter.

`test_ring_attention` runs them in a process of their own, because the interpreter must be chosen before Triton is
imported.
"""

import os

import pytest
import torch
from torch import Tensor

from engine.config import EncoderConfig
from engine.cuda.ring_attention import fused_attention
from engine.model.attention import Attention, Relative, gathered_attention, in_place_attention
from engine.model.state import Rows, ring_chunks

SLOTS = 7
CPU = torch.device("cpu")


def encoder_config(heads: int, d_head: int, left: int, frames: int) -> EncoderConfig:
    return EncoderConfig(
        layers=1,
        d_model=heads * d_head,
        heads=heads,
        d_ff=8,
        conv_kernel=9,
        subsampling_channels=8,
        use_bias=False,
        xscaling=False,
        left_context=left,
        lookaheads=(frames - 1,),
    )


@pytest.fixture(scope="module", autouse=True)
def interpreter() -> None:
    assert os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.parametrize("wraps", [0, 1, 3], ids=["first chunks", "full ring", "long session"])
@pytest.mark.parametrize(
    ("batch", "heads", "d_head", "frames", "left"),
    [
        (1, 2, 16, 1, 56),
        (4, 4, 36, 2, 56),
        (3, 2, 32, 4, 56),
        (2, 3, 24, 7, 28),
        (3, 2, 40, 14, 70),
        (2, 1, 128, 1, 56),
    ],
)
@pytest.mark.parametrize("kind", [fused_attention, in_place_attention], ids=["fused", "in-place"])
def test_attention_equals_that_over_copies(
    kind: Attention, batch: int, heads: int, d_head: int, frames: int, left: int, wraps: int
) -> None:
    config, count = encoder_config(heads, d_head, left, frames), ring_chunks(left, frames)
    generator = torch.Generator().manual_seed(frames)

    def rand(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    relative = Relative(
        rand(heads, 1, d_head), rand(heads, 1, d_head), rand(heads, d_head, count * frames + frames - 1)
    )
    keys, values = rand(2, SLOTS, heads, count * frames, d_head)
    slots = torch.randperm(SLOTS, generator=generator)[:batch]
    for chunk in range(wraps * count, wraps * count + 3):
        # The rows are at different chunks of their streams, one of them at its first.
        rows = Rows(slots, torch.tensor([chunk, 0, chunk + 1, chunk + count - 1][:batch]), None)
        qkv = rand(batch, frames, 3 * heads * d_head)
        qkv[..., : heads * d_head] /= d_head**0.5
        wanted, found = [
            (one(config, CPU)(rows, frames)(qkv, relative, *copies), *copies)
            for one in (gathered_attention, kind)
            for copies in [(keys.clone(), values.clone())]
        ]
        torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=1e-5)
        assert found[1].equal(wanted[1]), "the rings differ: keys"
        assert found[2].equal(wanted[2]), "the rings differ: values"
        assert not wanted[1].equal(keys)
        keys, values = found[1], found[2]


def test_half_precision_differs_by_its_rounding_only() -> None:
    config = encoder_config(2, 64, 56, 2)
    generator = torch.Generator().manual_seed(2)

    def rand(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    relative = Relative(rand(2, 1, 64) / 8, rand(2, 1, 64) / 8, rand(2, 64, 59))
    keys, values = rand(2, SLOTS, 2, 58, 64)
    qkv = rand(3, 2, 3 * 128) / 4
    rows = Rows(torch.tensor([5, 0, 3]), torch.tensor([0, 4, 99]), None)
    wanted = gathered_attention(config, CPU)(rows, 2)(qkv, relative, keys.clone(), values.clone())
    half = Relative(relative.bias_u.half(), relative.bias_v.half(), relative.table.half())
    found = fused_attention(config, CPU)(rows, 2)(qkv.half(), half, keys.half(), values.half())
    assert found.dtype is torch.float16
    torch.testing.assert_close(found.float(), wanted, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("frames", [1, 14])
def test_rows_on_one_slot_leave_other_slots_alone(frames: int) -> None:
    """As the rows of padding do, which all work on the scratch slot."""
    config, count = encoder_config(2, 16, 56, frames), ring_chunks(56, frames)
    generator = torch.Generator().manual_seed(frames)

    def rand(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    relative = Relative(rand(2, 1, 16), rand(2, 1, 16), rand(2, 16, count * frames + frames - 1))
    keys, values = rand(2, SLOTS, 2, count * frames, 16)
    before = keys.clone(), values.clone()
    rows = Rows(torch.tensor([6, 6, 2]), torch.tensor([0, 0, 8]), None)
    fused_attention(config, CPU)(rows, frames)(rand(3, frames, 96), relative, keys, values)
    written = torch.arange(8 % count * frames, (8 % count + 1) * frames)
    others = [slot for slot in range(SLOTS) if slot not in {2, 6}]
    kept = [place for place in range(count * frames) if place not in written.tolist()]
    for ring, was in zip((keys, values), before, strict=True):
        assert ring[others].equal(was[others])
        assert ring[2][:, kept].equal(was[2][:, kept])
        assert not ring[2][:, written].equal(was[2][:, written])
