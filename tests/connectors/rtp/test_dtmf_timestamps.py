"""Key presses of senders and gateways that do not keep to one timestamp for each press."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rtp.dtmf import DIGITS, EventPayload, TelephoneEvents
from connectors.rtp.events import DtmfEvent
from connectors.rtp.receiver import RtpReceiver
from tests.connectors.rtp.keys import keys, press
from tests.connectors.rtp.network import CODECS, START, Sender, play


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


def test_keys_that_all_have_one_timestamp_are_told_apart_by_their_ends() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10)
    for digit in "1223":
        sent += press(sender, digit, 3, base=0x3200)
        sender.pause(0.3)
    assert [event.digit for event in keys(play(core, sent, until=sender.at + 1).events)] == ["1", "2", "2", "3"]
