"""Key presses: by payloads, and from the network through the whole receiver."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rtp.dtmf import DIGITS, EventPayload, TelephoneEvents
from connectors.rtp.errors import MalformedEvent
from connectors.rtp.events import DtmfEvent
from connectors.rtp.receiver import RtpReceiver
from tests.connectors.rtp.captures import capture
from tests.connectors.rtp.keys import UPDATE, keys, press
from tests.connectors.rtp.network import CODECS, START, Arrival, Sender, play


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


def test_a_long_pause_before_the_end_of_a_key_is_one_key() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(10)
    for _ in range(2):
        packets = press(sender, "5", 5)
        late = [replace(one, at=one.at + 1.4) for one in packets[5:]]
        sent += packets[:2] + late
        sender.pause(2.0)
    assert [event.digit for event in keys(play(core, sent, until=sender.at + 1).events)] == ["5", "5"]
