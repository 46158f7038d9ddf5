import random
from pathlib import Path

import numpy as np
import pytest

from training import voices
from training.grammar import LOCALES
from training.voices import HELD_OUT_VARIANTS, Program, Voice, VoiceError

needs_espeak = pytest.mark.skipif(not Program.ESPEAK.installed, reason="espeak-ng is not installed")


def test_a_missing_synthesiser_is_an_error_that_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VoiceError, match="espeak-ng is not installed: apt-get install espeak-ng"):
        voices.speak(Voice(Program.ESPEAK, "f5", 50, 160), "en-US", "Hello.")
    with pytest.raises(VoiceError, match="pico2wave is not installed: apt-get install libttspico-utils"):
        voices.require(Program.PICO)


def test_a_failing_synthesiser_is_an_error_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\necho no such voice >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(VoiceError, match=r"espeak-ng failed on 'Hello\.': no such voice"):
        voices.speak(Voice(Program.ESPEAK, "f5", 50, 160), "en-US", "Hello.")


def test_drawn_voices_are_held_out_and_follow_the_seed() -> None:
    drawn = [voices.draw(Program.ESPEAK, random.Random(seed)) for seed in range(50)]
    assert {voice.variant for voice in drawn} == set(HELD_OUT_VARIANTS)
    assert drawn == [voices.draw(Program.ESPEAK, random.Random(seed)) for seed in range(50)]
    assert len({(voice.pitch, voice.rate) for voice in drawn}) > 40


def test_pico2wave_takes_pitch_and_speed_as_mark_up() -> None:
    command = Voice(Program.PICO, "", 90, 110).command("es-US", "Hola.", Path("a.wav"))
    assert command[:5] == ["pico2wave", "-l", "es-ES", "-w", "a.wav"]
    assert command[5] == "<pitch level='90'><speed level='110'>Hola.</speed></pitch>"


@needs_espeak
@pytest.mark.parametrize("locale", LOCALES)
def test_espeak_speaks_every_language_at_16_khz(locale: str) -> None:
    speech = voices.speak(Voice(Program.ESPEAK, "Annie", 50, 160), locale, "1 2 3 4 5 6.")
    assert speech.dtype == np.float32
    assert speech.ndim == 1
    assert 1.0 < len(speech) / voices.SAMPLE_RATE_HZ < 6.0
    assert 0.1 < np.abs(speech).max() <= 1.0
    assert np.flatnonzero(np.abs(speech) > 1e-3)[0] <= 400


@needs_espeak
def test_the_held_out_variants_sound_different() -> None:
    spoken = [voices.speak(Voice(Program.ESPEAK, name, 50, 160), "en-US", "Hello.") for name in HELD_OUT_VARIANTS]
    shapes = {speech[:4000].tobytes() for speech in spoken}
    assert len(shapes) == len(HELD_OUT_VARIANTS)
