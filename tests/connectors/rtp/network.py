"""A sender, a network that damages what it sends, and a receiver on simulated time."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from connectors.rtp.events import Audio, RtpEvent, Silence
from connectors.rtp.packet import RtpPacket
from connectors.rtp.receiver import RtpReceiver
from connectors.sdp.rtp_codec import RtpCodec

PCMU = RtpCodec(0, "PCMU", 8000)
PCMA = RtpCodec(8, "PCMA", 8000)
G722 = RtpCodec(9, "G722", 8000)
OPUS = RtpCodec(96, "OPUS", 48000, 2)
CN = RtpCodec(13, "CN", 8000)
EVENTS = RtpCodec(101, "TELEPHONE-EVENT", 8000)
CODECS = (PCMU, PCMA, G722, OPUS, CN, EVENTS)

PEER = ("192.0.2.1", 4000)
START = 1_000.0
"""Of the clock: nothing may depend on where it begins."""


@dataclass(frozen=True, slots=True)
class Arrival:
    at: float
    data: bytes
    address: tuple[str, int] = PEER


@dataclass(slots=True)
class Sender:
    """Packets of 20 ms; each payload names its place, so that what comes out can be checked. `ppm`: its clock is fast
    by so many millionths. `clock`: units a second by which its timestamps run."""

    ssrc: int = 7
    sequence: int = 1000
    timestamp: int = 50_000
    at: float = START
    ppm: float = 0.0
    codec: RtpCodec = PCMU
    count: int = 0
    clock: int = 8000

    def packet(self, payload: bytes | None = None, *, marker: bool = False, payload_type: int | None = None) -> Arrival:
        """The next packet, as it leaves."""
        if payload is None:
            payload = self.count.to_bytes(4, "big") * 40
        kind = self.codec.payload_type if payload_type is None else payload_type
        sequence, timestamp = self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF
        data = RtpPacket(kind, sequence, timestamp, self.ssrc, payload, marker).encode()
        arrival = Arrival(self.at, data)
        self.sequence += 1
        self.timestamp += self.clock // 50
        self.count += 1
        self.at += 0.020 / (1 + self.ppm / 1e6)
        return arrival

    def packets(self, count: int) -> list[Arrival]:
        return [self.packet() for _ in range(count)]

    def pause(self, seconds: float) -> None:
        """Send nothing; the timestamps run on."""
        self.at += seconds
        self.timestamp += round(seconds * self.clock)


@dataclass(slots=True)
class Damage:
    """What a network did. `delivered`: in the order of arrival, duplicates included."""

    delivered: list[Arrival] = field(default_factory=list)
    lost: int = 0
    duplicated: int = 0
    overtaken: int = 0


def damage(
    sent: Sequence[Arrival],
    *,
    seed: int = 1,
    loss: float = 0.0,
    burst: int = 1,
    jitter_s: float = 0.0,
    swapped: float = 0.0,
    duplicates: float = 0.0,
) -> Damage:
    """Loses packets (`loss` of all, `burst` in a row), delays each by up to `jitter_s`, lets a part of them (`swapped`)
    be overtaken by the next one, delivers a part twice. The first and the last packet are neither lost nor late, so
    that counts are known."""
    rng = random.Random(seed)
    done = Damage()
    losing = 0
    arrivals: list[tuple[float, int, Arrival]] = []
    for index, packet in enumerate(sent):
        edge = index in (0, len(sent) - 1)
        if not edge and not losing and rng.random() < loss / burst:
            losing = burst
        if losing and not edge:
            losing -= 1
            done.lost += 1
            continue
        at = packet.at + (0.0 if edge else rng.random() * jitter_s)
        if index == len(sent) - 1:
            at += jitter_s + 0.03
        if not edge and rng.random() < swapped:
            at += 0.025
        arrivals.append((at, index, packet))
        if rng.random() < duplicates:
            done.duplicated += 1
            arrivals.append((at + 0.001, index, packet))
    arrivals.sort(key=lambda entry: entry[0])
    newest = -1
    seen: set[int] = set()
    for at, index, packet in arrivals:
        done.delivered.append(Arrival(at, packet.data, packet.address))
        done.overtaken += index < newest and index not in seen
        newest = max(newest, index)
        seen.add(index)
    return done


@dataclass(slots=True)
class Played:
    """`events`: with the time each came out."""

    events: list[tuple[float, RtpEvent]] = field(default_factory=list)

    @property
    def audio(self) -> list[Audio]:
        return [event for _, event in self.events if isinstance(event, Audio)]

    @property
    def longest_wait_s(self) -> float:
        """Between the arrival of a packet and its coming out."""
        return max((at - event.arrival for at, event in self.events if isinstance(event, Audio)), default=0.0)


def play(core: RtpReceiver, arrivals: Iterable[Arrival], until: float | None = None) -> Played:
    """Deliver everything, with all timers at their time, and on `until`."""
    played = Played()
    now = START

    def timers(limit: float) -> None:
        nonlocal now
        for _ in range(10_000):
            due = core.next_timer(now)
            if due is None or due > limit:
                return
            assert due >= now - 1e-6 or not played.events, "a timer in the past"
            now = max(due, now)
            played.events += [(now, event) for event in core.take(now)]
        raise AssertionError("timers do not come to rest")

    for arrival in arrivals:
        timers(arrival.at)
        now = max(arrival.at, now)
        core.receive(arrival.data, arrival.address, now)
        played.events += [(now, event) for event in core.take(now)]
    if until is not None:
        timers(until)
    return played


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


def places(played: Played) -> list[int]:
    return [int.from_bytes(event.payload[:4], "big") for event in played.audio]
