"""Legs with known turns: what is marked as speech is speech, and the line does what it says."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from training.turn_legs import PAUSES_S, Line, assemble, over, pause, trim
from training.voices import SAMPLE_RATE_HZ


def tone(seconds: float, hertz: float = 1_000.0) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ).astype(np.float32)


def test_pieces_and_the_pauses_in_them_are_runs_of_speech() -> None:
    broken = np.concatenate([tone(0.5), np.zeros(int(0.3 * SAMPLE_RATE_HZ), np.float32), tone(0.4)])
    leg = assemble("en-US", "a tone", Line.CLEAN, [(broken, 0.6, False), (tone(0.7), 2.6, True)], random.Random(1))
    lengths = [one.end_s - one.start_s for one in leg.speech]
    gaps = [after.start_s - before.end_s for before, after in zip(leg.speech, leg.speech[1:], strict=False)]
    assert lengths == pytest.approx([0.5, 0.4, 0.7], abs=0.02)
    assert gaps == pytest.approx([0.3, 0.6], abs=0.02)
    assert [one.ends_turn for one in leg.speech] == [False, False, True]
    for one in leg.speech:
        inside = leg.pcm[int((one.start_s + 0.05) * SAMPLE_RATE_HZ) : int((one.end_s - 0.05) * SAMPLE_RATE_HZ)]
        assert np.abs(inside).max() > 0.1


def level_db(codes: NDArray[np.uint8]) -> float:
    from pipeline.g711 import decode_mulaw  # noqa: PLC0415

    return 10 * float(np.log10(np.mean((decode_mulaw(codes) / 32768.0) ** 2) + 1e-12))


def test_noise_is_as_loud_as_the_line_says() -> None:
    pcm = np.concatenate([tone(2.0) * np.float32(0.2), np.zeros(2 * SAMPLE_RATE_HZ, np.float32)])
    for line, apart in ((Line.NOISE_20, 20.0), (Line.NOISE_10, 10.0)):
        codes = over(pcm, line, random.Random(1))
        half = codes.size // 2
        assert level_db(codes[:half]) - level_db(codes[half:]) == pytest.approx(apart + 1.0, abs=1.5)


def test_a_line_is_as_narrow_as_a_telephone() -> None:
    inside, below, above = (
        level_db(over(tone(1.0, hertz) * np.float32(0.2), Line.CLEAN, random.Random(1))) for hertz in (1e3, 150, 3_700)
    )
    assert inside - below > 20
    assert inside - above > 20


def test_three_packets_of_a_hundred_are_lost_in_silence() -> None:
    codes = over(tone(60.0) * np.float32(0.2), Line.LOSS_3, random.Random(1))
    lost = (codes.reshape(-1, 160) == 0xFF).all(axis=1).mean()
    assert 0.02 < lost < 0.04


def test_pauses_are_as_long_as_those_of_people() -> None:
    rng = random.Random(1)
    drawn = np.array([pause(rng) for _ in range(4_000)])
    for share, seconds in PAUSES_S:
        assert (drawn > seconds).mean() == pytest.approx(share, abs=0.03)


def test_silence_at_both_ends_is_cut() -> None:
    quiet = np.zeros(4_000, np.float32)
    assert trim(np.concatenate([quiet, tone(0.5), quiet])).size == pytest.approx(8_000, abs=50)
    assert trim(quiet).size == quiet.size
