import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.playback.conversion import Converter, to_int16

RATES = [(16_000, 8_000), (8_000, 16_000), (24_000, 8_000), (24_000, 16_000), (8_000, 8_000)]


def tone(rate_hz: int, hz: int = 1_000) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (np.sin(np.arange(rate_hz) * 2 * np.pi * hz / rate_hz) * 10_000).astype(np.int16)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_a_second_stays_a_second_and_a_tone_in_its_place(from_hz: int, to_hz: int) -> None:
    converter = Converter(from_hz, to_hz)
    made = np.concatenate([converter.process(tone(from_hz)), converter.flush()])
    assert made.size == to_hz
    assert np.abs(made.astype(int) - tone(to_hz))[200:-200].max() <= 3


def test_what_has_no_room_at_8_khz_is_taken_out() -> None:
    converter = Converter(16_000, 8_000)
    assert np.abs(converter.process(tone(16_000, 5_000))[100:]).max() <= 2


@given(st.sampled_from(RATES[:2]), st.lists(st.integers(0, 700), min_size=1, max_size=12))
def test_pieces_are_the_whole(rates: tuple[int, int], sizes: list[int]) -> None:
    pcm = np.random.default_rng(1).integers(-9_000, 9_000, sum(sizes)).astype(np.int16)
    whole, parts = Converter(*rates), Converter(*rates)
    expected = np.concatenate([whole.process(pcm), whole.flush()])
    made = [parts.process(piece) for piece in np.split(pcm, np.cumsum(sizes)[:-1])]
    joined = np.concatenate([*made, parts.flush()])
    assert joined.size == expected.size == -(-pcm.size * rates[1] // rates[0])
    assert joined.size == 0 or np.abs(joined.astype(int) - expected).max() <= 1


def test_float_is_scaled_and_cut() -> None:
    given_pcm = np.array([0.0, 0.5, 1.0, -1.0, 3.0, np.nan, -np.inf], np.float32)
    assert to_int16(given_pcm).tolist() == [0, 16_384, 32_767, -32_768, 32_767, 0, -32_768]


@pytest.mark.parametrize("pcm", [np.zeros(4), np.zeros((2, 2), np.int16), np.zeros(3, np.uint8)], ids=str)
def test_other_audio_is_refused(pcm: np.ndarray[tuple[int], np.dtype[np.generic]]) -> None:
    with pytest.raises(ValueError, match="int16 or float32"):
        to_int16(pcm)
