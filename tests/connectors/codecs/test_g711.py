import numpy as np
import pytest

from connectors.codecs import decoder_for, encoder_for
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.frames import Encoding
from pipeline.g711 import decode_alaw, decode_mulaw
from tests.connectors.codecs.speech import PCMA, PCMU, packets, snr_db, speech, voice

DECODE = {"PCMU": decode_mulaw, "PCMA": decode_alaw}
both_laws = pytest.mark.parametrize("codec", [PCMU, PCMA], ids=lambda codec: codec.name)


@both_laws
def test_every_code_passes_through(codec: RtpCodec) -> None:
    decoder = decoder_for(codec)
    assert decoder.encoding is Encoding(codec.name)
    np.testing.assert_array_equal(decoder.decode(bytes(range(256))), np.arange(256, dtype=np.uint8))


@both_laws
def test_the_encoder_gives_back_every_code(codec: RtpCodec) -> None:
    codes = np.arange(256, dtype=np.uint8)
    values = DECODE[codec.name](codes)
    again = np.frombuffer(encoder_for(codec).encode(values), np.uint8)
    np.testing.assert_array_equal(DECODE[codec.name](again), values)
    assert np.count_nonzero(again != codes) <= 1  # mu-law has two codes for zero


@both_laws
def test_speech_survives_within_the_noise_of_the_law(codec: RtpCodec) -> None:
    pcm = speech(8000)[::-1].copy()
    pcm = (pcm * 0.37).astype(np.int16)
    decoder = decoder_for(codec)
    decoded = np.concatenate([decoder.decode(packet) for packet in packets(codec, pcm)])
    assert snr_db(pcm, DECODE[codec.name](decoded)) > 33


@both_laws
def test_a_lost_packet_goes_on_with_the_pitch(codec: RtpCodec) -> None:
    pcm = voice(8000)
    decoder = decoder_for(codec)
    sent = packets(codec, pcm)
    for packet in sent[:10]:
        decoder.decode(packet)
    restored = DECODE[codec.name](decoder.conceal(160).astype(np.uint8))
    assert snr_db(pcm[1600 : 1600 + 80], restored[:80]) > 20
    quiet = DECODE[codec.name](decoder.conceal(1600).astype(np.uint8))
    assert np.abs(quiet[320:]).max() <= 8
