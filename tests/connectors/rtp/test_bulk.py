"""Lanes beside the way that every packet can take: whatever the network does, both receive and count the same."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, replace

import numpy as np
import pytest

from connectors.rtp.bulk import IN_ORDER_AFTER, LaneEntry, RtpLanes, lane_entry
from connectors.rtp.dtmf import EventPayload, TelephoneEvents
from connectors.rtp.events import Audio
from connectors.rtp.feed import LegFeed
from connectors.rtp.in_order import InOrderState
from connectors.rtp.packet import RtpPacket
from connectors.rtp.quality import RtpStats
from connectors.rtp.receiver import RtpReceiver
from engine.api import Session
from pipeline.call import LegStats
from pipeline.ingest import Ingest
from tests.connectors.rtp.keys import press
from tests.connectors.rtp.network import CODECS, G722, PCMA, PCMU, PEER, START, Arrival, Sender, damage
from tests.pipeline.collector import Collector

STEP_S = 0.005
ELSEWHERE = ("192.0.2.9", 9)


class Leg:
    """A leg on simulated time, as `leg.RtpLeg` is one on the loop's. `lanes` None: it never enters one."""

    def __init__(self, ingest: Ingest, number: int, lanes: RtpLanes | None) -> None:
        self.stats = LegStats()
        self.intake = ingest.open(Session(number, number, 0, 160), f"call-{number}")
        self.push = self.intake.push
        self.receiver = RtpReceiver(CODECS)
        self.feed = LegFeed(self, on_dtmf=lambda event: self.keys.append(event.digit))
        self.keys: list[str] = []
        self.row: int | None = None
        self.entered = 0
        self._lanes = lanes

    def fail(self, error: Exception) -> None:
        raise error

    def leave_lane(self) -> None:
        if self.row is not None and self._lanes is not None:
            row, self.row = self.row, None
            self.feed.prime(self._lanes.leave(row))

    def deliver(self, audio: Audio) -> None:
        self.feed.deliver([audio])

    def receive(self, arrival: Arrival, now: float) -> None:
        self.leave_lane()
        self.receiver.receive(arrival.data, arrival.address, now)
        self.feed.deliver(self.receiver.taken())
        if self._lanes is not None and (entry := lane_entry(self, self.receiver, self.feed)) is not None:
            self.row = self._lanes.enter(entry)
            self.entered += 1

    def timers(self, now: float) -> None:
        if self.row is None:
            self.feed.deliver(self.receiver.take(now))


def run(networks: list[list[Arrival]], until: float, *, with_lanes: bool) -> tuple[Collector, list[Leg]]:
    """Every `STEP_S` what has come is read in bulk; then the tick."""
    recognizer = Collector()
    ingest = Ingest(recognizer, batch_rows=4)
    lanes = RtpLanes(ingest, rows=2) if with_lanes else None
    legs = [Leg(ingest, number, lanes) for number in range(len(networks))]
    waiting = [list(arrivals) for arrivals in networks]
    for index in range(1, round((until - START) / STEP_S)):
        now = START + index * STEP_S
        while True:
            ready = [
                (leg, queue.pop(0)) for leg, queue in zip(legs, waiting, strict=True) if queue and queue[0].at <= now
            ]
            if not ready:
                break
            read(lanes, ready, now)
        if lanes is not None:
            lanes.leave_idle(now)
        for leg in legs:
            leg.timers(now)
        ingest.tick()
    for leg in legs:
        leg.leave_lane()
        leg.feed.deliver(leg.receiver.finish(until))
        ingest.close(leg.intake)
    return recognizer, legs


def read(lanes: RtpLanes | None, ready: list[tuple[Leg, Arrival]], now: float) -> None:
    """As `reader.MediaReader` does it."""
    bulk = np.zeros((len(ready), 400), np.uint8)
    if lanes is not None:
        lanes.recycle()
    taken = [(leg, arrival) for leg, arrival in ready if leg.row is not None]
    for row, (_, arrival) in zip(bulk, taken, strict=False):
        row[: len(arrival.data)] = np.frombuffer(arrival.data, np.uint8)
    others = [(leg, arrival) for leg, arrival in ready if leg.row is None]
    if taken and lanes is not None:
        rows = [leg.row for leg, _ in taken if leg.row is not None]
        addresses, sizes = [one.address for _, one in taken], [len(one.data) for _, one in taken]
        others += [taken[index] for index in lanes.take(rows, bulk[: len(taken)], addresses, sizes, now)]
    for leg, arrival in others:
        leg.receive(arrival, now)


def both(networks: list[list[Arrival]], until: float) -> list[Leg]:
    """Compare; returns the legs that had lanes."""
    plain, plain_legs = run(networks, until, with_lanes=False)
    fast, legs = run(networks, until, with_lanes=True)
    for number, (leg, other) in enumerate(zip(legs, plain_legs, strict=True)):
        assert asdict(leg.receiver.stats) == pytest.approx(asdict(other.receiver.stats)), number
        assert leg.keys == other.keys
        assert leg.intake.stats == other.intake.stats
        assert np.array_equal(fast.audio(leg.intake.session), plain.audio(other.intake.session)), number
        timeline, reference = leg.intake.timeline, other.intake.timeline
        times = [0.02 * index for index in range(10, 60)]
        assert [timeline.arrival_of(at) for at in times] == [reference.arrival_of(at) for at in times]
    return legs


def speech(sender: Sender, packets: int) -> list[Arrival]:
    rng = np.random.default_rng(sender.ssrc)
    return [sender.packet(rng.integers(0, 256, 160, dtype=np.uint8).tobytes()) for _ in range(packets)]


def test_packets_in_order_stay_in_their_lanes() -> None:
    senders = [Sender(ssrc=ssrc, at=START + 0.001 * ssrc) for ssrc in range(1, 8)]
    legs = both([speech(sender, 100) for sender in senders], START + 2.05)
    assert all(leg.entered == 1 for leg in legs)


@pytest.mark.parametrize(
    "network",
    [
        {"loss": 0.05},
        {"loss": 0.05, "burst": 5},
        {"jitter_s": 0.06},
        {"jitter_s": 0.008},
        {"swapped": 0.03},
        {"duplicates": 0.03},
        {"loss": 0.02, "jitter_s": 0.01, "swapped": 0.01, "duplicates": 0.01},
    ],
    ids=["loss", "bursts", "jitter", "little jitter", "reordered", "duplicates", "all"],
)
def test_damaged_networks_are_received_the_same(network: dict[str, float]) -> None:
    senders = [Sender(ssrc=ssrc, at=START + 0.003 * ssrc) for ssrc in range(1, 5)]
    networks = [damage(speech(one, 400), seed=one.ssrc, **network).delivered for one in senders]  # type: ignore[arg-type]
    legs = both(networks, START + 8.3)
    assert any(leg.entered for leg in legs) or network == {"jitter_s": 0.06}


def test_keys_pauses_codecs_and_other_sources_are_received_the_same() -> None:
    keyed = Sender(ssrc=1)
    keys = speech(keyed, 40) + press(keyed, "5", 4) + speech(keyed, 40)
    pausing = Sender(ssrc=2)
    pauses = speech(pausing, 40)
    pausing.pause(0.5)
    pauses += speech(pausing, 40)
    changing = Sender(ssrc=3)
    changes = speech(changing, 30)
    changing.codec = PCMA
    changes += speech(changing, 30)
    replaced = Sender(ssrc=4)
    sources = speech(replaced, 30)
    sources += speech(Sender(ssrc=5, sequence=9, timestamp=77, at=replaced.at), 40)
    jumping = Sender(ssrc=6)
    jumps = speech(jumping, 30)
    jumping.timestamp += 100_000
    jumps += speech(jumping, 40)
    legs = both([keys, pauses, changes, sources, jumps], START + 2.6)
    assert legs[0].keys == ["5"]
    assert all(leg.entered > 1 for leg in legs)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "network",
    [{}, {"loss": 0.05}, {"jitter_s": 0.008}, {"loss": 0.02, "jitter_s": 0.01, "swapped": 0.01, "duplicates": 0.01}],
    ids=["whole", "loss", "jitter", "all"],
)
def test_clocks_moves_and_moving_keys_are_received_the_same(network: dict[str, float], seed: int) -> None:
    """A clock that is wrong from the start, becomes wrong or right in the middle; an address and a port that change;
    keys whose timestamps move, and pauses that arrival contradicts."""
    wrong = Sender(ssrc=1, clock=16_000)
    becoming = Sender(ssrc=2)
    turns = speech(becoming, 40)
    becoming.clock = 16_000
    turns += speech(becoming, 40)
    becoming.clock = 8_000
    turns += speech(becoming, 40)
    moving = Sender(ssrc=3)
    moves = speech(moving, 40)
    moves += [replace(one, address=(PEER[0], 4711)) for one in speech(moving, 40)]
    moves += [replace(one, address=ELSEWHERE) for one in speech(moving, 40)]
    keyed = Sender(ssrc=4)
    keys = speech(keyed, 40)
    for digit in "55":
        packets = press(keyed, digit, 4)
        for index, one in enumerate(packets[-2:], 1):
            packet = RtpPacket.parse(one.data)
            packets[index - 3] = replace(one, data=replace(packet, timestamp=packet.timestamp + 160 * index).encode())
        keys += packets + speech(keyed, 30)
    hasty = Sender(ssrc=5)
    jumps = speech(hasty, 40)
    for _ in range(5):
        hasty.timestamp += 1600
        jumps += speech(hasty, 15)
    sent = [speech(wrong, 120), turns, moves, keys, jumps]
    legs = both([damage(one, seed=seed, **network).delivered for one in sent], START + 3.2)  # type: ignore[arg-type]
    assert [leg.receiver.stats.clock_hz for leg in legs] == [16_000, 0, 0, 0, 0]
    assert legs[2].receiver.stats.moves == 2
    assert legs[3].keys == ["5", "5"]
    if not network:
        assert [leg.entered > 0 for leg in legs] == [False, True, True, True, True]


def test_numbers_wrap() -> None:
    legs = both([speech(Sender(sequence=65_500, timestamp=2**32 - 8_000), 150)], START + 3.1)
    assert legs[0].receiver.stats.received == 150
    assert legs[0].entered == 1


def test_packets_from_elsewhere_are_foreign() -> None:
    sender = Sender()
    sent = speech(sender, 60)
    stray = [Arrival(one.at - 0.004, one.data, ELSEWHERE) for one in sent[30:33]]
    legs = both([sorted(sent + stray, key=lambda one: one.at)], START + 1.25)
    assert legs[0].receiver.stats.foreign == 3
    assert legs[0].receiver.stats.received == 60


@pytest.mark.parametrize("size", [0, 1, 11, 12, 171, 173, 300])
def test_datagrams_of_other_sizes_are_not_taken(size: int) -> None:
    sender = Sender()
    sent = speech(sender, 40)
    whole = sent[30].data + bytes(300)
    sent[30] = Arrival(sent[30].at, whole[:size])
    both([sent], START + 0.85)


REFUSALS: dict[str, Callable[[Leg], object]] = {
    "too few packets in order": lambda leg: setattr(leg.receiver.state, "in_a_row", IN_ORDER_AFTER - 1),
    "fast path closed": lambda leg: setattr(leg.receiver.state, "fast_path", False),
    "a codec with a state": lambda leg: setattr(leg.receiver.state, "codec", G722),
    "another clock rate": lambda leg: setattr(leg.receiver.state, "rate", 16_000),
    "packets of 10 ms": lambda leg: setattr(leg.receiver.state, "ticks", 80),
    "a key press under way": lambda leg: setattr(leg.receiver._stream, "_telephone_events", pressed()),
    "SRTP": lambda leg: setattr(leg.receiver, "_srtp", object()),
    "no address yet": lambda leg: setattr(leg.receiver, "peer", None),
    "hold": lambda leg: setattr(leg.feed, "muted", True),
    "a leg that has ended": lambda leg: leg.intake.release(),
}


def pressed() -> TelephoneEvents:
    events = TelephoneEvents()
    events.receive(EventPayload(5, end=False, volume=10, duration=160), 0, 0.0, 8000, marker=True, now=START)
    return events


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
def test_a_leg_enters_a_lane_only_where_every_condition_holds(refuse: Callable[[Leg], object]) -> None:
    leg = Leg(Ingest(Collector()), 0, None)
    for arrival in speech(Sender(), 20):
        leg.receive(arrival, arrival.at)
    assert leg.receiver.state.in_a_row >= IN_ORDER_AFTER
    refuse(leg)
    assert lane_entry(leg, leg.receiver, leg.feed) is None


def test_a_leg_asks_for_a_lane_once_in_a_while() -> None:
    leg = Leg(Ingest(Collector()), 0, None)
    for arrival in speech(Sender(), 20):
        leg.receive(arrival, arrival.at)
    assert lane_entry(leg, leg.receiver, leg.feed) is not None
    assert leg.receiver.state.in_a_row == 0
    assert lane_entry(leg, leg.receiver, leg.feed) is None


def test_a_lane_that_was_left_is_another_ones_only_when_nothing_read_before_is_left() -> None:
    ingest = Ingest(Collector())
    lanes = RtpLanes(ingest, rows=1)
    leg = Leg(ingest, 0, None)
    state = InOrderState(RtpStats(received=10), codec=PCMU, payload_type=0, ssrc=7, next_sequence=70_000)
    state.next_timestamp, state.audio_at = 160, START
    entry = LaneEntry(leg, state, PEER, ingest, 1, 10)
    before = deepcopy(state)
    first = lanes.enter(entry)
    assert (lanes.leave(first), state) == ([], before)
    second = lanes.enter(entry)
    lanes.leave(second)
    assert second != first
    lanes.recycle()
    assert first in [lanes.enter(entry) for _ in range(2)]


def test_a_leg_that_has_ended_does_not_give_its_audio_to_the_next_one() -> None:
    recognizer = Collector()
    ingest = Ingest(recognizer)
    lanes = RtpLanes(ingest)
    leg = Leg(ingest, 0, lanes)
    sent = speech(Sender(), 30)
    for arrival in sent[:20]:
        read(lanes, [(leg, arrival)], arrival.at)
        ingest.tick()
    assert leg.row is not None
    ingest.close(leg.intake)
    follower = Leg(ingest, 1, None)
    for arrival in sent[:20]:
        follower.receive(arrival, arrival.at)
    ingest.tick()
    before = recognizer.audio(follower.intake.session).size
    read(lanes, [(leg, sent[20])], sent[20].at)
    ingest.tick()
    assert recognizer.audio(follower.intake.session).size == before
