"""Timestamps that run at another clock than their payload type has, and real gaps that look alike."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.codecs import sample_rate_hz
from connectors.rtp.clock import LEARN_PAIRS, TimestampClock
from connectors.rtp.events import Audio
from connectors.rtp.receiver import RtpReceiver
from connectors.sdp.rtp_codec import RtpCodec
from tests.connectors.rtp.network import (
    CODECS,
    G722,
    OPUS,
    PCMA,
    PCMU,
    START,
    Arrival,
    Played,
    Sender,
    damage,
    play,
)

SILK_20_MS = bytes([1 << 3]) + bytes(30)
"""An Opus packet of 20 ms by its first octet."""

L16 = RtpCodec(97, "L16", 16000)
EVERY = (*CODECS, L16)
NETWORKS: list[dict[str, float]] = [
    {},
    {"loss": 0.05},
    {"loss": 0.05, "burst": 5},
    {"jitter_s": 0.015},
    {"jitter_s": 0.06},
    {"swapped": 0.03},
    {"duplicates": 0.03},
    {"loss": 0.05, "burst": 5, "jitter_s": 0.06, "swapped": 0.03, "duplicates": 0.03},
]


def payload_of(codec: RtpCodec) -> bytes:
    """20 ms of it."""
    match codec.name:
        case "OPUS":
            return SILK_20_MS
        case "L16":
            return bytes(2 * codec.clock_rate // 50)
        case _:
            return bytes(160)


def speech(sender: Sender, packets: int) -> list[Arrival]:
    return [sender.packet(payload_of(sender.codec)) for _ in range(packets)]


def starts_s(played: Played) -> list[float]:
    return [event.pts / sample_rate_hz(event.codec) for event in played.audio]


def check_no_overlap(played: Played) -> None:
    for one, other in pairwise(played.audio):
        if one.codec == other.codec:
            assert other.pts - other.lost_before >= one.pts + sample_rate_hz(one.codec) // 50


@pytest.mark.parametrize(
    ("codec", "clock"),
    [
        (G722, 16_000),
        (G722, 48_000),
        (PCMU, 16_000),
        (PCMA, 48_000),
        (PCMA, 44_100),
        (PCMU, 1_000),
        (OPUS, 8_000),
        (OPUS, 16_000),
        (OPUS, 24_000),
        (OPUS, 96_000),
        (L16, 8_000),
        (L16, 32_000),
    ],
    ids=lambda value: value.name if isinstance(value, RtpCodec) else str(value),
)
def test_no_silence_is_put_between_packets_whose_timestamps_run_at_another_clock(codec: RtpCodec, clock: int) -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=codec, clock=clock)
    played = play(core, speech(sender, 200))
    assert starts_s(played) == pytest.approx([0.02 * index for index in range(200)], abs=1e-9)
    assert (core.stats.clock_changes, core.stats.clock_hz) == (1, clock)
    assert core.stats.resyncs < 2 * LEARN_PAIRS
    core.measure(sender.at)
    assert core.stats.jitter_ms < 1


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: " ".join(network) or "whole")
@pytest.mark.parametrize(
    ("codec", "clock"), [(G722, 16_000), (PCMU, 48_000), (OPUS, 8_000)], ids=["G722", "PCMU", "OPUS"]
)
def test_another_clock_is_learned_on_damaged_networks(
    codec: RtpCodec, clock: int, network: dict[str, float], seed: int
) -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=codec, clock=clock)
    sent = speech(sender, 1000)
    done = damage(sent, seed=seed, **network)  # type: ignore[arg-type]
    played = play(core, done.delivered, until=sender.at + 0.3)
    assert core.stats.clock_hz == clock
    assert core.stats.received + core.stats.lost == 1000
    check_no_overlap(played)
    assert starts_s(played)[-1] == pytest.approx(999 * 0.02, abs=0.2)
    settled = played.audio[100:]
    rate = sample_rate_hz(codec)
    gaps = [(later.pts - later.lost_before - earlier.pts) / rate for earlier, later in pairwise(settled)]
    assert gaps == pytest.approx([0.02] * len(gaps), abs=1e-3)


def test_a_pause_at_another_clock_is_as_long_as_it_was() -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=G722, clock=16_000)
    sent = speech(sender, 50)
    sender.pause(3.0)
    played = play(core, sent + speech(sender, 50))
    assert starts_s(played)[50] == pytest.approx(4.0, abs=0.001)
    assert starts_s(played)[-1] == pytest.approx(4.98, abs=0.001)


def test_a_loss_at_another_clock_is_as_long_as_it_was() -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=G722, clock=16_000)
    sent = speech(sender, 100)
    played = play(core, sent[:50] + sent[53:])
    assert (played.audio[50].pts, played.audio[50].lost_before) == (53 * 320, 3 * 320)


def test_a_clock_that_becomes_the_declared_one_is_followed_at_once() -> None:
    """Some begin with packets of another part of theirs, of silence at the rate of their sound card."""
    core, sender = RtpReceiver(EVERY), Sender(codec=G722, clock=16_000)
    sent = speech(sender, 15)
    sender.timestamp -= 160
    sender.clock = 8_000
    played = play(core, sent + speech(sender, 100))
    assert starts_s(played) == pytest.approx([0.02 * index for index in range(115)], abs=0.001)
    assert (core.stats.clock_hz, core.stats.clock_changes) == (0, 2)


def test_a_clock_that_changes_in_the_middle_is_learned_anew() -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=PCMU)
    sent = speech(sender, 50)
    sender.clock = 16_000
    sent += speech(sender, 50)
    sender.clock = 48_000
    played = play(core, sent + speech(sender, 50))
    assert starts_s(played) == pytest.approx([0.02 * index for index in range(150)], abs=0.021)
    assert core.stats.clock_hz == 48_000


@pytest.mark.parametrize("jump", [80_000, -80_000, 2**31 - 1])
@pytest.mark.parametrize(("codec", "clock"), [(G722, 16_000), (OPUS, 8_000)], ids=["G722", "OPUS"])
def test_a_learned_clock_survives_timestamps_that_jump(codec: RtpCodec, clock: int, jump: int) -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=codec, clock=clock)
    sent = speech(sender, 50)
    sender.timestamp += jump
    played = play(core, sent + speech(sender, 100))
    assert (core.stats.clock_hz, core.stats.clock_changes) == (clock, 1)
    assert starts_s(played) == pytest.approx([0.02 * index for index in range(150)], abs=0.001)


def test_the_clock_of_a_codec_is_known_when_it_comes_back() -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=G722, clock=16_000)
    sent = speech(sender, 30)
    for codec, clock in ((PCMU, 8_000), (G722, 16_000)):
        sender.codec, sender.clock = codec, clock
        sent += speech(sender, 30)
    played = play(core, sent)
    assert starts_s(played) == pytest.approx([0.02 * index for index in range(90)], abs=0.001)
    assert core.stats.clock_changes == 1


def test_another_source_has_a_clock_of_its_own() -> None:
    core, sender = RtpReceiver(EVERY), Sender(codec=G722, clock=16_000)
    sent = speech(sender, 30)
    played = play(core, sent + speech(Sender(ssrc=8, codec=G722, at=sender.at, timestamp=9), 30))
    assert starts_s(played) == pytest.approx([0.02 * index for index in range(60)], abs=0.001)


def paced(codec: RtpCodec, every_s: float, packets: int) -> list[Arrival]:
    """A sender that is silent between any two packets: its timestamps step by more than the audio, and rightly so."""
    sender = Sender(codec=codec, clock=codec.clock_rate)
    sent = []
    for _ in range(packets):
        sent += speech(sender, 1)
        sender.pause(every_s - 0.02)
    return sent


@pytest.mark.parametrize("every_s", [0.04, 0.1, 0.4], ids=["every second packet", "a tenth", "as Opus pauses"])
@pytest.mark.parametrize("jitter_s", [0.0, 0.015, 0.06])
def test_pauses_that_keep_a_ratio_are_pauses(every_s: float, jitter_s: float) -> None:
    core = RtpReceiver(EVERY)
    sent = paced(OPUS, every_s, 100)
    played = play(core, damage(sent, jitter_s=jitter_s).delivered)
    assert core.stats.clock_hz == 0
    assert starts_s(played)[-1] == pytest.approx(99 * every_s, abs=0.3)
    if not jitter_s:
        assert core.stats.clock_changes == 0
        assert starts_s(played) == pytest.approx([every_s * index for index in range(100)], abs=0.001)


def test_a_stall_of_the_network_does_not_make_a_clock_of_pauses_for_long() -> None:
    core = RtpReceiver(EVERY)
    sent = paced(PCMU, 0.1, 100)
    stuck = sent[39].at
    sent = [replace(one, at=max(one.at, stuck)) if 30 <= index < 40 else one for index, one in enumerate(sent)]
    played = play(core, sent)
    assert core.stats.clock_hz == 0
    assert starts_s(played)[-1] == pytest.approx(9.9, abs=1.1)


@pytest.mark.parametrize("marker", [True, False])
def test_talkspurts_are_at_their_places(marker: bool) -> None:
    rng = random.Random(5)
    core, sender = RtpReceiver(EVERY), Sender()
    sent, expected = [], []
    for _ in range(40):
        for index in range(rng.randint(1, 30)):
            expected.append(sender.at - START)
            sent.append(sender.packet(marker=marker and index == 0))
        sender.pause(rng.choice([0.02, 0.04, 0.1, 0.3, 1.0]))
    played = play(core, sent)
    assert starts_s(played) == pytest.approx(expected, abs=0.001)
    assert core.stats.clock_changes == 0


def test_another_packet_length_is_no_other_clock() -> None:
    core, sender = RtpReceiver(EVERY), Sender()
    sent = speech(sender, 20)
    for size in (320, 80, 240, 160):
        for _ in range(20):
            sent.append(sender.packet(bytes(size)))
            sender.timestamp += size - 160
            sender.at += (size - 160) / 8000
    played = play(core, sent)
    assert core.stats.clock_changes == core.stats.resyncs == 0
    end = 0
    for event in played.audio:
        assert event.pts == end
        end += len(event.payload)


def test_a_late_start_and_a_pause_right_behind_it_are_handed_out_in_full() -> None:
    """What arrival contradicts is put off, and made up for when the clock proves right."""
    core, sender = RtpReceiver(EVERY), Sender()
    sent = [replace(speech(sender, 1)[0], at=START + 0.5)]
    sender.pause(0.4)
    sent += speech(sender, 50)
    played = play(core, sent)
    assert starts_s(played)[-1] == pytest.approx(0.4 + 50 * 0.02, abs=0.001)
    assert core.stats.clock_changes == 0


def test_timestamps_that_no_audio_has_are_no_clock() -> None:
    clock = TimestampClock(8_000)
    assert not any(clock.observe(160 * 40, 160, 0, START + at, START + at + 0.02) for at in range(20))
    assert not any(clock.observe(0, 160, 0, START + at, START + at + 0.02) for at in range(20))
    assert (clock.rate, clock.doubted) == (8_000, False)


spurts = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.02, 0.06, 0.2, 1.5])), min_size=1, max_size=12)


@settings(max_examples=120, deadline=None)
@given(
    spurts=spurts,
    codec_and_clock=st.sampled_from([(PCMU, 8_000), (G722, 8_000), (OPUS, 48_000), (L16, 16_000)]),
    loss=st.sampled_from([0.0, 0.02, 0.1]),
    jitter_s=st.sampled_from([0.0, 0.01, 0.05]),
    swapped=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 1000),
)
def test_a_right_clock_is_never_taken_for_another_one(
    spurts: list[tuple[int, float]],
    codec_and_clock: tuple[RtpCodec, int],
    loss: float,
    jitter_s: float,
    swapped: float,
    seed: int,
) -> None:
    codec, clock = codec_and_clock
    core, sender = RtpReceiver(EVERY), Sender(codec=codec, clock=clock)
    sent = []
    for packets, pause_s in spurts:
        sent += speech(sender, packets)
        sender.pause(pause_s)
    sent += speech(sender, 3)
    done = damage(sent, loss=loss, jitter_s=jitter_s, swapped=swapped, seed=seed)
    played = play(core, done.delivered, until=sender.at + 0.5)
    assert core.stats.clock_changes == core.stats.resyncs == 0
    check_no_overlap(played)
    last = next(event for event in reversed(played.audio) if isinstance(event, Audio))
    assert last.pts / sample_rate_hz(codec) == pytest.approx(sent[-1].at - START, abs=0.35)


@settings(max_examples=80, deadline=None)
@given(
    codec_and_clock=st.sampled_from([(PCMU, 16_000), (G722, 16_000), (OPUS, 16_000), (L16, 48_000)]),
    pauses=st.lists(st.sampled_from([0.3, 1.0, 4.0]), max_size=4),
    loss=st.sampled_from([0.0, 0.02, 0.1]),
    jitter_s=st.sampled_from([0.0, 0.01, 0.05]),
    seed=st.integers(0, 1000),
)
def test_a_wrong_clock_is_learned_whatever_the_network_does(
    codec_and_clock: tuple[RtpCodec, int], pauses: list[float], loss: float, jitter_s: float, seed: int
) -> None:
    codec, clock = codec_and_clock
    core, sender = RtpReceiver(EVERY), Sender(codec=codec, clock=clock)
    sent = speech(sender, 60)
    for pause_s in pauses:
        sender.pause(pause_s)
        sent += speech(sender, 60)
    played = play(core, damage(sent, loss=loss, jitter_s=jitter_s, seed=seed).delivered, until=sender.at + 0.5)
    assert core.stats.clock_hz == clock
    check_no_overlap(played)
    assert starts_s(played)[-1] == pytest.approx(sent[-1].at - START, abs=0.35)
