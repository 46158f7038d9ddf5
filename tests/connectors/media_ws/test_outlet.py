"""What a peer with a buffer and marks is sent, and what is known of what it has played."""

import itertools

import numpy as np
import pytest

from connectors.media_ws.outlet import MARK_MS, OVERDUE_S, MarkedOutlet
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio.stream import TwilioStream
from pipeline.errors import NotPlayed
from pipeline.g711 import decode_mulaw
from tests.connectors.media_ws.twilio import twilio_side as twilio


class Buffered:
    """A stream that runs, its outlet, and the time."""

    def __init__(self) -> None:
        self.now = 50.0
        self.sent: list[wire.ServerMessage] = []
        self.core = TwilioStream()
        self.core.receive(twilio.connected(), self.now)
        self.core.receive(twilio.start(("inbound",)), self.now)
        self.outlet = MarkedOutlet(self.core, lambda text: self.sent.append(wire.decode_server(text)), lambda: self.now)

    def send(self, packets: int = 1) -> None:
        for _ in range(packets):
            self.outlet.send(np.full(160, 1_000, np.int16), self.now, starts=False)

    @property
    def marks(self) -> list[str]:
        return [one.mark.name for one in self.sent if isinstance(one, wire.PlayMarkMessage)]

    @property
    def played_ms(self) -> int:
        return self.outlet.played_ms(self.now)


def test_audio_is_mu_law_for_this_stream() -> None:
    buffered = Buffered()
    buffered.send()
    (message,) = buffered.sent
    assert isinstance(message, wire.PlayMessage)
    assert message.stream_sid == twilio.STREAM
    assert np.abs(decode_mulaw(np.frombuffer(message.media.payload, np.uint8)) - 1_000).max() < 40


def test_between_marks_the_clock_goes_on_and_not_past_the_next() -> None:
    buffered = Buffered()
    buffered.send(2 * MARK_MS // 20)
    assert len(buffered.marks) == 2
    buffered.now += 0.3
    assert buffered.played_ms == 300
    buffered.now += 1.0
    assert buffered.played_ms == MARK_MS - 20  # the mark has not come back: the peer has not got there
    buffered.outlet.mark_received(buffered.marks[0])
    assert buffered.played_ms == MARK_MS
    buffered.now += 0.1
    assert buffered.played_ms == MARK_MS + 100
    buffered.outlet.mark_received(buffered.marks[1])
    assert buffered.played_ms == buffered.outlet.sent_ms == 2 * MARK_MS


def test_after_a_clear_the_marks_that_come_back_say_nothing() -> None:
    buffered = Buffered()
    buffered.send(30)
    buffered.outlet.confirm()
    buffered.now += 0.1
    before = buffered.played_ms
    buffered.outlet.clear()
    assert isinstance(buffered.sent[-1], wire.ClearMessage)
    assert before == 100
    for name in buffered.marks:
        buffered.outlet.mark_received(name)
    buffered.send(5)
    buffered.now += 0.04
    assert buffered.played_ms == 600 + 40


def test_a_later_mark_stands_for_those_before_it_and_unknown_ones_for_nothing() -> None:
    buffered = Buffered()
    buffered.send(2 * MARK_MS // 20)
    buffered.outlet.mark_received("of somebody else")
    assert buffered.played_ms == 0
    buffered.outlet.mark_received(buffered.marks[1])
    buffered.outlet.mark_received(buffered.marks[0])
    assert buffered.played_ms == 2 * MARK_MS


def test_the_place_never_falls() -> None:
    buffered, places = Buffered(), [0]
    for index in range(200):
        if index % 3:
            buffered.send()
        buffered.now += 0.02
        if index % 40 == 39 and buffered.marks:
            buffered.outlet.mark_received(buffered.marks[-1])
        if index == 120:
            buffered.outlet.clear()
        places.append(buffered.played_ms)
    assert all(before <= after for before, after in itertools.pairwise(places))
    assert places[-1] <= buffered.outlet.sent_ms


def test_a_peer_that_returns_no_mark_plays_nothing() -> None:
    buffered = Buffered()
    buffered.send(5)
    buffered.outlet.confirm()
    buffered.now += 0.1 + OVERDUE_S
    assert buffered.outlet.fault is None
    buffered.now += 0.1
    assert isinstance(buffered.outlet.fault, NotPlayed)
    with pytest.raises(NotPlayed, match="<Connect><Stream>"):
        raise buffered.outlet.fault


def test_nothing_is_sent_after_the_end() -> None:
    buffered = Buffered()
    buffered.core.receive(twilio.stop(2), buffered.now)
    assert buffered.outlet.ready
    buffered.send()
    assert not buffered.outlet.ready
    buffered.outlet.clear()
    assert not buffered.sent
