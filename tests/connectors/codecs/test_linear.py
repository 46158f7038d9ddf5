import numpy as np
import pytest

from connectors.codecs import decoder_for
from connectors.sdp.rtp_codec import RtpCodec
from tests.connectors.codecs.speech import packets, speech


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_speech_comes_back_as_it_was(rate: int) -> None:
    codec, pcm = RtpCodec(96, "L16", rate), speech(rate)
    decoder = decoder_for(codec)
    decoded = np.concatenate([decoder.decode(data) for data in packets(codec, pcm)])
    np.testing.assert_array_equal(decoded, pcm[: decoded.size])


def test_bytes_are_in_network_order() -> None:
    decoder = decoder_for(RtpCodec(96, "L16", 8000))
    assert decoder.decode(b"\x01\x02\x80\x00\x7f\xff").tolist() == [0x0102, -32768, 32767]


def test_two_channels_are_averaged() -> None:
    decoder = decoder_for(RtpCodec(10, "L16", 44_100, 2))
    pairs = np.array([[1000, 3000], [32767, 32767], [-32768, -32768], [32767, -32768]], ">i2")
    assert decoder.decode(pairs.tobytes()).tolist() == [2000, 32767, -32768, -1]


def test_an_encoder_of_two_channels_repeats_the_sample() -> None:
    codec = RtpCodec(10, "L16", 44_100, 2)
    (packet,) = packets(codec, np.arange(882, dtype=np.int16))
    np.testing.assert_array_equal(np.frombuffer(packet, ">i2"), np.repeat(np.arange(882), 2))


@pytest.mark.parametrize(("channels", "size"), [(1, 5), (2, 7), (2, 3)])
def test_a_cut_packet_is_counted_and_its_whole_samples_are_received(channels: int, size: int) -> None:
    decoder = decoder_for(RtpCodec(96, "L16", 16000, channels))
    assert decoder.decode(bytes(size)).size == size // (2 * channels)
    assert decoder.stats.damaged == 1
