"""8-bit weights: close to float32, row by row, and the same words from the demo model."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.api import Precision
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import WeightReader
from engine.config import ModelConfig
from engine.cpu.dot import STEPS, ZERO
from engine.cpu.product import Int8Linear
from engine.cpu.subsampling import Int8Subsampling
from engine.engine import Engine
from engine.errors import UnsupportedPrecision
from engine.executor import StepExecutor
from engine.model.model import Model
from engine.model.state import Rows, SlotState
from engine.model.subsampling import Subsampling
from engine.precision import has_int8
from testing.audio import speech
from testing.streams import Stream, run

CHUNKS = {80: 30, 1120: 3}

pytestmark = pytest.mark.skipif(not has_int8(), reason="needs an x86 CPU with AVX2")


def product(
    outputs: int = 96, inputs: int = 128, *, bias: bool = True
) -> tuple[Int8Linear, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(outputs, inputs, generator=generator)
    shift = torch.randn(outputs, generator=generator)
    return Int8Linear(weight, shift if bias else None), weight, shift


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 128), (7, 128), (2, 3, 128)])
def test_a_product_is_close_to_the_exact_one(shape: tuple[int, ...], bias: bool) -> None:
    multiply, weight, shift = product(bias=bias)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    exact = x @ weight.T + (shift if bias else 0)
    found = multiply(x)
    assert found.shape == exact.shape
    assert 0 < error(found, exact) < 0.02


def test_a_quiet_row_is_as_precise_beside_a_loud_one() -> None:
    multiply, weight, _ = product(bias=False)
    x = torch.randn(2, 128, generator=torch.Generator().manual_seed(1))
    x[1] *= 1000
    assert error(multiply(x)[0], x[0] @ weight.T) < 0.02
    assert torch.equal(multiply(x)[0], multiply(x[:1])[0])


def test_a_row_of_zeros_gives_the_bias() -> None:
    multiply, _, shift = product()
    assert torch.equal(multiply(torch.zeros(1, 128))[0], shift)


@pytest.fixture(scope="module")
def executor(demo_path: Path) -> StepExecutor:
    return StepExecutor(load_checkpoint(demo_path), {80: 8, 1120: 8}, precision=Precision.INT8)


@pytest.mark.parametrize("chunk_ms", [80, 1120])
def test_a_batch_gives_each_stream_what_it_gets_alone(executor: StepExecutor, chunk_ms: int) -> None:
    together = [Stream(speech(index), slot, 0, CHUNKS[chunk_ms]) for index, slot in ((0, 5), (1, 2), (2, 7))]
    run(executor, chunk_ms, together)
    for stream in together:
        alone = Stream(stream.audio, 0, 0, CHUNKS[chunk_ms])
        run(executor, chunk_ms, [alone])
        assert alone.tokens == stream.tokens
        assert stream.tokens


def test_encoder_frames_are_close_to_those_in_float32(demo_path: Path, executor: StepExecutor) -> None:
    exact = StepExecutor(load_checkpoint(demo_path), {80: 1})
    rng = np.random.default_rng(0)
    for step in range(70):
        audio = rng.standard_normal((1, 1521)).astype(np.float32) * 0.1
        found, expected = (one.encode(80, audio, [0], [step], [0]) for one in (executor, exact))
    assert 0 < error(found, expected) < 0.12


def test_whoever_waits_for_the_kernels_is_told_why(
    demo_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encode = Model.encode

    def compile_first(*arguments: Any) -> torch.Tensor:
        until = time.monotonic() + 10
        while "compiling" not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)
        assert "compiling" in caplog.text
        return encode(*arguments)

    monkeypatch.setattr("engine.executor._NOTICE_S", 0.0)
    monkeypatch.setattr(Model, "encode", compile_first)
    StepExecutor(load_checkpoint(demo_path), {}, precision=Precision.INT8)


def test_int8_elsewhere_than_on_a_cpu_is_refused(demo_path: Path) -> None:
    with pytest.raises(UnsupportedPrecision, match="int8 needs an x86 CPU"):
        Engine(load_checkpoint(demo_path), device="cuda", precision=Precision.INT8)


def rounded_rows(x: torch.Tensor, dim: int) -> torch.Tensor:
    largest = x.abs().amax(dim, keepdim=True).clamp(min=1e-20)
    return torch.floor(x * (STEPS / largest) + (ZERO + 0.5)).sub(ZERO) * largest / STEPS


def rounded_weight(weight: torch.Tensor) -> torch.Tensor:
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale).round() * scale


def rounded_subsampling(config: ModelConfig, reader: WeightReader, monkeypatch: pytest.MonkeyPatch) -> Subsampling:
    """In float32, with the roundings of the 8-bit products: of weights by output, of activations by row."""
    convolve = torch.nn.functional.conv2d

    def convolve_rounded(x: torch.Tensor, weight: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        if weight.shape[2:] == (1, 1):
            x, weight = rounded_rows(x, 1), rounded_weight(weight)
        return convolve(x, weight, *others, **named)

    def linear_of_rounded(weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
        return lambda x: torch.nn.functional.linear(rounded_rows(x, -1), rounded_weight(weight), bias)

    monkeypatch.setattr("engine.model.subsampling.F.conv2d", convolve_rounded)
    return Subsampling(config, reader, linear_of_rounded)


@pytest.mark.parametrize("frames", [1, 2, 14])
def test_the_subsampling_is_that_of_float32_but_for_rounding(
    demo_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    """Streams that begin beside others that go on, several chunks long; every frame by itself."""
    checkpoint, cpu = load_checkpoint(demo_path), torch.device("cpu")
    config = checkpoint.config
    with torch.inference_mode():
        readers = [
            WeightReader(checkpoint, cpu, precision).under("encoder.pre_encode")
            for precision in (Precision.INT8, Precision.FLOAT32)
        ]
        found = Int8Subsampling(config, readers[0])
        exact = rounded_subsampling(config, readers[1], monkeypatch)
        errors: list[float] = []
        states = [SlotState.allocate(config, 5, frames, cpu, torch.float32, torch.float32) for _ in range(2)]
        for step in range(5):
            mel = torch.randn(3, 8 * frames, config.features.mels, generator=torch.Generator().manual_seed(step))
            chunks = torch.tensor([step, max(step - 2, 0), 3 * step])
            begins = chunks == 0
            rows = Rows(torch.tensor([4, 0, 2]), chunks, begins if bool(begins.any()) else None)
            frames_found, frames_exact = found(mel, rows, states[0]), exact(mel.clone(), rows, states[1])
            errors += [error(frames_found[i, j], frames_exact[i, j]) for i in range(3) for j in range(frames)]
    assert max(errors) < 0.01
    assert sum(one > 1e-5 for one in errors) <= 0.02 * len(errors), "more than a number on the edge now and then"
