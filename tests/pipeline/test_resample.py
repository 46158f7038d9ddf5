import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.api import Session
from pipeline.frames import AudioFrame, Encoding
from pipeline.ingest import Ingest
from pipeline.resample import (
    BLOCK,
    HISTORY,
    TAPS,
    TAPS_A_SIDE,
    StreamResampler,
    half_band,
    half_band_taps,
    on_grid,
)
from tests.pipeline.collector import Collector

Pcm = NDArray[np.float32]


def live(pcm: Pcm, cuts: list[int], rate: int = 8000) -> Pcm:
    """`pcm` through the tick, cut into frames of the given sizes over and over."""
    recognizer = Collector()
    ingest = Ingest(recognizer)
    intake = ingest.open(Session(0, 0, 0, 160), "c")
    at = turn = 0
    while at < pcm.size:
        size = cuts[turn % len(cuts)]
        intake.push(AudioFrame(at, pcm[at : at + size], Encoding.FLOAT32, rate, 0.0))
        ingest.tick()
        at, turn = at + size, turn + 1
    ingest.close(intake)
    return recognizer.audio(intake.session)


def noise(samples: int, seed: int = 0) -> Pcm:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def response_db(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain of the whole 95-tap filter at 16 kHz, relative to 0 Hz."""
    full = np.zeros(4 * TAPS_A_SIDE - 1)
    full[0::2] = half_band_taps()
    full[2 * TAPS_A_SIDE - 1] = 1.0
    angles = -2j * np.pi * np.outer(frequency_hz / 16_000, np.arange(full.size))
    return np.asarray(20 * np.log10(np.abs(np.exp(angles) @ full) / full.sum() + 1e-12))


def test_pass_band_is_flat_to_3400_hz() -> None:
    assert np.abs(response_db(np.linspace(0, 3400, 500))).max() < 0.001


def test_image_band_is_90_db_down_from_4600_hz() -> None:
    assert response_db(np.linspace(4600, 8000, 500)).max() < -90


@pytest.mark.parametrize("frequency_hz", [100, 440, 1000, 2500, 3300, 3400])
def test_a_tone_comes_out_at_its_level_without_image(frequency_hz: int) -> None:
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(8000) / 8000).astype(np.float32) * np.float32(0.5)
    out = live(tone, [160])[1600:14400]  # 12,800 samples: every tested frequency falls on a bin
    spectrum = np.abs(np.fft.rfft(out * np.blackman(out.size))) / (0.42 * out.size / 2)
    level = 20 * np.log10(spectrum[round(frequency_hz * out.size / 16000)] / 0.5)
    image = 20 * np.log10(spectrum[round((8000 - frequency_hz) * out.size / 16000)] / 0.5)
    assert abs(level) < 0.1
    assert image < -60


def test_output_is_aligned_with_the_input_and_exactly_twice_as_long() -> None:
    pcm = noise(5000)
    out = live(pcm, [160])
    assert out.size == 2 * pcm.size
    assert np.array_equal(out[0::2], on_grid(pcm))


def test_the_live_path_is_3_ms_late() -> None:
    recognizer = Collector()
    ingest = Ingest(recognizer)
    intake = ingest.open(Session(0, 0, 0, 160), "c")
    intake.push(AudioFrame(0, noise(8000), Encoding.FLOAT32, 8000, 0.0))
    ingest.tick()
    assert 16_000 - recognizer.audio(intake.session).size == 16 * 3


def test_equals_soxr_in_the_telephone_band() -> None:
    rng = np.random.default_rng(1)
    spectrum = np.zeros(8001, np.complex128)
    spectrum[600:6800] = rng.normal(size=6200) + 1j * rng.normal(size=6200)  # 300 to 3,400 Hz
    pcm = np.fft.irfft(spectrum, 16_000)
    pcm = (pcm / np.abs(pcm).max() * 0.5).astype(np.float32)
    oracle = soxr.resample(pcm, 8000, 16_000, "VHQ")
    difference = (live(pcm, [160]) - oracle)[800:-800]
    assert 20 * np.log10(np.sqrt(np.mean(difference**2) / np.mean(oracle**2))) < -60


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 500), min_size=1, max_size=12), samples=st.integers(1, 3000))
def test_the_cut_of_the_audio_does_not_matter(cuts: list[int], samples: int) -> None:
    pcm = noise(samples)
    assert np.array_equal(live(pcm, cuts), live(pcm, [160]))


def rows_of_noise(count: int) -> Pcm:
    """Samples of 24 bits up to full scale, which fill the range in which sums are exact."""
    x = np.random.default_rng(count).choice([-1.0, 1.0], (count, HISTORY + BLOCK))
    return on_grid((x * np.random.default_rng(1).uniform(0.3, 1, x.shape)).astype(np.float32))


@pytest.mark.parametrize("company", [1, 2, 3, 5, 7, 8, 31, 64, 129, 256])
def test_a_leg_sounds_the_same_bit_by_bit_alone_and_in_any_company(company: int) -> None:
    x = rows_of_noise(company)
    alone = np.concatenate([half_band(x[row : row + 1]) for row in range(company)])
    assert np.array_equal(half_band(x), alone)
    order = np.random.default_rng(2).permutation(company)
    assert np.array_equal(half_band(x[order]), alone[order])


def test_sums_are_the_exact_ones_in_whatever_order_the_cpu_adds() -> None:
    """The same sums in whole numbers, rounded once."""
    x = rows_of_noise(40)
    samples = (x.astype(np.float64) * 2**23).astype(np.int64)
    taps = (half_band_taps() * 2**22).astype(np.int64)
    assert (taps / 2**22 == half_band_taps()).all()
    sums = sliding_window_view(samples, TAPS, axis=1)[:, :BLOCK] @ taps
    assert np.abs(sums).max() > 2**45, "no sum fills the range"
    assert np.array_equal(half_band(x)[:, 1::2], (sums / 2**45).astype(np.float32))


def test_samples_of_16_bits_are_on_the_grid_and_others_are_brought_there() -> None:
    sixteen = (np.arange(-32768, 32768) / 32768).astype(np.float32)
    assert np.array_equal(on_grid(sixteen), sixteen)
    assert on_grid(np.array([np.nan, np.inf, -np.inf, 3.0, 1e-9], np.float32)).tolist() == [0.0, 1.0, -1.0, 1.0, 0.0]


@pytest.mark.parametrize("rate", [48_000, 24_000, 44_100, 11_025])
def test_other_rates_equal_soxr_offline_however_cut(rate: int) -> None:
    pcm = noise(rate)
    oracle = soxr.resample(pcm, rate, 16_000, "HQ")
    for cuts in ([rate // 50], [1, 777, 13]):
        out = live(pcm, cuts, rate)
        assert abs(out.size - 16_000) <= 1
        assert np.abs(out[: oracle.size] - oracle[: out.size]).max() < 1e-4


def test_16_khz_passes_untouched() -> None:
    pcm = noise(4000)
    assert np.array_equal(live(pcm, [320], 16_000), pcm)


def test_channels_are_resampled_together() -> None:
    left, right = noise(8000, 1), noise(8000, 2)
    both = StreamResampler(8000, 2)
    out = np.concatenate([both.process(np.stack([left, right], axis=1)), both.flush()])
    alone = StreamResampler(8000)
    assert np.allclose(out[:, 1], np.concatenate([alone.process(right), alone.flush()]), atol=1e-6)
