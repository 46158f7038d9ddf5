"""Key presses: by payloads, and from the network through the whole receiver."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rtp.dtmf import DIGITS, EventPayload, TelephoneEvents
from connectors.rtp.errors import MalformedEvent
from connectors.rtp.events import DtmfEvent
from connectors.rtp.packet import RtpPacket
from connectors.rtp.receiver import RtpReceiver
from connectors.sdp.rtp_codec import RtpCodec
from tests.connectors.rtp.captures import capture
from tests.connectors.rtp.keys import UPDATE, press
from tests.connectors.rtp.network import CODECS, G722, OPUS, PCMU, START, Arrival, Sender, play


def keys(events: Sequence[tuple[float, object]]) -> list[DtmfEvent]:
    return [event for _, event in events if isinstance(event, DtmfEvent)]


def check(presses: list[DtmfEvent], digit: str, start_s: float, duration_s: float, abs_s: float = 1e-6) -> None:
    """There was this one press, at these times."""
    (press_,) = presses
    assert press_.digit == digit
    assert press_.start_s == pytest.approx(start_s, abs=abs_s)
    assert press_.duration_s == pytest.approx(duration_s, abs=abs_s)


def test_captured_payloads_are_read_and_written() -> None:
    assert EventPayload.parse(capture("event-key5")) == EventPayload(5, False, 10, 160)
    assert EventPayload.parse(capture("event-key5-end")) == EventPayload(5, True, 10, 800)
    assert EventPayload(5, True, 10, 800).encode() == capture("event-key5-end")
    assert EventPayload.parse(capture("event-two")) == EventPayload(5, True, 10, 800)
    with pytest.raises(MalformedEvent, match="3 octets are no telephone event"):
        EventPayload.parse(capture("event-bad-short"))


@given(st.binary(max_size=9))
def test_any_octets_are_an_event_or_malformed(data: bytes) -> None:
    try:
        payload = EventPayload.parse(data)
    except MalformedEvent:
        assert len(data) < 4
    else:
        assert payload.encode()[0] == data[0]


def test_every_key_is_reported_once_with_its_time() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(50)
    for digit in DIGITS:
        sent += press(sender, digit, 4)
        sent += sender.packets(5)
    played = play(core, sent)
    assert [event.digit for event in keys(played.events)] == list(DIGITS)
    for index, event in enumerate(keys(played.events)):
        assert event.duration_s == pytest.approx(0.2)
        assert event.start_s == pytest.approx(1.0 + index * 0.3)
    assert core.stats.dtmf == 16


def test_a_key_is_reported_with_its_first_end_packet() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10)
    packets = press(sender, "5", 3)
    played = play(core, sent + packets[:4])
    check(keys(played.events), "5", 0.2, 0.15)
    assert keys(play(core, packets[4:], until=sender.at + 5).events) == []


@pytest.mark.parametrize("ends", [1, 2, 3, 7])
def test_any_number_of_end_packets_is_one_key(ends: int) -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10) + press(sender, "9", 2, ends=ends) + sender.packets(20)
    assert [event.digit for event in keys(play(core, sent, until=sender.at + 2).events)] == ["9"]


def test_the_same_key_twice_is_two_keys() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10) + press(sender, "1", 2)
    sender.timestamp += 400
    sent += press(sender, "1", 2)
    assert [event.digit for event in keys(play(core, sent).events)] == ["1", "1"]


def test_a_missing_end_is_made_up_for_after_a_moment() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10) + press(sender, "#", 4, ends=0)
    played = play(core, sent, until=sender.at + 2)
    check(keys(played.events), "#", 0.2, 0.2)
    at = next(at for at, event in played.events if isinstance(event, DtmfEvent))
    assert 0.2 < at - sent[-1].at <= 0.26


def test_the_next_key_ends_the_one_before_it() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10) + press(sender, "1", 2, ends=0) + press(sender, "2", 2)
    assert [event.digit for event in keys(play(core, sent).events)] == ["1", "2"]


def test_the_same_key_right_behind_is_told_by_its_marker() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10) + press(sender, "1", 2, ends=0) + press(sender, "1", 2)
    assert [event.digit for event in keys(play(core, sent).events)] == ["1", "1"]


def test_a_key_behind_a_pause_has_its_place() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(50)
    sender.pause(0.6)
    check(keys(play(core, sent + press(sender, "8", 2)).events), "8", 1.6, 0.1)


def test_a_long_press_is_one_key() -> None:
    """Section 2.5.1.3: each time the duration field is full, a new segment follows, with another timestamp."""
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10)
    start = sender.timestamp
    total = 20 * 8000
    for elapsed in range(UPDATE, total + 1, UPDATE):
        segment = (elapsed - 1) // 0xFFFF
        sender.timestamp = start + segment * 0xFFFF
        payload = EventPayload(7, elapsed == total, 10, elapsed - segment * 0xFFFF).encode()
        at = sender.at
        sent.append(sender.packet(payload, payload_type=101, marker=elapsed == UPDATE))
        sender.at = at + 0.05
    played = play(core, sent, until=sender.at + 1)
    check(keys(played.events), "7", 0.2, 20.0, abs_s=1e-3)


def test_a_sender_that_moves_the_timestamp_with_the_duration_is_understood() -> None:
    presses = TelephoneEvents()
    events = []
    for index in range(10):
        payload = EventPayload(3, index == 9, 10, 160 * (index + 1))
        events += presses.receive(payload, 5000 + 160 * index, 1.0, 8000, marker=index == 0, now=START + 0.02 * index)
    assert [event.digit for event in events] == ["3"]


@pytest.mark.parametrize("seed", range(10))
def test_no_key_is_lost_or_doubled_on_a_bad_network(seed: int) -> None:
    """10 % loss, duplicates and reordering: a press of seven packets gets through, and gets through once."""
    rng = random.Random(seed)
    core, sender = RtpReceiver(CODECS), Sender()
    pressed = [rng.choice(DIGITS) for _ in range(40)]
    sent = sender.packets(10)
    for digit in pressed:
        sent += press(sender, digit, 4)
        sent += sender.packets(10)
    arrivals = []
    for packet in sent:
        for _ in range((rng.random() > 0.1) * (1 + (rng.random() < 0.1))):
            arrivals.append(Arrival(packet.at + rng.random() * 0.03, packet.data))
    arrivals.sort(key=lambda packet: packet.at)
    played = play(core, arrivals, until=sender.at + 2)
    assert [event.digit for event in keys(played.events)] == pressed


def test_events_that_are_no_keys_are_counted() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10)
    for event in (16, 36, 36):
        sender.timestamp += 800
        for _ in range(2):
            timestamp = sender.timestamp
            sent.append(sender.packet(EventPayload(event, False, 0, 400).encode(), payload_type=101))
            sender.timestamp = timestamp
    sent.append(sender.packet(b"\x01", payload_type=101))
    played = play(core, sent, until=sender.at + 1)
    assert keys(played.events) == []
    assert (core.stats.other_events, core.stats.malformed_events) == (3, 1)


def test_audio_goes_on_at_its_place_behind_a_key() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(50) + press(sender, "4", 4) + sender.packets(10)
    played = play(core, sent)
    assert played.audio[50].pts == 8000 + 1600
    assert sum(event.lost_before for event in played.audio) == 0


# Senders and gateways that do not keep to one timestamp for each press


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet about a key: `at`: s since the first one; `timestamp`, `duration`: units of 8 kHz."""

    at: float
    timestamp: int
    duration: int
    end: bool = False
    marker: bool = False


def reported(packets: Sequence[Sent], digit: int = 1, clock_rate: int = 8000) -> list[DtmfEvent]:
    """What is reported of them, and of the silence behind them."""
    presses = TelephoneEvents()
    events, now = [], START
    for one in packets:
        now = START + one.at
        events += presses.handle_timer(now)
        payload = EventPayload(digit, one.end, 10, one.duration)
        events += presses.receive(payload, one.timestamp, 0.0, clock_rate, marker=one.marker, now=now)
    return events + presses.handle_timer(now + 1)


def pressed(
    at: float = 0.0,
    timestamp: int = 5000,
    updates: int = 5,
    ends: int = 3,
    *,
    moves: int = 0,
    end_moves: Sequence[int] = (0, 0, 0),
    marks: bool = False,
) -> list[Sent]:
    """Packets of 20 ms. `moves`: units that the timestamp moves with each update; `end_moves`: with the end packets,
    from where it was then; `marks`: every packet has a marker."""
    packets = [
        Sent(at + 0.02 * index, timestamp + moves * index, 160 * (index + 1), marker=marks or index == 0)
        for index in range(updates)
    ]
    last = timestamp + moves * max(updates - 1, 0)
    for index in range(ends):
        moved = last + end_moves[min(index, len(end_moves) - 1)]
        packets.append(Sent(at + 0.02 * (updates + index), moved, 160 * updates or 800, end=True, marker=marks))
    return packets


MOVING = {
    "as it ought to be": pressed(),
    "the last two ends move": pressed(end_moves=(0, 160, 320)),
    "the last two ends move far": pressed(end_moves=(0, 1280, 1440)),
    "all ends move": pressed(end_moves=(160, 320, 480)),
    "the ends have the time of their sending": pressed(end_moves=(800, 960, 1120)),
    "ends move back": pressed(moves=160, end_moves=(-640, -640, -640)),
    "everything moves": pressed(moves=160, end_moves=(160, 320, 480)),
    "updates move, ends stay": pressed(moves=160),
    "everything moves and has a marker": pressed(moves=160, end_moves=(160, 320, 480), marks=True),
    "everything has a marker": pressed(marks=True),
    "the start is lost": pressed()[2:],
    "the start is lost and ends move": pressed(end_moves=(0, 160, 320))[2:],
    "only ends": pressed()[5:],
    "only ends that move": pressed(end_moves=(0, 160, 320))[5:],
    "the first end is lost": [*pressed(end_moves=(0, 160, 320))[:5], *pressed(end_moves=(0, 160, 320))[6:]],
    "the middle end is lost": [*pressed(end_moves=(0, 160, 320))[:6], *pressed(end_moves=(0, 160, 320))[7:]],
    "ends without end": pressed(ends=7),
    "seven ends that move": pressed(ends=7, end_moves=(0, 160, 320, 480, 640, 800, 960)),
    "no end": pressed(ends=0),
    "no end and moving": pressed(ends=0, moves=160),
    "the first packet thrice": [pressed()[0]] * 2 + pressed(),
    "the first packet thrice, moving": [
        Sent(0.0, 5000, 160, marker=True),
        Sent(0.0, 5160, 160, marker=True),
        Sent(0.0, 5320, 160, marker=True),
        *pressed(timestamp=5320)[1:],
    ],
    "short and moving": pressed(updates=2, end_moves=(0, 400, 800)),
}


@pytest.mark.parametrize("packets", MOVING.values(), ids=MOVING)
def test_one_press_is_one_key_however_its_timestamp_moves(packets: list[Sent]) -> None:
    assert [event.digit for event in reported(packets)] == ["1"]


@pytest.mark.parametrize("packets", MOVING.values(), ids=MOVING)
@pytest.mark.parametrize("pause_s", [0.05, 0.1, 1.0])
def test_the_same_key_again_is_another_press_however_timestamps_move(packets: list[Sent], pause_s: float) -> None:
    """Its first packet has come; that of a sender whose every packet has a marker says nothing by it."""
    behind_s = packets[-1].at + pause_s - 0.04
    again = pressed(behind_s, 5000 + round(8000 * behind_s))
    assert [event.digit for event in reported(packets + again)] == ["1", "1"]


@pytest.mark.parametrize(
    ("name", "duration_s"),
    [
        ("as it ought to be", 0.1),
        ("the last two ends move", 0.1),
        ("all ends move", 0.1),
        ("the ends have the time of their sending", 0.1),
        ("everything moves", 0.1),
        ("everything moves and has a marker", 0.1),
        ("no end and moving", 0.1),
        ("only ends that move", 0.1),
    ],
)
def test_a_moving_timestamp_does_not_lengthen_the_press(name: str, duration_s: float) -> None:
    assert [event.duration_s for event in reported(MOVING[name])] == [pytest.approx(duration_s)]


def test_packets_that_each_tell_a_piece_are_one_press_of_their_sum() -> None:
    pieces = [Sent(0.02 * index, 5000 + 160 * index, 160, end=index == 9, marker=index == 0) for index in range(10)]
    (event,) = reported(pieces)
    assert event.duration_s == pytest.approx(0.2)


@pytest.mark.parametrize("ends", [0, 3])
def test_two_presses_with_one_timestamp_are_told_by_marker_and_duration(ends: int) -> None:
    """The audio clock of some senders stands still while a key is pressed and between two."""
    packets = pressed(ends=ends) + pressed(0.3, ends=ends) + pressed(0.6, ends=ends)
    assert [event.digit for event in reported(packets)] == ["1", "1", "1"]


def test_two_presses_with_one_timestamp_are_told_by_the_duration_where_the_marker_is_lost() -> None:
    assert len(reported(pressed() + pressed(0.3)[1:])) == 2


def test_a_press_that_goes_on_behind_an_outage_is_not_pressed_again() -> None:
    packets = pressed(updates=30)
    for moving in (packets, pressed(updates=30, moves=160)):
        assert len(reported(moving[:8] + moving[22:])) == 1


def test_a_quick_press_is_not_swallowed_where_the_end_of_the_first_is_lost() -> None:
    first, second = pressed(ends=0), pressed(0.15, 5000 + 1200)
    assert len(reported(first + second)) == 2
    assert len(reported(first + second[1:])) == 2


@pytest.mark.parametrize("wraps", ["segments", "the field wraps", "the field stays full"])
def test_a_press_beyond_the_duration_field_is_one_press(wraps: str) -> None:
    packets = []
    for elapsed in range(400, 160_001, 400):
        segment = (elapsed - 1) // 0xFFFF
        timestamp, duration = 5000 + segment * 0xFFFF, elapsed - segment * 0xFFFF
        if wraps == "the field wraps":
            timestamp, duration = 5000, elapsed & 0xFFFF
        elif wraps == "the field stays full":
            timestamp, duration = 5000, min(elapsed, 0xFFFF)
        packets.append(Sent(elapsed / 8000, timestamp, duration, end=elapsed == 160_000, marker=elapsed == 400))
    packets += [packets[-1]] * 2
    (event,) = reported(packets)
    if wraps != "the field stays full":
        assert event.duration_s == pytest.approx(20, abs=0.001)


def test_an_end_packet_behind_each_segment_is_no_press_of_its_own() -> None:
    packets = []
    for elapsed in range(400, 160_001, 400):
        segment = (elapsed - 1) // 0xFFFF
        packets.append(Sent(elapsed / 8000, 5000 + segment * 0xFFFF, elapsed - segment * 0xFFFF, marker=elapsed == 400))
    ends = [index for index in range(1, len(packets)) if packets[index].duration < packets[index - 1].duration]
    for index in reversed(ends):
        last = packets[index - 1]
        packets.insert(index, Sent(last.at, last.timestamp, 0xFFFF, end=True))
    assert len(reported(packets)) == 1


presses_sent = st.lists(
    st.tuples(
        st.sampled_from("159#"),
        st.integers(3, 12),
        st.sampled_from(["kept", "ends move", "all move", "ends at their sending"]),
        st.sampled_from([0.05, 0.1, 0.4]),
    ),
    min_size=1,
    max_size=8,
)


@given(sent=presses_sent, marks=st.booleans())
def test_every_press_is_one_key_whatever_the_sender_does_with_timestamps(
    sent: list[tuple[str, int, str, float]], marks: bool
) -> None:
    presses = TelephoneEvents()
    events: list[DtmfEvent] = []
    at, timestamp = 0.0, 5000
    for digit, updates, way, pause_s in sent:
        moves = 160 if way == "all move" else 0
        end_moves = {"ends move": (0, 160, 320), "all move": (160, 320, 480), "kept": (0,)}.get(way, (160 * updates,))
        packets = pressed(at, timestamp, updates, moves=moves, end_moves=end_moves, marks=marks and way != "kept")
        for one in packets:
            payload = EventPayload(DIGITS.index(digit), one.end, 10, one.duration)
            events += presses.receive(payload, one.timestamp, 0.0, 8000, marker=one.marker, now=START + one.at)
        at = packets[-1].at + pause_s
        timestamp = 5000 + round(8000 * at)
    assert [event.digit for event in events] == [digit for digit, *_ in sent]


# Events at another clock than the audio's


def beside(audio: RtpCodec, clock: int, *, counted: int | None = None, lost_start: int = 0) -> DtmfEvent:
    """The key that is received beside 1 s of this audio: 0.2 s long, in updates of 20 ms. `counted`: units a second of
    its durations."""
    events = RtpCodec(120, "TELEPHONE-EVENT", clock)
    core = RtpReceiver([audio, events])
    sender = Sender(codec=audio, clock=audio.clock_rate)
    speech = bytes([1 << 3]) + bytes(30) if audio is OPUS else None
    sent = [sender.packet(speech) for _ in range(50)]
    base = sender.timestamp
    for index in range(13):
        duration = min(index + 1, 10) * (counted or clock) // 50
        timestamp = sender.timestamp
        sender.timestamp = base
        packet = sender.packet(EventPayload(5, index >= 10, 10, duration).encode(), payload_type=120, marker=index == 0)
        sent += [packet] if index >= lost_start else []
        sender.timestamp = timestamp + audio.clock_rate // 50
    sent += [sender.packet(speech) for _ in range(20)]
    played = play(core, sent, until=sender.at + 1)
    (event,) = keys(played.events)
    rate = {"OPUS": 16_000, "G722": 16_000}.get(audio.name, audio.clock_rate)
    assert played.audio[50].pts / rate == pytest.approx(1.26, abs=0.001)
    return event


@pytest.mark.parametrize("audio", [OPUS, PCMU, G722], ids=lambda codec: codec.name)
@pytest.mark.parametrize("clock", [8000, 16_000, 32_000, 48_000])
@pytest.mark.parametrize("lost_start", [0, 4], ids=["whole", "start lost"])
def test_keys_at_any_clock_are_received_with_their_time_and_length(
    audio: RtpCodec, clock: int, lost_start: int
) -> None:
    event = beside(audio, clock, lost_start=lost_start)
    assert event.digit == "5"
    assert event.duration_s == pytest.approx(0.2)
    assert event.start_s == pytest.approx(1.0, abs=0.021)


def test_durations_that_run_at_the_clock_of_the_audio_are_read_so() -> None:
    assert beside(OPUS, 8000, counted=48_000).duration_s == pytest.approx(0.2)
    assert beside(PCMU, 48_000, counted=8000).duration_s == pytest.approx(0.2)


def apart(sender: Sender, digit: str, *, first: int = 5, ends: int = 3) -> list[Arrival]:
    """A key under another SSRC than the audio that goes on meanwhile, with numbers and timestamps of its own."""
    packets: list[Arrival] = []
    own = Sender(ssrc=99, sequence=first, timestamp=3_000_000_000)
    for index in range(4 + ends):
        own.timestamp, own.at = 3_000_000_000 + first * 800, sender.at + 0.001
        payload = EventPayload(DIGITS.index(digit), index >= 4, 10, 160 * min(index + 1, 5)).encode()
        packets += [own.packet(payload, payload_type=101, marker=index == 0), *sender.packets(1)]
    return packets


def test_keys_under_an_ssrc_of_their_own_are_received_and_the_audio_goes_on() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(50)
    for first, digit in ((5, "6"), (400, "7"), (9000, "7")):
        sent += apart(sender, digit, first=first) + sender.packets(10)
    played = play(core, sent, until=sender.at + 1)
    assert [event.digit for event in keys(played.events)] == ["6", "7", "7"]
    assert [event.duration_s for event in keys(played.events)] == pytest.approx([0.1] * 3)
    assert [event.start_s for event in keys(played.events)] == pytest.approx([1.0, 1.34, 1.68], abs=0.03)
    assert len(played.audio) == 50 + 3 * 17
    assert (core.stats.ssrc_changes, core.stats.lost, core.stats.foreign) == (0, 0, 0)
    assert core.stats.events_beside == 21


def test_a_key_under_an_ssrc_of_its_own_without_an_end_is_made_up_for() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(50) + apart(sender, "6", ends=0) + sender.packets(30)
    assert [event.digit for event in keys(play(core, sent).events)] == ["6"]


def test_packets_of_a_key_under_an_ssrc_of_its_own_may_overtake_and_come_twice() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent, packets = sender.packets(50), apart(sender, "6")
    events = packets[::2]
    shuffled = [events[0], events[2], events[1], events[2], events[4], events[3], *events[4:], events[0]]
    sent += [replace(one, at=sender.at + index / 1000) for index, one in enumerate(shuffled)]
    assert [event.digit for event in keys(play(core, sent, until=sender.at + 1).events)] == ["6"]


def test_keys_under_an_ssrc_of_their_own_are_the_peers_alone() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    packets = apart(sender, "6")
    sent = [replace(one, address=("198.51.100.7", 4000)) for one in packets[::2]]
    played = play(core, sorted([*Sender().packets(60), *sent], key=lambda one: one.at), until=sender.at + 1)
    assert keys(played.events) == []
    assert core.stats.events_beside == 0


@pytest.mark.parametrize("payload_type", [96, 100, 103, 127])
def test_a_key_of_a_type_that_nobody_agreed_on_is_a_key(payload_type: int) -> None:
    core, sender = RtpReceiver((PCMU,)), Sender()
    sent = sender.packets(10)
    for digit in "377":
        packets = press(sender, digit, 2)
        numbered = [RtpPacket.parse(one.data) for one in packets]
        renumbered = [replace(one, payload_type=payload_type).encode() for one in numbered]
        sent += [replace(one, data=data) for one, data in zip(packets, renumbered, strict=True)]
        sent += sender.packets(5)
    played = play(core, sent)
    assert [event.digit for event in keys(played.events)] == ["3", "7", "7"]
    assert (core.stats.unagreed_events, core.stats.unknown_payload) == (15, 0)


@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (18, bytes([3, 0x8A, 0, 160])),
        (96, bytes([3, 0xCA, 0, 160])),
        (96, bytes([77, 0x8A, 0, 160])),
        (96, bytes([3, 0x8A, 0, 160, 0])),
        (96, bytes([3, 0x8A, 0])),
    ],
)
def test_what_else_has_a_type_that_nobody_agreed_on_is_no_key(payload_type: int, payload: bytes) -> None:
    core, sender = RtpReceiver((PCMU,)), Sender()
    sent = [*sender.packets(10), sender.packet(payload, payload_type=payload_type), *sender.packets(5)]
    assert keys(play(core, sent, until=sender.at + 1).events) == []
    assert (core.stats.unagreed_events, core.stats.unknown_payload) == (0, 1)


def test_a_long_pause_before_the_end_of_a_key_is_one_key() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10)
    for _ in range(2):
        packets = press(sender, "5", 5)
        late = [replace(one, at=one.at + 1.4) for one in packets[5:]]
        sent += packets[:2] + late
        sender.pause(2.0)
    assert [event.digit for event in keys(play(core, sent, until=sender.at + 1).events)] == ["5", "5"]


def test_keys_that_all_have_one_timestamp_are_told_apart_by_their_ends() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10)
    for digit in "1223":
        sent += press(sender, digit, 3, base=0x3200)
        sender.pause(0.3)
    assert [event.digit for event in keys(play(core, sent, until=sender.at + 1).events)] == ["1", "2", "2", "3"]
