import ctypes
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from connectors.codecs import decoder_for, encoder_for, libopus
from connectors.codecs.codec import AudioDecoder
from connectors.codecs.opus import OpusDecoder
from connectors.sdp.rtp_codec import RtpCodec
from tests.connectors.codecs.speech import OPUS, packets, snr_db, speech, voice

PACKET = 320


def reference(sent: list[bytes]) -> NDArray[np.float32]:
    """The same packets by an independent decoder: FFmpeg's own, brought from 48 to 16 kHz."""
    decoder = av.AudioCodecContext.create("opus", "r")
    decoder.sample_rate, decoder.layout = 48000, "mono"
    frames = [frame.to_ndarray()[0] for data in sent for frame in decoder.decode(av.Packet(data))]
    pcm: NDArray[np.float32] = soxr.resample(np.concatenate(frames) * 32768, 48000, 16000)
    return pcm


def stereo(bitrate: int) -> list[bytes]:
    """Packets as a browser may send them: 48 kHz, two channels, 20 ms."""
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 48000, "stereo", "s16", bitrate
    pcm = np.repeat(speech(48000), 2)[None, :]
    sent = []
    for at in range(0, pcm.size, 1920):
        frame = av.AudioFrame.from_ndarray(pcm[:, at : at + 1920].copy(), format="s16", layout="stereo")
        frame.sample_rate = 48000
        sent += [bytes(packet) for packet in encoder.encode(frame)]
    return sent


def best_snr(signal: NDArray[np.generic], copy: NDArray[np.generic]) -> float:
    return max(snr_db(signal[:-400], copy, delay) for delay in range(400))


def decode_all(decoder: AudioDecoder, sent: list[bytes]) -> NDArray[np.generic]:
    return np.concatenate([decoder.decode(data) for data in sent])


def test_decodes_as_an_independent_decoder_does() -> None:
    sent = packets(OPUS, speech(16000))
    assert snr_db(reference(sent), decode_all(decoder_for(OPUS), sent)) > 40


def test_speech_survives() -> None:
    pcm = speech(16000)
    sent = packets(replace(OPUS, parameters={"maxaveragebitrate": "64000"}), pcm)
    assert best_snr(pcm, decode_all(decoder_for(OPUS), sent)) > 4


@pytest.mark.parametrize("bitrate", [24_000, 96_000], ids=["speech layer", "music layer"])
def test_two_channels_at_48_khz_become_one_at_16(bitrate: int) -> None:
    decoded = decode_all(decoder_for(OPUS), stereo(bitrate))
    assert best_snr(speech(16000), decoded) > 12


@pytest.mark.parametrize("ms", [10, 20, 40, 60])
def test_packets_may_have_any_length(ms: int) -> None:
    pcm = speech(16000)[: 16_000 * 6]
    sent = packets(OPUS, pcm, ms)
    decoder = decoder_for(OPUS)
    assert {decoder.decode(data).size for data in sent} == {16 * ms}


def test_the_state_goes_on_from_packet_to_packet() -> None:
    sent = packets(OPUS, speech(16000))
    whole = decode_all(decoder_for(OPUS), sent)
    anew = np.concatenate([decoder_for(OPUS).decode(data) for data in sent])
    assert snr_db(whole, anew) < 10


@pytest.mark.parametrize("ms", [20, 40, 60])
def test_a_lost_packet_is_restored_from_the_next_one(ms: int) -> None:
    """Redundancy against extrapolation, over every fifth packet of real speech."""
    size = 16 * ms
    sent = packets(OPUS, speech(16000), ms)
    whole = decode_all(decoder_for(OPUS), sent)
    restoring, extrapolating = decoder_for(OPUS), decoder_for(OPUS)
    restored, made_up, losses = [], [], 0
    for at, data in enumerate(sent):
        if at % 5 == 3:
            losses += 1
            made_up.append(extrapolating.conceal(size))
            continue
        restored.append(restoring.decode(data, fec_for_lost=size if at % 5 == 4 else 0))
        made_up.append(extrapolating.decode(data))
    good, poor = np.concatenate(restored), np.concatenate(made_up)
    assert snr_db(whole, good) > snr_db(whole, poor) + 3
    assert restoring.stats.recovered > losses * size // 2
    assert restoring.stats.recovered + restoring.stats.concealed == losses * size
    assert extrapolating.stats.concealed == losses * size


@pytest.mark.parametrize("ms", [10, 20, 40, 60])
def test_redundancy_is_seen_where_the_library_sees_it(ms: int) -> None:
    """The question is part of libopus from version 1.5 on only, as it is in the wheel of PyAV."""
    (bundled,) = [ctypes.CDLL(place) for place in libopus._places() if Path(place).is_absolute()]
    sent = packets(OPUS, speech(16000), ms)
    expected = [bool(bundled.opus_packet_has_lbrr(data, len(data))) for data in sent]
    decoder = OpusDecoder()
    assert [decoder._has_redundancy(data) for data in sent] == expected
    assert 0 < sum(expected) < len(sent)


def test_of_three_lost_packets_the_last_is_restored() -> None:
    sent = packets(OPUS, voice(16000))
    decoder = decoder_for(OPUS)
    for data in sent[:20]:
        decoder.decode(data)
    assert decoder.decode(sent[23], fec_for_lost=3 * PACKET).size == 4 * PACKET
    assert (decoder.stats.recovered, decoder.stats.concealed) == (PACKET, 2 * PACKET)


def test_without_redundancy_the_loss_is_extrapolated() -> None:
    sent = packets(replace(OPUS, parameters={}), voice(16000))
    decoder = decoder_for(OPUS)
    for data in sent[:20]:
        decoder.decode(data)
    decoder.decode(sent[21], fec_for_lost=PACKET)
    assert (decoder.stats.recovered, decoder.stats.concealed) == (0, PACKET)


def test_extrapolation_ends_in_silence() -> None:
    decoder = decoder_for(OPUS)
    decode_all(decoder, packets(OPUS, voice(16000)))
    first, *_, sixth = [decoder.conceal(PACKET) for _ in range(6)]
    assert np.abs(first).max() > 1000
    assert sixth.any()
    assert not decoder.conceal(PACKET).any()
    decode_all(decoder, packets(OPUS, voice(16000)))
    assert np.abs(decoder.conceal(PACKET)).max() > 1000
    assert not decoder_for(OPUS).conceal(PACKET).any()


@pytest.mark.parametrize("payload", [b"\xff" * 3, b"\x4b\xff\xff", bytes(4001)], ids=["frames", "padding", "size"])
def test_a_damaged_packet_is_counted_and_bridged(payload: bytes) -> None:
    decoder = decoder_for(OPUS)
    good = packets(OPUS, voice(16000))
    for data in good[:10]:
        decoder.decode(data)
    assert decoder.decode(payload).size == PACKET
    assert (decoder.stats.damaged, decoder.stats.concealed) == (1, PACKET)
    assert decoder.decode(good[11]).size == PACKET


def test_the_encoder_does_what_the_peer_asks() -> None:
    pcm = speech(16000)

    def bytes_sent(**parameters: str) -> int:
        return sum(map(len, packets(RtpCodec(111, "OPUS", 48000, 2, parameters), pcm)))

    quiet = np.zeros(16_000, np.int16)
    plain, silent = (packets(RtpCodec(111, "OPUS", 48000, 2, fmtp), quiet) for fmtp in ({}, {"usedtx": "1"}))
    assert bytes_sent(maxaveragebitrate="8000") < 0.6 * bytes_sent()
    assert bytes_sent(maxaveragebitrate="no number") == bytes_sent()
    assert sum(map(len, silent)) < sum(map(len, plain)) / 2


def test_the_encoder_takes_whole_packets() -> None:
    with pytest.raises(ValueError, match="321"):
        encoder_for(OPUS).encode(np.zeros(321, np.int16))
