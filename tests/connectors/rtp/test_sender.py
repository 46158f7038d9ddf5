import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rtp.packet import RtpPacket
from connectors.rtp.receiver import RtpReceiver
from connectors.rtp.sender import RtpSender, packet_length_ms
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.g711 import decode_alaw, decode_mulaw
from tests.connectors.rtp.network import CODECS, G722, OPUS, PCMA, PCMU, PEER, START

L16 = RtpCodec(97, "L16", 16_000)
RATES = {"PCMU": 8_000, "PCMA": 8_000, "G722": 16_000, "OPUS": 16_000, "L16": 16_000}


def quiet(codec: RtpCodec, ms: int = 20) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.zeros(RATES[codec.name] * ms // 1000, np.int16)


def send(sender: RtpSender, codec: RtpCodec, at: float, *, starts: bool = False, ms: int = 20) -> RtpPacket:
    return RtpPacket.parse(sender.packet(quiet(codec, ms), at, starts=starts))


@pytest.mark.parametrize("codec", [PCMU, PCMA, G722, OPUS, L16], ids=lambda codec: codec.name)
@pytest.mark.parametrize("ms", [10, 20, 40])
def test_numbers_and_timestamps_count_on(codec: RtpCodec, ms: int) -> None:
    sender = RtpSender(codec, 42)
    packets = [send(sender, codec, START + index * ms / 1000, starts=index == 0, ms=ms) for index in range(10)]
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) % 0x10000 == 1
        assert (after.timestamp - before.timestamp) % 2**32 == codec.clock_rate * ms // 1000
    assert [packet.marker for packet in packets] == [True] + [False] * 9
    assert {(packet.payload_type, packet.ssrc) for packet in packets} == {(codec.payload_type, 42)}
    assert (sender.packets, sender.octets) == (10, sum(len(packet.payload) for packet in packets))


def test_timestamps_go_on_through_silence_and_the_spurt_after_it_is_marked() -> None:
    sender = RtpSender(PCMU, 42)
    first = send(sender, PCMU, START, starts=True)
    second = send(sender, PCMU, START + 3, starts=True)
    assert second.marker
    assert (second.timestamp - first.timestamp) % 2**32 == 3 * 8_000
    assert (second.sequence - first.sequence) % 0x10000 == 1


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=60),
)
def test_any_pauses_over_any_wrap(sequence: int, timestamp: int, pauses: list[tuple[int, bool]]) -> None:
    """Each packet has the next number and the timestamp of its place in time, modulo their wraps."""
    sender = RtpSender(PCMU, 42)
    sender._sequence, sender._timestamp = sequence, timestamp
    at_ms = 0
    for index, (pause, pausing) in enumerate(pauses):
        at_ms += 5 * pause if pausing and index else 0
        packet = send(sender, PCMU, START + at_ms / 1000, starts=pausing)
        assert packet.sequence == (sequence + index) % 0x10000
        assert packet.timestamp == (timestamp + 8 * at_ms) % 2**32
        assert packet.marker is pausing
        at_ms += 20


def test_the_codes_are_those_of_the_law() -> None:
    pcm = np.arange(-8_000, 8_000, 100, dtype=np.int16)
    for codec, decode in ((PCMU, decode_mulaw), (PCMA, decode_alaw)):
        payload = RtpPacket.parse(RtpSender(codec, 42).packet(pcm, START, starts=True)).payload
        assert np.abs(decode(np.frombuffer(payload, np.uint8)).astype(int) - pcm).max() < 300


def test_another_codec_takes_over_in_the_same_stream() -> None:
    sender = RtpSender(PCMU, 42)
    first = send(sender, PCMU, START, starts=True)
    sender.update(PCMA)
    second = send(sender, PCMA, START + 0.02)
    assert second.payload_type == 8
    assert ((second.sequence - first.sequence) % 0x10000, (second.timestamp - first.timestamp) % 2**32) == (1, 160)


@pytest.mark.parametrize("codec", [PCMU, PCMA, G722, OPUS, L16], ids=lambda codec: codec.name)
def test_what_is_sent_is_received(codec: RtpCodec) -> None:
    sender, core = RtpSender(codec, 42), RtpReceiver([*CODECS, codec])
    now = START
    for index in range(50):
        now = START + index * 0.02
        core.receive(sender.packet(quiet(codec), now, starts=index == 0), PEER, now)
    assert len(core.take(now)) == core.stats.received == 50
    assert (core.stats.lost, core.stats.resyncs, core.stats.foreign) == (0, 0, 0)


def test_time_goes_on_in_the_reports() -> None:
    sender = RtpSender(OPUS, 42)
    send(sender, OPUS, START, starts=True)
    assert sender.timestamp(START + 1.2) - sender.timestamp(START + 0.2) == 48_000


@pytest.mark.parametrize(
    ("codec", "ptime_ms", "sent_ms"),
    [(PCMU, 20, 20), (PCMU, 30, 30), (PCMU, 25, 20), (PCMU, 200, 20), (OPUS, 30, 20), (OPUS, 60, 60), (G722, 10, 10)],
)
def test_packets_have_a_length_that_the_codec_has(codec: RtpCodec, ptime_ms: int, sent_ms: int) -> None:
    assert packet_length_ms(codec, ptime_ms) == sent_ms
