import numpy as np
import pytest

from connectors.codecs.conceal import FADED_MS, Concealer
from tests.connectors.codecs.speech import snr_db, voice


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("pitch_hz", [80, 125, 180, 250])
def test_the_pitch_goes_on(rate: int, pitch_hz: float) -> None:
    pcm = voice(rate, pitch_hz=pitch_hz)
    concealer = Concealer(rate)
    at = rate // 2
    for start in range(at - 3 * rate // 50, at, rate // 50):
        concealer.add(pcm[start : start + rate // 50])
    size = rate // 100
    assert snr_db(pcm[at : at + size], concealer.conceal(size)) > 8


def test_it_fades_out() -> None:
    concealer = Concealer(8000)
    concealer.add(voice(8000))
    made = concealer.conceal(8000)
    levels = [np.abs(made[80 * block : 80 * block + 80]).max() for block in range(100)]
    assert levels[0] > 0.9 * np.abs(voice(8000)).max()
    assert levels[1:6] == sorted(levels[1:6], reverse=True)
    assert levels[5] < 0.3 * levels[0]
    assert not made[FADED_MS * 8 :].any()


def test_in_pieces_it_is_the_same() -> None:
    whole, pieces = Concealer(8000), Concealer(8000)
    for concealer in (whole, pieces):
        concealer.add(voice(8000))
    np.testing.assert_array_equal(
        np.concatenate([pieces.conceal(size) for size in (1, 159, 160, 13, 167)]), whole.conceal(500)
    )


def test_after_too_little_audio_there_is_silence() -> None:
    concealer = Concealer(8000)
    assert not concealer.conceal(160).any()
    concealer.add(voice(8000)[:200])
    assert not concealer.conceal(160).any()


def test_the_next_loss_begins_at_full_level() -> None:
    concealer = Concealer(8000)
    concealer.add(voice(8000))
    concealer.conceal(8000)
    concealer.add(voice(8000))
    assert concealer.conceal(80).any()


def test_no_period_is_sought_across_a_loss() -> None:
    concealer = Concealer(8000)
    concealer.add(voice(8000))
    concealer.conceal(160)
    concealer.add(voice(8000)[:100])
    assert not concealer.conceal(160).any()


def test_silence_stays_silence() -> None:
    concealer = Concealer(8000)
    concealer.add(np.zeros(800, np.int16))
    assert not concealer.conceal(160).any()
