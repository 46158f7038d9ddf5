"""Legs on damaged networks, on simulated time: loss, jitter, reordering, clock drift."""

import pytest

from connectors.rtp.events import Audio
from connectors.rtp.receiver import RtpReceiver
from tests.connectors.rtp.network import START, Damage, Sender, check_timeline, damage, places, play, receiver


def check_counts(core: RtpReceiver, done: Damage, sent: int) -> None:
    stats = core.stats
    assert stats.received + stats.lost == sent
    assert stats.lost - stats.late == done.lost
    assert stats.duplicate == done.duplicated
    assert stats.reordered + stats.late == done.overtaken
    assert stats.foreign == stats.malformed == stats.unknown_payload == 0


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


def test_packets_before_the_first_one_are_late() -> None:
    core = receiver()
    sent = Sender().packets(10)
    done = [sent[3], sent[0], *sent[4:], sent[2]]
    play(core, [type(packet)(START + 0.02 * index, packet.data) for index, packet in enumerate(done)])
    assert (core.stats.received, core.stats.lost, core.stats.late) == (7, 3, 2)
