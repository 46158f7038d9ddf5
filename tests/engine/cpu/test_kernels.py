"""Each kernel between the 8-bit products against the same sums in torch."""

import inspect
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.config import EncoderConfig
from engine.cpu import jit
from engine.cpu import kernels as cpu_kernels
from engine.cpu.dot import STEPS, ZERO
from engine.cpu.jit import Bytes, kernel
from engine.cpu.kernels import NormWeights
from engine.cpu.product import quantise_rows
from engine.model.attention import Relative, gathered_attention
from engine.model.layer import Layer
from engine.model.state import Rows
from engine.precision import has_int8

Array = NDArray[np.float32]
T, D = 5, 48
TOLERANCE = 2e-5
WHOLE = 0, 1
"""All of the work: part 0 of one."""

pytestmark = pytest.mark.skipif(not has_int8(), reason="needs an x86 CPU with AVX2")


@pytest.fixture
def draw() -> Any:
    generator = np.random.default_rng(7)

    def array(*shape: int, spread: float = 1.0) -> Array:
        return (generator.standard_normal(shape) * spread).astype(np.float32)

    return array


def layer_norm(x: Array, weight: Array, bias: Array) -> Tensor:
    return F.layer_norm(torch.from_numpy(x), (x.shape[1],), torch.from_numpy(weight), torch.from_numpy(bias), 1e-5)


def byte_rows(rows: int, width: int) -> Bytes:
    return np.full((rows, width + 16), 255, np.uint8)


def assert_quantised(out: Bytes, scale: Array, expected: Tensor) -> None:
    """Rows fill their 8 bits, and every number is the nearest to what was expected."""
    numbers = out[:, : expected.shape[1]].astype(np.float32) - ZERO
    assert (np.abs(numbers).max(axis=1) == STEPS).all()
    assert (out[:, expected.shape[1] :] == 255).all()
    error = np.abs(numbers * scale[:, None] / STEPS - expected.numpy())
    assert (error <= scale[:, None] * (0.5 / STEPS + TOLERANCE)).all()


@pytest.mark.parametrize("width", [16, 33, 48, 1024])
def test_norm(draw: Any, width: int) -> None:
    x, weight, bias = draw(T, width, spread=3.0) + 2, draw(width), draw(width)
    out, scale = byte_rows(T, width), np.empty(T, np.float32)
    cpu_kernels.norm(x, NormWeights(weight, bias), out, scale, *WHOLE)
    assert_quantised(out, scale, layer_norm(x, weight, bias))


def test_add_norm_adds_the_product_to_the_residual(draw: Any) -> None:
    x, raw, shift, weight, bias = draw(T, D), draw(T, D), draw(D), draw(D), draw(D)
    scale = np.abs(draw(T)) + 0.1
    added = x + raw * scale[:, None] + shift
    out = byte_rows(T, D)
    cpu_kernels.add_norm(x, raw, shift, NormWeights(weight, bias), out, scale, *WHOLE)
    assert np.abs(x - added).max() < TOLERANCE
    assert_quantised(out, scale, layer_norm(added, weight, bias))


def test_the_end_of_a_layer(draw: Any) -> None:
    x, raw, shift, weight, bias = draw(T, D), draw(T, D), draw(D), draw(D), draw(D)
    scale = np.abs(draw(T)) + 0.1
    expected = layer_norm(x + raw * scale[:, None] + shift, weight, bias)
    cpu_kernels.add_norm_out(x, raw, shift, scale, NormWeights(weight, bias), *WHOLE)
    assert np.abs(x - expected.numpy()).max() < TOLERANCE


@pytest.mark.parametrize("spread", [0.01, 1.0, 200.0])
def test_swish_over_the_whole_range(draw: Any, spread: float) -> None:
    raw, shift, scale = draw(T, D, spread=spread), draw(D), np.abs(draw(T)) + 0.1
    expected = F.silu(torch.from_numpy(raw * scale[:, None] + shift))
    out = byte_rows(T, D)
    cpu_kernels.swish(raw, shift, out, scale, *WHOLE)
    assert_quantised(out, scale, expected)


def test_a_row_of_zeros_stays_zero() -> None:
    out, scale = byte_rows(2, D), np.ones(2, np.float32)
    cpu_kernels.swish(np.zeros((2, D), np.float32), np.zeros(D, np.float32), out, scale, *WHOLE)
    assert (out[:, :D] == ZERO).all()
    assert np.isfinite(scale).all()


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_row_is_somebodys(draw: Any, parts: int) -> None:
    x, out, scale = draw(T, D), byte_rows(T, D), np.zeros(T, np.float32)
    for part in range(parts):
        before = scale.copy()
        quantise_rows(x, out, scale, part, parts)
        assert (scale[before > 0] == before[before > 0]).all()
    assert_quantised(out, scale, torch.from_numpy(x))


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
    attend = gathered_attention(config, torch.device("cpu"))
    for step in range(2 * ring // frames + 3):
        place = torch.tensor([4, 1, 3])
        chunks = torch.tensor([step, max(step - 5, 0), max(step - ring, 0)])
        raw, shift = draw(3 * frames, 3 * heads * d_head), draw(3 * heads * d_head)
        scale = np.resize(np.array([0.5, 1.0, 2.0], np.float32), 3 * frames)  # exact factors, so that both round alike
        qkv = torch.from_numpy(raw * scale[:, None] + shift).view(3, frames, -1)
        qkv[..., heads * d_head :] = rounded(qkv[..., heads * d_head :])
        expected = attend(Rows(place, chunks, None), frames)(qkv, relative, *plain).reshape(3 * frames, -1)
        mixed = np.empty((3 * frames, heads * d_head), np.float32)
        shares = 2 + step % 3
        arguments = (
            raw,
            shift,
            bias_u[:, 0],
            bias_v[:, 0],
            table.transpose(1, 2).contiguous().numpy(),
            keys.view(torch.uint16).numpy(),
            values.view(torch.uint16).numpy(),
            place.numpy(),
            chunks.numpy(),
            mixed,
            scale,
        )
        for part in range(shares):
            cpu_kernels.attend(*arguments, part, shares)
        assert np.abs(mixed - expected.numpy()).max() < TOLERANCE * expected.abs().max().item()
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
        shift, mixed = np.zeros(3 * heads * d_head, np.float32), np.empty((4 * frames, heads * d_head), np.float32)
        past = keys, values, place, chunks + step
        cpu_kernels.attend(raw, shift, bias, bias, table, *past, mixed, scale, *WHOLE)
        streams = mixed.reshape(4, -1)
        assert (streams == streams[0]).all()


def test_kernels_work_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object) -> None:
        raise RuntimeError("no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)

    def twice(x: float) -> float:
        return 2 * x

    assert kernel(twice)(1.5) == 3.0


def test_a_kernel_is_compiled_anew_when_what_it_calls_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def thrice(x: float) -> float:
        return 3 * x

    def was_kept() -> bool:
        compiled: Any = kernel(thrice)
        assert compiled(1.5) == 4.5
        return bool(compiled.stats.cache_hits)

    assert [was_kept(), was_kept()] == [False, True]
    monkeypatch.setattr(jit, "_stamp", lambda: (("kernels.py", b"another"),))
    assert [was_kept(), was_kept()] == [False, True]


def test_what_kernels_are_compiled_from_is_looked_at_wherever_it_stands() -> None:
    """Every file of ours that makes kernels is in the stamp: one outside of it would leave stale kernels running."""
    root = Path(jit.__file__).parents[2]
    makes = re.compile(r"^@(kernel|inner|exact_kernel|exact_inner|intrinsic)\b", re.MULTILINE)
    files = [path for path in (root / "engine").rglob("*.py") if makes.search(path.read_text("utf-8"))]
    assert len(files) >= 7
    assert {path.parent for path in files} == {Path(jit.__file__).parent}
    assert {path.name for path in files} <= {name for name, _ in jit._stamp()}


def test_the_list_of_a_layers_fields_is_looked_at() -> None:
    """Another order of the fields would find other weights in kernels that are kept."""
    source = Path(inspect.getfile(Layer)).read_bytes()
    assert ("layer.py", sha256(source).digest()) in jit._stamp()


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
    out = byte_rows(2 * frames, D)
    by = NormWeights(weight, bias)
    for part in range(2):
        cpu_kernels.convolve(raw, shift, cache, place, chunks, taps, taps_bias, by, out, scale, part, 2)
    assert_quantised(out, scale, expected)
    assert np.abs(cache[place] - joined[:, frames:].numpy()).max() < TOLERANCE
    assert np.array_equal(cache[[1, 3]], before[[1, 3]])
