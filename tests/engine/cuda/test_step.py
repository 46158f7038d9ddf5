"""The step as it runs on a GPU, here on a CPU with real numbers: it says what the CPU's own step says."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.cuda import search as device_decoder
from engine.cuda.step import StaticStep, batch_sizes
from engine.executor import Emission, StepExecutor
from testing import audio
from testing.shapes import BIASED
from testing.streams import Stream, run
from tests.engine.conftest import MakeCheckpoint

CLASSES = (80, 160, 320, 560, 1120)
SLOTS = 8


class Both:
    """Two cores that take the same steps; fails where they say different things."""

    def __init__(self, one: StepExecutor, other: StepExecutor) -> None:
        self._executors = one, other
        self.said = 0

    def step(
        self,
        chunk_ms: int,
        audio: NDArray[np.float32],
        slots: Sequence[int],
        chunks: Sequence[int],
        prompts: Sequence[int],
    ) -> list[Emission]:
        ours, theirs = (
            sorted(executor.step(chunk_ms, audio, slots, chunks, prompts), key=lambda said: said.row)
            for executor in self._executors
        )
        assert [(e.row, e.token, e.frame) for e in ours] == [(e.row, e.token, e.frame) for e in theirs]
        np.testing.assert_allclose([e.probability for e in ours], [e.probability for e in theirs], atol=1e-4)
        self.said += len(ours)
        return ours


def compare(checkpoint: Checkpoint, chunk_ms: int) -> None:
    """Streams that come and go, five at most in slots that are used again, batches padded to sizes of 1, 2, 4 and 8."""
    both = Both(
        StepExecutor(checkpoint, {chunk_ms: SLOTS}),
        StepExecutor(checkpoint, {chunk_ms: SLOTS}, static=True, max_batch=8),
    )
    prompts = sorted(set(checkpoint.config.prompt.dictionary.values())) if checkpoint.config.prompt else [0]
    # Longer than the left context (5.6 s), so that the ring of keys and values goes round.
    signals = [audio.babble(8.3, 1), audio.speech(1), audio.noise(2.0, 3), audio.speech(2), audio.babble(3.1, 2)]
    for turn in range(2):
        streams = [
            Stream(
                signal,
                slot=(3 * row + turn) % SLOTS,
                prompt=prompts[row % len(prompts)],
                chunks=-(-len(signal) // (16 * chunk_ms)) + 1,
                joins=(0, 2, 1, 4, 0)[row],
            )
            for row, signal in enumerate(signals)
        ]
        run(cast(StepExecutor, both), chunk_ms, streams)
    assert both.said > 40, "the signals say too little to compare"


@pytest.mark.parametrize("chunk_ms", CLASSES)
def test_says_what_the_cpu_says_on_the_demo_model(demo_path: Path, chunk_ms: int) -> None:
    compare(load_checkpoint(demo_path), chunk_ms)


@pytest.mark.parametrize("chunk_ms", CLASSES)
def test_says_what_the_cpu_says_on_random_weights(made: MakeCheckpoint, chunk_ms: int) -> None:
    compare(load_checkpoint(made(BIASED).nemo), chunk_ms)


@pytest.mark.parametrize("chunk_ms", [80, 1120])
def test_rows_that_need_more_turns_are_continued(
    demo_path: Path, chunk_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_decoder, "turns", lambda frames: 1)
    continued = 0
    proceed = StaticStep.proceed

    def counted(step: StaticStep, size: int) -> None:
        nonlocal continued
        continued += 1
        proceed(step, size)

    monkeypatch.setattr(StaticStep, "proceed", counted)
    compare(load_checkpoint(demo_path), chunk_ms)
    assert continued > 20


def test_a_frame_is_left_after_the_most_symbols(made: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the launch ends in the middle of such a frame."""
    checkpoint = load_checkpoint(made(BIASED).nemo)
    head = checkpoint.weights["joint.joint_net.2.bias"].clone()
    head[-1] = -1e9  # never a blank
    checkpoint = Checkpoint(
        checkpoint.source,
        checkpoint.config,
        {**checkpoint.weights, "joint.joint_net.2.bias": head},
        checkpoint.tokenizer,
    )
    both = Both(StepExecutor(checkpoint, {160: 2}), StepExecutor(checkpoint, {160: 2}, static=True, max_batch=2))
    run(cast(StepExecutor, both), 160, [Stream(audio.babble(2.0, 1), slot, slot, chunks=3) for slot in range(2)])
    assert both.said == 2 * 3 * 2 * checkpoint.config.decoder.max_symbols


def test_batches_are_padded_to_few_sizes() -> None:
    assert batch_sizes(1) == (1,)
    assert batch_sizes(6) == (1, 2, 4, 6)
    assert batch_sizes(300) == (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 300)
    for most in (64, 512, 777):
        sizes = batch_sizes(most)
        for rows in range(1, most + 1):
            assert min(size for size in sizes if size >= rows) <= max(2 * rows - 1, rows * 1.5 if rows > 64 else 0)


@pytest.mark.parametrize("static", [False, True], ids=["cpu", "device"])
def test_a_used_slot_is_as_good_as_a_new_one(demo_path: Path, static: bool) -> None:
    checkpoint = load_checkpoint(demo_path)
    used = StepExecutor(checkpoint, {80: 2}, static=static, max_batch=2)
    run(used, 80, [Stream(audio.babble(3.0, 7), slot, prompt=0, chunks=30 + slot) for slot in range(2)])
    both = Both(used, StepExecutor(checkpoint, {80: 2}, static=static, max_batch=2))
    run(cast(StepExecutor, both), 80, [Stream(audio.speech(slot), slot, prompt=101, chunks=40) for slot in range(2)])
    assert both.said > 20
    encoded = [
        executor.encode(80, np.zeros((1, 1_521), np.float32), [1], [0], [101])
        for executor in (used, StepExecutor(checkpoint, {80: 2}, static=static, max_batch=2))
    ]
    assert encoded[0].equal(encoded[1])
