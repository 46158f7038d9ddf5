"""Log-mel features against NeMo's preprocessor, and against themselves."""

import numpy as np
import pytest
import torch

from engine.api import Precision
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import WeightReader
from engine.chunking import chunk_begin, chunk_end
from engine.config import FeatureConfig
from engine.model.features import BEFORE_START, LogMel, TorchMelBank, mel_filterbank
from engine.model.state import Rows
from engine.sessions.stream import AudioBuffer
from testing import audio
from testing.audio import Audio
from testing.oracle import NemoReference, continued
from testing.shapes import BIASED, PLAIN, Shape
from testing.streams import window
from tests.engine.conftest import MakeCheckpoint

SIGNALS = {
    "speech": audio.speech(0),
    "babble": audio.babble(3.0, 1),
    "noise": audio.noise(2.0, 2),
    "silence": np.zeros(32_000, np.float32),
    "full scale": np.sign(audio.noise(2.0, 3)).astype(np.float32),
    "a click": np.eye(1, 32_000, 7_777, dtype=np.float32)[0],
}


def stepped(chunks: list[int]) -> Rows:
    """Rows that have had so many chunks before."""
    had = torch.tensor(chunks)
    return Rows(torch.arange(len(had)), had, had == 0)


def in_chunks(features: LogMel, signal: Audio, frames: int, chunks: int) -> torch.Tensor:
    """All mel frames from the stream's start on: (T, mels)."""
    parts = []
    for chunk in range(chunks):
        rows = torch.from_numpy(window(signal, chunk, frames))[None]
        parts.append(features(rows, stepped([chunk]))[0])
    return torch.cat(parts)[BEFORE_START:]


@pytest.mark.parametrize("frames", [1, 4, 14])
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("shape", [PLAIN, BIASED], ids=lambda shape: f"{shape.mels} mels")
def test_features_equal_nemos(made: MakeCheckpoint, shape: Shape, name: str, frames: int) -> None:
    checkpoint = load_checkpoint(made(shape).nemo)
    features = LogMel(
        checkpoint.config.features,
        WeightReader(checkpoint, torch.device("cpu"), Precision.FLOAT32),
        torch.device("cpu"),
        TorchMelBank,
    )
    signal = SIGNALS[name]
    chunks = len(signal) // (1_280 * frames)
    found = in_chunks(features, signal, frames, chunks)
    wanted = NemoReference(made(shape).model).features(continued(signal, chunks * frames))[: len(found)]
    # Powers relative to the loudest of the frame: what the transform's rounding leaves in an empty band is nothing.
    loudest = wanted.exp().amax(1, keepdim=True)
    assert float(((found.exp() - wanted.exp()) / loudest).abs().max()) < 1e-5
    assert float((found - wanted).abs().mean()) < 1e-4


def test_the_first_frames_before_the_stream_are_empty(made: MakeCheckpoint) -> None:
    checkpoint = load_checkpoint(made(PLAIN).nemo)
    features = LogMel(
        checkpoint.config.features,
        WeightReader(checkpoint, torch.device("cpu"), Precision.FLOAT32),
        torch.device("cpu"),
        TorchMelBank,
    )
    rows = torch.from_numpy(np.stack([window(audio.noise(1.0, 4), 0, 1)] * 2))
    first, later = features(rows, stepped([0, 1]))
    assert not first[:BEFORE_START].any()
    assert later[:BEFORE_START].all()
    assert first[BEFORE_START:].equal(later[BEFORE_START:])


@pytest.mark.parametrize("shape", [PLAIN, BIASED], ids=lambda shape: f"{shape.mels} mels")
def test_our_filter_bank_is_the_one_in_the_checkpoint(made: MakeCheckpoint, shape: Shape) -> None:
    """Hugging Face folders hold none, so it is computed."""
    stored = made(shape).model.state_dict()["preprocessor.featurizer.fb"][0].numpy()
    np.testing.assert_allclose(mel_filterbank(FeatureConfig(mels=shape.mels)), stored, atol=1e-7)


@pytest.mark.parametrize("frames", [1, 2, 4, 7, 14])
def test_chunks_share_no_gap_and_see_the_same_samples_however_pushed(frames: int) -> None:
    signal, rng = audio.noise(4.0, 5), np.random.default_rng(frames)
    buffer = AudioBuffer()
    sent = chunk = 0
    while chunk_end(chunk, frames) <= len(signal):
        size = int(rng.choice([0, 1, 160, 161, 5_000]))
        buffer.append(signal[sent : sent + size])
        sent = min(sent + size, len(signal))
        assert buffer.end == sent
        while chunk_end(chunk, frames) <= sent:
            found = np.full(chunk_end(chunk, frames) - chunk_begin(chunk, frames), np.nan, np.float32)
            buffer.read(chunk_begin(chunk, frames), found)
            np.testing.assert_array_equal(found, window(signal, chunk, frames))
            chunk += 1
            buffer.discard(chunk_begin(chunk, frames))
    assert chunk >= 3
