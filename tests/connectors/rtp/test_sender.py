import itertools

import numpy as np
import pytest

from connectors.rtp.packet import RtpPacket
from connectors.rtp.receiver import RtpReceiver
from connectors.rtp.sender import MAX_QUEUED_S, RtpSender
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.g711 import decode_alaw, decode_mulaw
from tests.connectors.rtp.network import CODECS, G722, OPUS, PCMA, PCMU, PEER, START


def run(sender: RtpSender, now: float, until: float) -> list[tuple[float, RtpPacket]]:
    """Everything that is sent, with its time."""
    sent = []
    while (due := sender.next_timer(now)) is not None and due <= until:
        now = max(now, due)
        sent += [(now, RtpPacket.parse(data)) for data in sender.due(now)]
    return sent


@pytest.mark.parametrize("ptime_ms", [10, 20, 30])
def test_audio_is_sent_at_the_pace_of_its_media_time(ptime_ms: int) -> None:
    sender = RtpSender(PCMU, ptime_ms, 42)
    sender.push(np.arange(8000, dtype=np.int16))
    sent = run(sender, START, START + 5)
    count = -(-1000 // ptime_ms)
    assert [at for at, _ in sent] == pytest.approx([START + index * ptime_ms / 1000 for index in range(count)])
    packets = [packet for _, packet in sent]
    size = 8 * ptime_ms
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) % 0x10000 == 1
        assert (after.timestamp - before.timestamp) % 2**32 == size
    assert [packet.marker for packet in packets] == [True] + [False] * (count - 1)
    assert {(packet.payload_type, packet.ssrc, len(packet.payload)) for packet in packets} == {(0, 42, size)}
    played = decode_mulaw(np.frombuffer(b"".join(packet.payload for packet in packets), np.uint8))
    assert np.abs(played[:8000] - np.arange(8000)).max() < 300
    assert not played[8000:].any()
    assert (sender.packets, sender.octets) == (count, count * size)


def test_a_pause_is_a_step_in_time_with_a_marker() -> None:
    sender = RtpSender(PCMU, 20, 42)
    sender.push(np.zeros(320, np.int16))
    first = run(sender, START, START + 1)
    sender.push(np.zeros(320, np.int16))
    second = run(sender, START + 3, START + 4)
    assert second[0][1].marker
    assert (second[0][1].timestamp - first[0][1].timestamp) % 2**32 == 3 * 8000


def test_a_driver_that_was_held_up_does_not_send_a_burst() -> None:
    sender = RtpSender(PCMU, 20, 42)
    sender.push(np.zeros(8000, np.int16))
    assert len(sender.due(START)) == 1
    assert len(sender.due(START + 0.041)) == 2
    assert len(sender.due(START + 0.5)) == 1


def test_audio_that_comes_in_pieces_has_no_seam() -> None:
    sender = RtpSender(PCMA, 20, 42)
    pcm = np.arange(0, 16_000, 10, dtype=np.int16)
    for piece in np.array_split(pcm, 7):
        sender.push(piece)
    sent = run(sender, START, START + 5)
    played = decode_alaw(np.frombuffer(b"".join(packet.payload for _, packet in sent), np.uint8))
    assert np.abs(played - pcm).max() < 300


def test_talking_stops_at_once() -> None:
    sender = RtpSender(PCMU, 20, 42)
    sender.push(np.zeros(8000, np.int16))
    sender.due(START)
    sender.clear()
    assert sender.next_timer(START + 0.02) is None
    assert sender.due(START + 0.02) == []


def test_a_full_queue_drops_the_oldest() -> None:
    sender = RtpSender(PCMU, 20, 42)
    for _ in range(int(MAX_QUEUED_S) + 5):
        sender.push(np.zeros(8000, np.int16))
    assert sender.dropped_samples == 5 * 8000
    assert sender.queued_s == MAX_QUEUED_S


def test_another_codec_takes_over_and_drops_what_waits_at_another_rate() -> None:
    sender = RtpSender(PCMU, 20, 42)
    sender.push(np.zeros(800, np.int16))
    sender.update(PCMA, 20)
    assert sender.dropped_samples == 0
    sender.update(G722, 20)
    assert (sender.dropped_samples, sender.sample_rate_hz) == (800, 16_000)


@pytest.mark.parametrize("codec", [PCMU, PCMA, G722, OPUS, RtpCodec(97, "L16", 16000)], ids=lambda codec: codec.name)
def test_what_is_sent_is_received(codec: RtpCodec) -> None:
    sender = RtpSender(codec, 20, 42)
    sender.push(np.zeros(sender.sample_rate_hz, np.int16))
    core = RtpReceiver([*CODECS, codec])
    now = START
    while (due := sender.next_timer(now)) is not None:
        now = max(now, due)
        for data in sender.due(now):
            core.receive(data, PEER, now)
    assert len(core.take(now)) == core.stats.received == 50
    assert (core.stats.lost, core.stats.resyncs, core.stats.foreign) == (0, 0, 0)


def test_opus_is_sent_in_packets_that_it_has() -> None:
    sender = RtpSender(OPUS, 30, 42)
    sender.push(np.zeros(3200, np.int16))
    assert len(run(sender, START, START + 1)) == 10
    assert sender.timestamp(START + 1.2) - sender.timestamp(START + 0.2) == 48_000
