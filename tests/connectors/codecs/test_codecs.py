"""What holds for every codec."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.codecs import UnsupportedCodec, decoder_for, encoder_for, sample_rate_hz, usable
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.frames import AudioFrame
from tests.connectors.codecs.speech import ALL, L16, OPUS, packets, speech, voice

every_codec = pytest.mark.parametrize("codec", ALL, ids=lambda codec: codec.name)


@every_codec
def test_decoded_audio_fits_into_a_frame_and_is_as_long_as_what_was_encoded(codec: RtpCodec) -> None:
    decoder = decoder_for(codec)
    assert decoder.sample_rate_hz == encoder_for(codec).sample_rate_hz == sample_rate_hz(codec)
    pcm = speech(decoder.sample_rate_hz)
    decoded = [decoder.decode(packet) for packet in packets(codec, pcm)]
    AudioFrame(0, decoded[0], decoder.encoding, decoder.sample_rate_hz, 0.0)
    assert {audio.size for audio in decoded} == {decoder.sample_rate_hz // 50}
    assert decoder.stats.packets == len(decoded)
    assert decoder.stats.damaged == decoder.stats.concealed == 0


@every_codec
def test_streams_do_not_touch_each_other(codec: RtpCodec) -> None:
    alone, one, other = decoder_for(codec), decoder_for(codec), decoder_for(codec)
    pcm = speech(alone.sample_rate_hz)
    for packet, strange in zip(packets(codec, pcm), packets(codec, pcm[::-1].copy()), strict=True):
        other.decode(strange)
        np.testing.assert_array_equal(alone.decode(packet), one.decode(packet))


@every_codec
def test_decoded_arrays_stay_as_they_are_when_decoding_goes_on(codec: RtpCodec) -> None:
    decoder = decoder_for(codec)
    first, *rest = packets(codec, speech(decoder.sample_rate_hz)[: decoder.sample_rate_hz])
    audio = decoder.decode(first)
    before = audio.copy()
    for packet in rest:
        decoder.decode(packet)
    decoder.conceal(320)
    np.testing.assert_array_equal(audio, before)


@every_codec
def test_an_empty_packet_is_damaged(codec: RtpCodec) -> None:
    decoder = decoder_for(codec)
    assert decoder.decode(b"").size == 0
    assert (decoder.stats.packets, decoder.stats.damaged) == (1, 1)


@every_codec
@pytest.mark.parametrize("lost", [1, 7, 160, 320, 800, 16_000])
def test_lost_audio_is_made_up_to_the_sample(codec: RtpCodec, lost: int) -> None:
    decoder = decoder_for(codec)
    size = decoder.sample_rate_hz // 50
    packet, *_, last = packets(codec, voice(decoder.sample_rate_hz))
    assert decoder.conceal(lost).size == lost
    decoder.decode(packet)
    assert decoder.conceal(lost).size == lost
    assert decoder.decode(last, fec_for_lost=lost).size == lost + size
    assert decoder.stats.concealed + decoder.stats.recovered == 3 * lost


@every_codec
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_payload_raises_and_none_decodes_to_more_than_its_bytes_allow(codec: RtpCodec, data: st.DataObject) -> None:
    decoder = decoder_for(codec)
    good = packets(codec, voice(decoder.sample_rate_hz, 0.04))
    payloads = st.binary(max_size=300) | st.sampled_from(good).flatmap(
        lambda packet: st.integers(0, len(packet)).map(lambda cut: packet[:cut])
    )
    for payload in data.draw(st.lists(payloads, max_size=12)):
        lost = data.draw(st.integers(0, 2_000))
        audio = decoder.decode(payload, fec_for_lost=lost)
        bound = 1_920 if codec is OPUS else 2 * len(payload)
        assert lost <= audio.size <= lost + bound
    assert decoder.decode(good[0]).size == decoder.sample_rate_hz // 50


@every_codec
def test_a_giant_payload_is_decoded_or_counted(codec: RtpCodec) -> None:
    decoder = decoder_for(codec)
    audio = decoder.decode(bytes(65_536))
    assert audio.size <= 131_072
    assert (decoder.stats.damaged == 1) is (codec is OPUS)


@pytest.mark.parametrize(
    "codec",
    [
        RtpCodec(18, "G729", 8000),
        RtpCodec(101, "TELEPHONE-EVENT", 8000),
        RtpCodec(0, "PCMU", 16000),
        RtpCodec(0, "PCMU", 8000, 2),
        RtpCodec(9, "G722", 16000),
        RtpCodec(111, "OPUS", 48000, 1),
        RtpCodec(96, "L16", 4000),
        RtpCodec(96, "L16", 96000),
        RtpCodec(96, "L16", 16000, 6),
    ],
    ids=str,
)
def test_what_is_not_ours_is_refused(codec: RtpCodec) -> None:
    with pytest.raises(UnsupportedCodec, match=codec.name):
        decoder_for(codec)
    with pytest.raises(UnsupportedCodec, match=codec.name):
        encoder_for(codec)


def test_only_what_can_be_decoded_is_usable() -> None:
    assert [name for name in ("PCMU", "PCMA", "G722", "OPUS", "L16", "G729", "CN") if usable(name)] == [
        codec.name for codec in ALL
    ]


def test_the_rate_of_linear_audio_is_its_own() -> None:
    assert sample_rate_hz(L16) == 16_000
    assert sample_rate_hz(RtpCodec(11, "L16", 44_100)) == 44_100
