import av
import numpy as np
import pytest

from connectors.codecs import decoder_for, encoder_for
from tests.connectors.codecs.speech import G722, packets, snr_db, speech, voice

DELAY = 22
"""Samples that the two filter banks, the encoder's and the decoder's, take."""


def test_decodes_bit_for_bit_as_the_reference() -> None:
    sent = packets(G722, speech(16000))
    reference = av.AudioCodecContext.create("g722", "r")
    reference.sample_rate, reference.layout = 16000, "mono"
    expected = np.concatenate([frame.to_ndarray()[0] for data in sent for frame in reference.decode(av.Packet(data))])
    decoder = decoder_for(G722)
    np.testing.assert_array_equal(np.concatenate([decoder.decode(data) for data in sent]), expected)


def test_encodes_bit_for_bit_as_the_reference() -> None:
    pcm = speech(16000)
    reference = av.AudioCodecContext.create("g722", "w")
    reference.sample_rate, reference.layout, reference.format = 16000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
    frame.sample_rate = 16000
    assert b"".join(packets(G722, pcm)) == b"".join(bytes(packet) for packet in reference.encode(frame))


def test_every_byte_is_decoded_as_the_reference() -> None:
    codes = np.random.default_rng(1).permutation(np.repeat(np.arange(256, dtype=np.uint8), 20)).tobytes()
    reference = av.AudioCodecContext.create("g722", "r")
    reference.sample_rate, reference.layout = 16000, "mono"
    expected = np.concatenate([frame.to_ndarray()[0] for frame in reference.decode(av.Packet(codes))])
    np.testing.assert_array_equal(decoder_for(G722).decode(codes), expected)


def test_speech_survives() -> None:
    pcm = speech(16000)
    decoder = decoder_for(G722)
    decoded = np.concatenate([decoder.decode(data) for data in packets(G722, pcm)])
    assert snr_db(pcm, decoded, DELAY) > 18


def test_packets_decode_as_the_whole_stream_does() -> None:
    stream = b"".join(packets(G722, speech(16000)))
    whole = decoder_for(G722).decode(stream)
    decoder = decoder_for(G722)
    parts = np.concatenate([decoder.decode(stream[at : at + 37]) for at in range(0, len(stream), 37)])
    np.testing.assert_array_equal(parts, whole)


def test_the_state_goes_on_from_packet_to_packet() -> None:
    """What a decoder made anew for every packet would lose."""
    pcm = speech(16000)
    anew = np.concatenate([decoder_for(G722).decode(data) for data in packets(G722, pcm)])
    assert snr_db(pcm, anew, DELAY) < 12


def test_finds_back_after_a_loss() -> None:
    pcm = speech(16000)
    sent = packets(G722, pcm)
    clean, damaged = decoder_for(G722), decoder_for(G722)
    whole = np.concatenate([clean.decode(data) for data in sent])
    parts = [damaged.decode(data, fec_for_lost=320 if at == 101 else 0) for at, data in enumerate(sent) if at != 100]
    lossy = np.concatenate(parts)
    assert lossy.size == whole.size
    np.testing.assert_array_equal(lossy[:32_000], whole[:32_000])
    assert snr_db(whole[40_000:], lossy[40_000:]) > 35
    assert damaged.stats.concealed == 320


def test_a_lost_packet_goes_on_with_the_pitch() -> None:
    pcm = voice(16000)
    decoder = decoder_for(G722)
    for data in packets(G722, pcm)[:10]:
        decoder.decode(data)
    assert snr_db(pcm[3200 - DELAY : 3360 - DELAY], decoder.conceal(160)) > 15


def test_the_encoder_takes_pairs_of_samples() -> None:
    with pytest.raises(ValueError, match="321"):
        encoder_for(G722).encode(np.zeros(321, np.int16))
