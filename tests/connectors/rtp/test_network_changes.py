"""Legs whose sender changes, on simulated time: another SSRC, payload type or clock rate."""

import pytest

from tests.connectors.rtp.network import CODECS, PCMA, Sender, check_timeline, damage, places, play, receiver


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
