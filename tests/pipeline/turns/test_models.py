"""The two models themselves, as the wheel of Pipecat has them."""

import importlib.util

import numpy as np
import pytest
from pipecat.audio.turn.smart_turn._whisper_features import compute_whisper_log_mel_features

from pipeline.turns import models
from pipeline.turns.hearing import CONTEXT, WINDOW, Hearing, hear
from pipeline.turns.models import JUDGED, SileroVad, SmartTurn, halved, log_mel

RNG = np.random.default_rng(1)


def test_features_are_those_that_pipecat_gives_the_model() -> None:
    pcm = (RNG.standard_normal(70_000) * 0.05).astype(np.float32)
    padded = np.concatenate([np.zeros(JUDGED - pcm.size, np.float32), pcm])
    assert log_mel(pcm) == pytest.approx(compute_whisper_log_mel_features(padded), abs=1e-4)
    assert (log_mel(np.concatenate([pcm, pcm, pcm])) == log_mel(np.concatenate([pcm, pcm, pcm])[-JUDGED:])).all()


def test_silence_is_no_speech_and_smart_turn_answers() -> None:
    noise = (RNG.standard_normal((40, WINDOW)) * 0.01).astype(np.float32)
    assert max(frame.speech for frame in hear(SileroVad(), [(Hearing(), noise)])[0]) < 0.5
    judge = SmartTurn()
    assert 0 <= judge(noise.reshape(-1)) <= 1
    assert 0 <= judge(np.zeros(0, np.float32)) <= 1


def test_the_voice_activity_model_gets_8_khz() -> None:
    time = np.arange(CONTEXT + WINDOW) / 16_000
    low, high = (np.sin(2 * np.pi * hertz * time).astype(np.float32)[None] for hertz in (1_000.0, 7_000.0))
    assert halved(low) == pytest.approx(low[:, -580::2][:, :288], abs=0.01)
    assert np.abs(halved(high)).max() < 0.1


def test_without_the_wheel_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="pipecat-ai, whose wheel has the weights, is not installed"):
        SileroVad()


def test_another_release_without_these_weights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_spec", lambda _: importlib.util.find_spec("json"))
    with pytest.raises(FileNotFoundError, match="this release of pipecat-ai has other weights"):
        SmartTurn()
