"""How a phrase ended by its melody."""

import numpy as np
import pytest

from pipeline.turns.pitch import LENGTH, RATE_HZ, SILENT, Melody, Tone, tones

TIME = np.arange(LENGTH) / RATE_HZ


@pytest.mark.parametrize("hertz", [80.0, 110.0, 150.0, 220.0, 350.0])
def test_pitch_is_that_of_the_harmonics_a_telephone_lets_through(hertz: float) -> None:
    harmonics = [k for k in range(1, 40) if 300 < k * hertz < 3_400]
    waves = np.array([np.sin(2 * np.pi * k * hertz * TIME + k) for k in harmonics], np.float32)
    pcm = np.float32(0.02) * waves.sum(axis=0)
    (tone,) = tones(pcm[None])
    assert tone is not None
    assert tone.semitones == pytest.approx(12 * np.log2(hertz / 100), abs=0.4)
    assert tone.level_db == pytest.approx(10 * np.log10(np.mean(pcm**2)), abs=1)


def test_noise_and_silence_are_not_voiced() -> None:
    noise = np.random.default_rng(1).standard_normal((5, LENGTH)).astype(np.float32) * np.float32(0.1)
    assert tones(noise) == [None] * 5
    assert tones(np.zeros((1, LENGTH), np.float32)) == [None]
    assert tones(np.zeros((0, LENGTH), np.float32)) == []


def melody(*semitones: float | None) -> Melody:
    made = Melody()
    for one in semitones:
        made.add(None if one is None else Tone(one, -20.0))
    return made


def test_a_contour_is_against_what_the_speaker_had_before() -> None:
    made = melody(*[5.0] * 30, 5.0, 4.0, 3.0, 2.0, 1.0, None, None).contour()
    assert (made.last, made.lowest) == pytest.approx((-3.5, -4.0))
    assert made.slope == pytest.approx(-1.0)
    assert made.relative < -1
    assert (made.voiced, made.gap, made.run) == (8, 2, 35)
    assert (made.level_db, made.level_slope) == pytest.approx((0.0, 0.0))


def test_an_error_of_an_octave_is_left_out() -> None:
    assert melody(*[5.0] * 30, 5.0, 4.5, 16.5, 4.0, 3.5).contour().slope < 0


def test_voice_of_long_ago_says_nothing() -> None:
    assert melody().contour() == SILENT
    assert melody(*[5.0] * 30, *[None] * 30).contour() == SILENT


def test_memory_is_bounded() -> None:
    one = melody(*[20.0] * 1_000, *[3.0] * 61)
    assert one.contour().last == pytest.approx(0.0)
