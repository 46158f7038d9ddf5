"""Each kernel between the 8-bit products against the same sums in torch."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine import cpu_kernels
from engine.attention import AttentionKind, Relative, attention
from engine.config import EncoderConfig
from engine.state import Rows

Array = NDArray[np.float32]
T, D = 5, 48
TOLERANCE = 2e-5


@pytest.fixture
def draw() -> Any:
    generator = np.random.default_rng(7)

    def array(*shape: int, spread: float = 1.0) -> Array:
        return (generator.standard_normal(shape) * spread).astype(np.float32)

    return array


def layer_norm(x: Array, weight: Array, bias: Array) -> Tensor:
    return F.layer_norm(torch.from_numpy(x), (x.shape[1],), torch.from_numpy(weight), torch.from_numpy(bias), 1e-5)


def assert_brought(out: Array, scale: Array, expected: Tensor) -> None:
    """Rows fill [-1, 1], and times their scale they are what was expected."""
    assert np.abs(out).max(axis=1) == pytest.approx(1.0, abs=1e-6)
    error = np.abs(out * scale[:, None] - expected.numpy()).max() / expected.abs().max().item()
    assert error < TOLERANCE


@pytest.mark.parametrize("width", [16, 33, 48, 1024])
def test_norm(draw: Any, width: int) -> None:
    x, weight, bias = draw(T, width, spread=3.0) + 2, draw(width), draw(width)
    out, scale = np.empty_like(x), np.empty(T, np.float32)
    cpu_kernels.norm(x, weight, bias, out, scale)
    assert_brought(out, scale, layer_norm(x, weight, bias))


def test_add_norm_adds_the_product_to_the_residual(draw: Any) -> None:
    x, raw, shift, weight, bias = draw(T, D), draw(T, D), draw(D), draw(D), draw(D)
    scale = np.abs(draw(T)) + 0.1
    added = x + raw * scale[:, None] + shift
    out = np.empty_like(x)
    cpu_kernels.add_norm(x, raw, shift, weight, bias, out, scale)
    assert np.abs(x - added).max() < TOLERANCE
    assert_brought(out, scale, layer_norm(added, weight, bias))


def test_the_end_of_a_layer(draw: Any) -> None:
    x, raw, shift, weight, bias = draw(T, D), draw(T, D), draw(D), draw(D), draw(D)
    scale = np.abs(draw(T)) + 0.1
    expected = layer_norm(x + raw * scale[:, None] + shift, weight, bias)
    cpu_kernels.add_norm_out(x, raw, shift, scale, weight, bias)
    assert np.abs(x - expected.numpy()).max() < TOLERANCE


@pytest.mark.parametrize("spread", [0.01, 1.0, 200.0])
def test_swish_over_the_whole_range(draw: Any, spread: float) -> None:
    raw, shift, scale = draw(T, D, spread=spread), draw(D), np.abs(draw(T)) + 0.1
    expected = F.silu(torch.from_numpy(raw * scale[:, None] + shift))
    cpu_kernels.swish(raw, shift, scale)
    assert_brought(raw, scale, expected)


def test_a_row_of_zeros_stays_zero() -> None:
    raw, scale = np.zeros((2, D), np.float32), np.ones(2, np.float32)
    cpu_kernels.swish(raw, np.zeros(D, np.float32), scale)
    assert not raw.any()
    assert np.isfinite(scale).all()


def rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()


@pytest.mark.parametrize("frames", [1, 2, 14])
def test_attention_over_rings(draw: Any, frames: int) -> None:
    """Streams of every age in one batch, rings that begin, are half full and have wrapped; bfloat16 rings."""
    heads, d_head, left, slots = 3, 16, 28, 6
    ring = (left // frames + 1) * frames
    config = EncoderConfig(1, heads * d_head, heads, 1, 9, 16, False, False, left, (frames - 1,))
    shape = slots, heads, ring, d_head
    keys, values = torch.zeros(shape, dtype=torch.bfloat16), torch.zeros(shape, dtype=torch.bfloat16)
    plain = torch.zeros(shape), torch.zeros(shape)
    table = torch.from_numpy(draw(heads, d_head, ring + frames - 1))
    bias_u, bias_v = draw(heads, 1, d_head), draw(heads, 1, d_head)
    relative = Relative(torch.from_numpy(bias_u), torch.from_numpy(bias_v), table)
    attend = attention(AttentionKind.GATHERED, config, torch.device("cpu"))
    for step in range(2 * ring // frames + 3):
        place = torch.tensor([4, 1, 3])
        chunks = torch.tensor([step, max(step - 5, 0), max(step - ring, 0)])
        raw, shift = draw(3 * frames, 3 * heads * d_head), draw(3 * heads * d_head)
        scale = np.resize(np.array([0.5, 1.0, 2.0], np.float32), 3 * frames)  # exact factors, so that both round alike
        qkv = torch.from_numpy(raw * scale[:, None] + shift).view(3, frames, -1)
        qkv[..., heads * d_head :] = rounded(qkv[..., heads * d_head :])
        expected = attend(Rows(place, chunks, None), frames)(qkv, relative, *plain).reshape(3 * frames, -1)
        out = np.empty((3 * frames, heads * d_head), np.float32)
        cpu_kernels.attend(
            raw,
            shift,
            bias_u[:, 0],
            bias_v[:, 0],
            table.transpose(1, 2).contiguous().numpy(),
            keys.view(torch.uint16).numpy(),
            values.view(torch.uint16).numpy(),
            place.numpy(),
            chunks.numpy(),
            out,
            scale,
        )
        assert_brought(out, scale, expected)
    assert torch.equal(keys.float(), plain[0])
    assert torch.equal(values.float(), plain[1])


@pytest.mark.parametrize("frames", [1, 2, 14])
def test_attention_is_the_same_wherever_in_the_ring_the_past_lies(draw: Any, frames: int) -> None:
    heads, d_head, ring = 2, 16, 28 // frames * frames + frames
    keys, values = (np.zeros((4, heads, ring, d_head), np.uint16) for _ in range(2))
    table, bias = draw(heads, ring + frames - 1, d_head), draw(heads, d_head)
    place, chunks = np.arange(4), 1_000 + np.array([0, 1, 5, 12])
    for step in range(2 * ring // frames):
        said = draw(frames, 3 * heads * d_head)
        raw, scale = np.tile(said, (4, 1)), np.ones(4 * frames, np.float32)
        shift, out = np.zeros(3 * heads * d_head, np.float32), np.empty((4 * frames, heads * d_head), np.float32)
        cpu_kernels.attend(raw, shift, bias, bias, table, keys, values, place, chunks + step, out, scale)
        streams = out.reshape(4, -1)
        assert (streams == streams[0]).all()


def test_kernels_work_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object) -> None:
        raise RuntimeError("no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)

    def twice(x: float) -> float:
        return 2 * x

    assert cpu_kernels.kernel(twice)(1.5) == 3.0


@pytest.mark.parametrize("frames", [1, 3, 14])
@pytest.mark.parametrize("begins", [False, True])
def test_convolution(draw: Any, frames: int, begins: bool) -> None:
    kernel, slots = 9, 4
    cache = draw(slots, kernel - 1, D)
    before = cache.copy()
    place, chunks = np.array([2, 0]), np.array([0 if begins else 3, 1])
    raw, shift, scale = draw(2 * frames, 2 * D), draw(2 * D), np.abs(draw(2 * frames)) + 0.1
    taps, taps_bias, weight, bias = draw(kernel, D), draw(D), draw(D), draw(D)
    gated = F.glu(torch.from_numpy(raw * scale[:, None] + shift), -1).view(2, frames, D)
    past = torch.from_numpy(before[place])
    if begins:
        past[0] = 0
    joined = torch.cat([past, gated], 1)
    mixed = F.conv1d(joined.transpose(1, 2), torch.from_numpy(taps).T[:, None], torch.from_numpy(taps_bias), groups=D)
    expected = F.silu(layer_norm(mixed.transpose(1, 2).reshape(-1, D).numpy(), weight, bias))
    out = np.empty((2 * frames, D), np.float32)
    cpu_kernels.convolve(raw, shift, cache, place, chunks, taps, taps_bias, weight, bias, out, scale)
    assert_brought(out, scale, expected)
    assert np.abs(cache[place] - joined[:, frames:].numpy()).max() < TOLERANCE
    assert np.array_equal(cache[[1, 3]], before[[1, 3]])
