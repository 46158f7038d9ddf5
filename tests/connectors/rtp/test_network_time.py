"""Media time of legs, on simulated time: timestamps that jump, pauses, silence, audio faster than real time."""

from dataclasses import replace

import pytest

from connectors.rtp.events import Silence
from connectors.rtp.receiver import RtpReceiver
from tests.connectors.rtp.network import CODECS, START, Sender, check_timeline, places, play, receiver


@pytest.mark.parametrize("jump", [80_000_000, -80_000_000, 40_000, -1000, 2**31 - 1])
def test_timestamps_that_jump_do_not_move_media_time(jump: int) -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(100)
    sender.timestamp += jump
    sent += sender.packets(100)
    played = play(core, sent)
    assert [event.pts for event in played.audio] == list(range(0, 32_000, 160))
    assert (core.stats.resyncs, core.stats.received) == (1, 200)
    core.measure(sender.at)
    assert core.stats.jitter_ms < (1 if abs(jump) > 8000 else 10)


def test_timestamps_that_jump_at_a_pause_are_placed_by_the_clock() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(100)
    sender.at += 5.0
    sender.timestamp = 17
    played = play(core, sent + sender.packets(10))
    assert abs(played.audio[100].pts - (16_000 + 40_000)) < 80
    assert core.stats.resyncs == 1


def test_a_pause_moves_media_time_by_its_timestamps() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(100)
    sender.pause(10.0)
    sent += sender.packets(100)
    played = play(core, sent)
    assert [event.pts for event in played.audio[100:]] == list(range(96_000, 112_000, 160))
    assert sum(event.lost_before for event in played.audio) == 0
    check_timeline(played)
    core.measure(sender.at)
    assert core.stats.jitter_ms < 1


def test_a_pause_is_believed_although_the_first_packet_came_late() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(100)
    sent = [replace(packet, at=max(packet.at, START + 1.5)) for packet in sent]
    sender.pause(2.0)
    played = play(core, sent + sender.packets(10))
    assert played.audio[100].pts == 16_000 + 16_000
    assert core.stats.resyncs == 0


def test_silence_is_received_where_nothing_is_sent_and_then_no_more() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    played = play(core, sent, until=sender.at + 20)
    silence = [(at, event) for at, event in played.events if isinstance(event, Silence)]
    assert sum(event.samples for _, event in silence) == 8000
    assert silence[0][0] <= sent[-1].at + 0.301
    assert silence[-1][0] <= sent[-1].at + 1.201
    assert core.next_timer(sender.at + 20) is None
    check_timeline(played)


def test_comfort_noise_is_silence_at_once() -> None:
    core = receiver()
    sender = Sender()
    sent = [*sender.packets(50), sender.packet(b"\x40", payload_type=13)]
    sender.pause(0.38)
    sent += sender.packets(50)
    played = play(core, sent)
    silence = [(at, event) for at, event in played.events if isinstance(event, Silence)]
    assert silence[0][0] <= sent[50].at + 0.101
    assert played.audio[50].pts == 8000 + 3200
    assert core.stats.received == 101
    assert core.stats.unknown_payload == 0
    check_timeline(played)


def test_packets_that_the_network_held_up_are_received_behind_the_silence() -> None:
    """Half a second without a packet, then all of them at once: nothing of what was said is cut off."""
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    stuck = sender.packets(25)
    sent += [type(packet)(stuck[-1].at, packet.data) for packet in stuck]
    sent += sender.packets(50)
    played = play(core, sent)
    assert places(played) == list(range(125))
    assert sum(event.lost_before for event in played.audio) == 0
    check_timeline(played)
    ahead = played.audio[-1].pts - 160 * 124
    assert 0 < ahead <= 8000 * 0.5
    sender.pause(3.0)  # the next pause takes back what was given out too much
    played = play(core, sender.packets(10))
    assert played.audio[0].pts == 160 * 125 + 24_000
    sender.pause(3.0)
    assert play(core, sender.packets(1)).audio[0].pts == 160 * 135 + 48_000


@pytest.mark.parametrize("duplicate", [False, True])
def test_a_moment_of_silence_is_taken_back_too(duplicate: bool) -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    sender.at += 0.3
    sent += [replace(sent[-1], at=sender.at - 0.001)] * duplicate
    sent += sender.packets(50)
    sender.pause(1.0)
    played = play(core, sent + sender.packets(1))
    assert sum(event.samples for _, event in played.events if isinstance(event, Silence)) >= 800
    assert played.audio[-1].pts == 16_000 + 8000


def test_timers_and_duplicates_do_not_make_silence_forgotten() -> None:
    """Of an outage of 0.42 s, 0.2 s were handed out as silence; a duplicate and a timer in it change nothing."""
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    sender.at += 0.42
    late = [replace(sent[-1], at=sender.at - 0.05 + 0.01 * index) for index in range(3)]
    played = play(core, [*sent, *late])
    core.take(sender.at - 0.01)
    sent = sender.packets(50)
    sender.pause(1.0)
    played = play(core, sent + sender.packets(1))
    assert played.audio[-1].pts == 16_000 + 8000


def test_loss_before_comfort_noise_is_not_concealed_behind_it() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    sender.packets(2)
    sent.append(sender.packet(b"\x40", payload_type=13))
    sender.pause(1.0)
    played = play(core, sent + sender.packets(10))
    assert core.stats.lost == 2
    assert sum(event.lost_before for event in played.audio) == 0


def test_speech_right_behind_comfort_noise_ends_the_silence() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    timestamp = sender.timestamp
    sent.append(sender.packet(b"\x40", payload_type=13))
    sender.timestamp = timestamp
    played = play(core, sent + sender.packets(50))
    assert not [event for _, event in played.events if isinstance(event, Silence)]
    assert [event.pts for event in played.audio] == list(range(0, 16_000, 160))


def test_a_lost_event_packet_is_not_concealed_in_a_later_pause() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    timestamp = sender.timestamp
    sender.packet()
    sent.append(sender.packet(b"\x05\x8a\x03\x20", payload_type=101))
    sender.timestamp = timestamp
    sent += sender.packets(50)
    sender.pause(1.0)
    played = play(core, sent + sender.packets(10))
    assert core.stats.lost == 1
    assert sum(event.lost_before for event in played.audio) == 0


def test_audio_faster_than_real_time_is_thrown_away() -> None:
    core = receiver()
    sender = Sender()
    sent = []
    for _ in range(3000):
        packet = sender.packet()
        sent.append(type(packet)(START + (packet.at - START) / 10, packet.data))
    played = play(core, sent)
    seconds = sent[-1].at - START
    assert core.stats.excess > 0
    assert len(played.audio) + core.stats.excess == 3000
    assert played.audio[-1].pts <= 8000 * (seconds + 10.1)


def test_timestamps_faster_than_real_time_do_not_carry_media_time_away() -> None:
    """Each packet is less ahead than what is believed, all together are not."""
    core = receiver()
    sender = Sender()
    sent = sender.packets(10)
    for _ in range(500):
        sender.timestamp += 7000
        sent.append(sender.packet())
    played = play(core, sent)
    assert core.stats.excess > 0
    assert played.audio[-1].pts <= 8000 * (sender.at - START + 10.1)
    sender.at += 15
    played = play(core, sender.packets(50))
    assert len(played.audio) == 50
    assert played.audio[-1].pts <= 8000 * (sender.at - START + 10.1)


def test_legs_of_a_call_share_their_beginning() -> None:
    core = RtpReceiver(CODECS, started_at=START - 3)
    played = play(core, Sender().packets(3))
    assert [event.pts for event in played.audio] == [24_000, 24_160, 24_320]
