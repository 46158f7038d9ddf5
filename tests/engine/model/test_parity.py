"""The encoder and the decoder against NeMo's offline forward: every latency class, every kind of checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.executor import StepExecutor
from testing import audio
from testing.audio import Audio
from testing.oracle import NemoReference
from testing.shapes import SHAPES
from testing.streams import Stream, frames_of, run
from tests.engine.conftest import MakeCheckpoint

LANGUAGES = ("auto", "en-US", "es-US", "de-DE", "fr-FR")
SLOTS = 8
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Pair:
    """One checkpoint in the engine and in NeMo."""

    checkpoint: Checkpoint
    reference: NemoReference
    signals: tuple[Audio, ...]
    chunks_ms: tuple[int, ...]

    def streams(self, chunk_ms: int, *, joins: tuple[int, ...] = ()) -> list[Stream]:
        """One stream a signal: its own language and slot, all chunks of it, and two of silence after it."""
        frames = chunk_ms // 80
        return [
            Stream(
                signal,
                slot=(3 * row + 1) % SLOTS,
                prompt=self.reference.prompt_index(LANGUAGES[row % len(LANGUAGES)]),
                chunks=-(-len(signal) // (1_280 * frames)) + 2,
                joins=joins[row] if joins else 0,
            )
            for row, signal in enumerate(self.signals)
        ]


def pair(name: str, made: MakeCheckpoint, demo_path: Path, demo_reference: NemoReference) -> Pair:
    if name == "demo":
        signals = (*(audio.speech(i) for i in range(4)), audio.noise(2.5, 5))
        return Pair(load_checkpoint(demo_path), demo_reference, signals, (80, 160, 320, 560, 1120))
    shape = next(shape for shape in SHAPES if shape.name == name)
    found = made(shape)
    # Longer than the left context (5.6 s), so that the ring of keys and values goes round.
    signals = (audio.babble(8.3, 1), audio.babble(3.1, 2), audio.speech(1), audio.noise(2.0, 3), np.zeros(9_000, "f4"))
    return Pair(load_checkpoint(found.nemo), NemoReference(found.model), signals, shape.chunks_ms)


CASES = [("demo", c) for c in (80, 160, 320, 560, 1120)] + [(s.name, c) for s in SHAPES for c in s.chunks_ms]


@pytest.fixture(params=CASES, ids=[f"{name}-{chunk}ms" for name, chunk in CASES])
def case(
    request: pytest.FixtureRequest, made: MakeCheckpoint, demo_path: Path, demo_reference: NemoReference
) -> tuple[Pair, int]:
    name, chunk_ms = request.param
    return pair(name, made, demo_path, demo_reference), chunk_ms


def worst_frame(found: Tensor, wanted: Tensor) -> float:
    """Largest relative error of any frame; (T, d) both."""
    assert found.shape == wanted.shape
    return float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max())


def test_encoder_equals_nemo_offline(case: tuple[Pair, int]) -> None:
    both, chunk_ms = case
    frames = chunk_ms // 80
    streams = both.streams(chunk_ms, joins=(0, 2, 1, 4, 0))
    run(StepExecutor(both.checkpoint, {chunk_ms: SLOTS}), chunk_ms, streams, encode_only=True)
    for row, stream in enumerate(streams):
        raw = both.reference.encode(stream.audio, stream.chunks * frames, frames)
        wanted = both.reference.prompt(raw, LANGUAGES[row % len(LANGUAGES)])
        assert worst_frame(frames_of(stream), wanted) < TOLERANCE, f"row {row}"


def test_tokens_equal_nemo_offline(case: tuple[Pair, int]) -> None:
    both, chunk_ms = case
    frames = chunk_ms // 80
    streams = both.streams(chunk_ms, joins=(3, 0, 1, 0, 2))
    run(StepExecutor(both.checkpoint, {chunk_ms: SLOTS}), chunk_ms, streams)
    for row, stream in enumerate(streams):
        language = LANGUAGES[row % len(LANGUAGES)]
        assert stream.tokens == both.reference.tokens(stream.audio, stream.chunks * frames, frames, language)
    assert sum(len(stream.tokens) for stream in streams) > 10, "the signals say too little to compare"
