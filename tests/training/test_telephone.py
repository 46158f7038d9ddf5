import random

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import g711
from training import telephone
from training.telephone import RATE_HZ, received


def tone(hz: float, seconds: float, rate_hz: int = 16_000) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def level_db(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples)) + 1e-12))


def test_the_engine_hears_the_line_at_16_khz_in_whole_blocks() -> None:
    line = tone(1000, 0.5, RATE_HZ)
    heard = received(g711.encode_mulaw((line * 32767).astype(np.int16)))
    assert heard.dtype == np.float32
    assert len(heard) == 8000
    expected = tone(1000, 0.5)[: 8000 - 48]
    assert np.abs(heard[48:] - expected)[100:-100].max() < 0.02


def test_a_line_that_ends_within_a_block_is_padded_with_silence() -> None:
    heard = received(np.zeros(161, np.uint8))
    assert len(heard) == 640
    assert np.abs(heard[-100:]).max() == 0


def test_segments_begin_where_the_recording_says() -> None:
    segments = [tone(700, 1.0), tone(900, 1.5), tone(1100, 0.8)]
    recording = telephone.call(segments, random.Random(1))
    assert recording.codes.dtype == np.uint8
    heard = received(recording.codes)
    for start_s, segment in zip(recording.starts_s, segments, strict=True):
        begin = round(start_s * 16_000)
        spoken = heard[begin : begin + len(segment)]
        assert level_db(spoken) > level_db(heard[begin - 700 : begin - 50]) + 10
    assert recording.duration_s == pytest.approx(len(recording.codes) / 8000)
    assert recording.duration_s > recording.starts_s[-1] + 0.8 + 0.3


def test_the_same_seed_gives_the_same_line() -> None:
    first, second = (telephone.call([tone(700, 0.4)], random.Random(7)) for _ in range(2))
    assert np.array_equal(first.codes, second.codes)
    other = telephone.call([tone(700, 0.4)], random.Random(8))
    assert not np.array_equal(first.codes, other.codes)


def test_lines_differ_in_level_and_noise() -> None:
    lines = [telephone.call([tone(700, 0.4)], random.Random(seed)) for seed in range(40)]
    peaks = [np.abs(g711.decode_mulaw(line.codes)).max() / 32768 for line in lines]
    assert min(peaks) < 0.2
    assert 0.5 < max(peaks) <= 1.0
    quiet = [np.abs(g711.decode_mulaw(line.codes[:300])).max() for line in lines]
    assert 2 < sum(level == 0 for level in quiet) < 25


def test_no_speech_above_four_kilohertz_passes() -> None:
    quiet = telephone.call([tone(700, 0.5) + tone(6000, 0.5)], random.Random(3))
    heard = received(quiet.codes)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    hz = np.fft.rfftfreq(len(heard), 1 / 16_000)
    assert spectrum[(hz > 4600)].max() < spectrum.max() / 100
