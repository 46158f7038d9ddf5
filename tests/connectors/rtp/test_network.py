"""Legs on damaged networks, on simulated time."""

from dataclasses import replace

import pytest

from connectors.rtp.events import Audio, Silence
from connectors.rtp.receiver import RtpReceiver
from tests.connectors.rtp.network import CODECS, PCMA, START, Damage, Played, Sender, damage, play


def receiver() -> RtpReceiver:
    return RtpReceiver(CODECS)


def check_timeline(played: Played) -> None:
    """No sample twice, none out of order; what is lost before a packet lies behind what came before it."""
    end = 0
    for _, event in played.events:
        if isinstance(event, Audio):
            assert event.pts - event.lost_before >= end
            end = event.pts + len(event.payload)
        elif isinstance(event, Silence):
            assert event.pts >= end
            end = event.pts + event.samples


def check_counts(core: RtpReceiver, done: Damage, sent: int) -> None:
    stats = core.stats
    assert stats.received + stats.lost == sent
    assert stats.lost - stats.late == done.lost
    assert stats.duplicate == done.duplicated
    assert stats.reordered + stats.late == done.overtaken
    assert stats.foreign == stats.malformed == stats.unknown_payload == 0


def places(played: Played) -> list[int]:
    return [int.from_bytes(event.payload[:4], "big") for event in played.audio]


def test_packets_in_order_come_out_at_once_and_whole() -> None:
    core = receiver()
    played = play(core, Sender().packets(500))
    assert played.longest_wait_s == 0
    assert [event.pts for event in played.audio] == [160 * index for index in range(500)]
    assert places(played) == list(range(500))
    assert (core.stats.received, core.stats.lost, core.stats.jitter_ms) == (500, 0, 0.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "network",
    [
        {"loss": 0.05},
        {"loss": 0.05, "burst": 5},
        {"jitter_s": 0.06},
        {"swapped": 0.03},
        {"duplicates": 0.03},
        {"loss": 0.05, "burst": 5, "jitter_s": 0.06, "swapped": 0.03, "duplicates": 0.03},
    ],
    ids=["loss", "bursts", "jitter", "reordered", "duplicates", "all"],
)
def test_no_stall_and_exact_counts(network: dict[str, float], seed: int) -> None:
    core = receiver()
    sent = Sender().packets(3000)
    done = damage(sent, seed=seed, **network)  # type: ignore[arg-type]
    played = play(core, done.delivered, until=sent[-1].at + 0.3)
    assert played.longest_wait_s <= 0.120 + 1e-9
    check_counts(core, done, len(sent))
    check_timeline(played)
    assert len(played.audio) == core.stats.received
    for event in played.audio:  # every packet is at its place of the leg's time, lost ones or not
        assert event.pts == 160 * int.from_bytes(event.payload[:4], "big")
    assert sum(event.lost_before for event in played.audio) == 160 * core.stats.lost


def test_most_of_a_jittery_network_is_received() -> None:
    core = receiver()
    sent = Sender().packets(3000)
    play(core, damage(sent, jitter_s=0.06).delivered)
    assert core.stats.late <= 6
    core.measure(sent[-1].at)
    assert 12 < core.stats.jitter_ms < 28
    assert 50 <= core.stats.wait_ms <= 120


def test_a_quiet_network_is_waited_for_the_shortest_time() -> None:
    core = receiver()
    sender = Sender()
    play(core, sender.packets(6000))
    core.measure(sender.at)
    assert core.stats.wait_ms == 20


def test_waiting_grows_where_packets_come_late_and_is_never_more_than_120_ms() -> None:
    core = receiver()
    sent = Sender().packets(400)
    late = [type(packet)(packet.at + 0.5 * (index % 40 == 20), packet.data) for index, packet in enumerate(sent)]
    played = play(core, sorted(late, key=lambda packet: packet.at), until=sent[-1].at + 1)
    core.measure(sent[-1].at + 0.5)
    assert core.stats.late == core.stats.lost == 10
    assert played.longest_wait_s <= 0.120 + 1e-9
    assert 100 < core.stats.wait_ms <= 120


@pytest.mark.parametrize("ppm", [200, -200])
def test_an_hour_of_clock_drift_is_absorbed(ppm: float) -> None:
    core = receiver()
    sender = Sender(ppm=ppm)
    played = play(core, sender.packets(180_000))
    assert played.longest_wait_s == 0
    assert core.stats.received == 180_000
    assert core.stats.lost == core.stats.resyncs == core.stats.excess == 0
    assert all(isinstance(event, Audio) for _, event in played.events)
    assert [event.pts for event in played.audio] == list(range(0, 160 * 180_000, 160))


def test_drift_with_loss_and_jitter_is_absorbed() -> None:
    core = receiver()
    sent = Sender(ppm=200).packets(30_000)
    done = damage(sent, loss=0.02, jitter_s=0.04)
    played = play(core, done.delivered, until=sent[-1].at + 0.3)
    check_counts(core, done, len(sent))
    assert core.stats.resyncs == core.stats.excess == 0
    assert played.longest_wait_s <= 0.120 + 1e-9


def test_sequence_numbers_and_timestamps_wrap() -> None:
    core = receiver()
    sent = Sender(sequence=65_000, timestamp=2**32 - 40_000).packets(3000)
    done = damage(sent, loss=0.05, jitter_s=0.03)
    played = play(core, done.delivered, until=sent[-1].at + 0.3)
    check_counts(core, done, len(sent))
    assert core.stats.ssrc_changes == core.stats.resyncs == 0
    assert all(event.pts == 160 * int.from_bytes(event.payload[:4], "big") for event in played.audio)


def test_another_ssrc_goes_on_without_loss_or_stall() -> None:
    core = receiver()
    first = Sender(ssrc=1).packets(100)
    second = Sender(ssrc=2, sequence=9, timestamp=12345, at=first[-1].at + 0.02, count=100).packets(100)
    played = play(core, first + second)
    assert places(played) == list(range(200))
    assert [event.pts for event in played.audio] == list(range(0, 32_000, 160))
    assert played.longest_wait_s <= 0.021
    assert (core.stats.ssrc_changes, core.stats.received, core.stats.lost) == (1, 200, 0)


def test_another_source_waits_for_nothing_of_the_old_one_and_loses_nothing_of_it() -> None:
    core = receiver()
    first = Sender(ssrc=1).packets(50)
    second = Sender(ssrc=2, at=first[-1].at + 0.001, count=50).packets(50)
    played = play(core, first[:48] + first[49:] + second)
    assert places(played) == [*range(48), *range(49, 100)]
    assert (core.stats.lost, core.stats.received) == (1, 99)


def test_another_source_that_begins_a_little_late_leaves_no_gap() -> None:
    core = receiver()
    first = Sender(ssrc=1).packets(50)
    second = Sender(ssrc=2, at=first[-1].at + 0.07, count=50).packets(50)
    played = play(core, first + second)
    assert [event.pts for event in played.audio] == list(range(0, 16_000, 160))


def test_another_ssrc_is_seen_though_its_numbers_go_on() -> None:
    core = receiver()
    sender = Sender(ssrc=1)
    sent = sender.packets(100)
    sender.ssrc = 2
    played = play(core, sent + sender.packets(100))
    assert places(played) == list(range(200))
    assert core.stats.ssrc_changes == 1


def test_a_missing_number_is_lost_though_its_time_is_not_missing() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    sender.sequence += 1
    played = play(core, sent + sender.packets(50), until=sender.at + 0.1)
    assert (core.stats.received, core.stats.lost) == (100, 1)
    assert [event.pts for event in played.audio] == list(range(0, 16_000, 160))


@pytest.mark.parametrize("swapped", [0.0, 0.05], ids=["in order", "reordered"])
def test_jitter_is_that_of_the_rfc(swapped: float) -> None:
    """Appendix A.8, by its formula, over the packets in the order of their arrival."""
    core = receiver()
    sent = Sender().packets(400)
    delivered = damage(sent, jitter_s=0.012, swapped=swapped).delivered
    expected, transit = 0.0, None
    for arrival in delivered:
        now = arrival.at - int.from_bytes(arrival.data[4:8], "big") / 8000
        if transit is not None:
            expected += (abs(now - transit) - expected) / 16
        transit = now
    play(core, delivered)
    core.measure(sent[-1].at)
    assert core.stats.jitter_ms == pytest.approx(expected * 1000, rel=1e-3)


def test_the_last_packets_of_the_old_source_may_come_behind_the_first_of_the_new() -> None:
    core = receiver()
    first = Sender(ssrc=1).packets(100)
    second = Sender(ssrc=2, at=first[-1].at + 0.02, count=100).packets(100)
    mixed = [*first[:-1], second[0], first[-1], *second[1:]]
    played = play(core, mixed)
    assert sorted(places(played)) == list(range(200))
    assert core.stats.ssrc_changes == 1
    check_timeline(played)


def test_two_sources_at_once_do_not_take_turns() -> None:
    core = receiver()
    first, second = Sender(ssrc=1).packets(200), Sender(ssrc=2).packets(200)
    played = play(core, [packet for pair in zip(first, second, strict=True) for packet in pair])
    assert core.stats.ssrc_changes == 0
    assert len(played.audio) == 200
    core.finish(first[-1].at)
    play(core, [])
    assert core.stats.foreign + core._probation.dropped == 200


def test_a_source_that_begins_anew_under_its_ssrc_goes_on() -> None:
    core = receiver()
    first = Sender().packets(50)
    second = Sender(sequence=40_000, timestamp=99, at=first[-1].at + 0.02, count=50).packets(50)
    played = play(core, first + second)
    assert places(played) == list(range(100))
    assert [event.pts for event in played.audio] == list(range(0, 16_000, 160))
    assert core.stats.ssrc_changes == 1


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


def test_a_long_loss_is_no_minute_of_concealment() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    lost = sender.packets(500)
    sent += sender.packets(50)
    played = play(core, sent)
    assert core.stats.lost == len(lost)
    assert 0 < played.audio[50].lost_before <= 8000
    assert played.audio[50].pts == 550 * 160
    check_timeline(played)


def test_the_payload_type_may_change_from_packet_to_packet() -> None:
    core = receiver()
    sender = Sender()
    sent = []
    for index in range(100):
        sender.codec = PCMA if index % 2 else CODECS[0]
        sent.append(sender.packet())
    played = play(core, sent)
    assert [event.pts for event in played.audio] == list(range(0, 16_000, 160))
    assert [event.codec.name for event in played.audio[:3]] == ["PCMU", "PCMA", "PCMU"]
    assert core.stats.payload_changes == 99
    assert played.longest_wait_s == 0


def test_a_change_of_the_clock_rate_keeps_media_time() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    opus = [sender.packet(b"\x48" + bytes(30), payload_type=96) for _ in range(50)]  # SILK, wideband, 20 ms
    opus = [type(p)(p.at, p.data[:4] + (960 * i + 5).to_bytes(4, "big") + p.data[8:]) for i, p in enumerate(opus)]
    sent += opus
    sent += sender.packets(50)
    played = play(core, sent)
    seconds = [event.pts / (16_000 if event.codec.name == "OPUS" else 8_000) for event in played.audio]
    assert seconds == pytest.approx([0.02 * index for index in range(150)])
    assert (core.stats.payload_changes, core.stats.resyncs) == (2, 0)
    sender.pause(2.0)
    assert play(core, sender.packets(1)).audio[0].pts == 40_000
    assert core.stats.resyncs == 0


def test_a_change_of_the_clock_rate_keeps_what_was_measured() -> None:
    core = receiver()
    sender = Sender()
    sent = damage(sender.packets(300), jitter_s=0.012).delivered
    play(core, sent)
    core.measure(sender.at)
    before = core.stats.jitter_ms
    sender.at += 0.05
    play(core, [sender.packet(b"\x48" + bytes(30), payload_type=96)])
    core.measure(sender.at)
    assert core.stats.jitter_ms == pytest.approx(before, rel=0.2)


def test_silence_before_a_change_of_the_clock_rate_is_not_counted_twice() -> None:
    core = receiver()
    sender = Sender()
    sent = sender.packets(50)
    sender.at += 0.5
    played = play(core, [*sent, sender.packet(b"\x48" + bytes(30), payload_type=96)])
    assert played.audio[-1].pts / 16_000 == pytest.approx(1.5, abs=0.03)


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


def test_packets_before_the_first_one_are_late() -> None:
    core = receiver()
    sent = Sender().packets(10)
    done = [sent[3], sent[0], *sent[4:], sent[2]]
    play(core, [type(packet)(START + 0.02 * index, packet.data) for index, packet in enumerate(done)])
    assert (core.stats.received, core.stats.lost, core.stats.late) == (7, 3, 2)
