import pytest

from connectors.rtp.durations import duration
from connectors.rtp.quality import mos, r_factor
from connectors.sdp.rtp_codec import RtpCodec
from tests.connectors.rtp.network import G722, OPUS, PCMA, PCMU


@pytest.mark.parametrize(
    ("rating", "opinion"),
    [
        (-1, 1.0),
        (0, 1.0),
        (50, 2.58),
        (60, 3.10),
        (70, 3.60),
        (80, 4.02),
        (90, 4.34),
        (93.2, 4.41),
        (100, 4.5),
        (120, 4.5),
    ],
)
def test_opinions_are_those_of_the_recommendation(rating: float, opinion: float) -> None:
    """G.107, annex B: R 50 to 90 are the bounds of G.109's classes of quality."""
    assert mos(rating) == pytest.approx(opinion, abs=0.006)


def test_a_clean_leg_is_rated_by_its_delay_alone() -> None:
    assert r_factor(0, 0, 0, 0.0) == pytest.approx(93.2)
    assert r_factor(1000, 0, 0, 100.0) == pytest.approx(93.2 - 2.4)
    assert r_factor(1000, 0, 0, 277.3) == pytest.approx(93.2 - 0.024 * 277.3 - 11)


def test_loss_is_rated_by_its_share_and_worse_in_bursts() -> None:
    random = r_factor(950, 50, 48, 40.0)
    assert random == pytest.approx(93.2 - 0.96 - 95 * 5 / (5 + 25.1), abs=0.1)
    assert r_factor(950, 50, 10, 40.0) == pytest.approx(93.2 - 0.96 - 95 * 5 / (5 / 4.75 + 25.1), abs=0.1)
    assert r_factor(0, 1000, 1, 40.0) < 20
    assert r_factor(500, 500, 1, 9000.0) == 0.0


def test_durations_of_octetwise_codecs_are_their_sizes() -> None:
    assert [duration(codec, bytes(160)) for codec in (PCMU, PCMA, G722)] == [160] * 3
    assert duration(RtpCodec(97, "L16", 16000), bytes(640)) == 320
    assert duration(RtpCodec(10, "L16", 44100, 2), bytes(641)) == 160


@pytest.mark.parametrize(
    ("toc", "units"),
    [
        (b"\x00", 480),  # SILK, narrow band, 10 ms
        (b"\x18", 2880),  # SILK, 60 ms
        (b"\x48", 960),  # SILK, wide band, 20 ms
        (b"\x60", 480),  # hybrid, 10 ms
        (b"\x68", 960),
        (b"\x80", 120),  # CELT, 2.5 ms
        (b"\xf8", 960),
        (b"\x49", 1920),  # two frames of the same size
        (b"\x4a", 1920),
        (b"\x4b\x03", 2880),  # any number of frames
        (b"\x4b\x06", 5760),
        (b"\x4b\x07", 0),  # more than 120 ms
        (b"\x4b\x00", 0),
        (b"\x4b", 0),
        (b"", 0),
    ],
)
def test_durations_of_opus_are_told_by_its_first_octets(toc: bytes, units: int) -> None:
    assert duration(OPUS, toc + bytes(20) if len(toc) > 1 else toc) == units
