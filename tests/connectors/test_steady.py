"""Messages taken at once and messages foreseen, beside the way that every message can take: both hear the same."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.media_ws.events import Audio, Track
from connectors.media_ws.socket import Frames
from connectors.media_ws.steady import MAX_RUN, Foreseen, SteadyStream
from connectors.media_ws.twilio import TwilioStream
from pipeline.frames import Encoding
from tests.connectors import twilio_side as twilio
from tests.connectors.conftest import Serve
from tests.connectors.test_driver import begin, close_code, running, until

Heard = list[tuple[str, int, bytes]]


class Quick:
    """A core as `Peer` uses it."""

    def __init__(self) -> None:
        self.core = TwilioStream()
        self.heard: Heard = []
        self.foreseen = 0
        self._steady: SteadyStream | None = None

    def receive(self, text: str, now: float) -> None:
        data = bytearray(text.encode())
        if self._steady is not None:
            steady = self._steady
            if steady.take(data, now):
                self.foreseen += self._steady is steady
                return
        elif self._hear(data, now):
            return
        self.settle()
        self._apply(self.core.receive(text, now))

    def settle(self) -> None:
        if self._steady is not None:
            steady, self._steady = self._steady, None
            self.core.passed_by(steady.taken)

    def timer(self, now: float) -> None:
        self.settle()
        self._apply(self.core.handle_timer(now))

    def _other(self, data: bytearray, now: float) -> bool:
        self.settle()
        return self._hear(data, now)

    def _hear(self, data: bytearray, now: float) -> bool:
        packet = self.core.receive_next(data, now)
        if packet is None:
            return False
        self._note(*packet)
        if foreseen := self.core.foresee():
            tracks = [(one, lambda *audio, track=one.track: self._note(track, *audio[:2])) for one in foreseen]
            self._steady = SteadyStream(tracks, Encoding.PCMU, self._other)
        return True

    def _note(self, track: Track, pts: int, codes: bytes) -> None:
        self.heard.append((track, pts, codes))

    def _apply(self, events: list[Any]) -> None:
        self.heard += [(one.track, one.pts, one.codes.tobytes()) for one in events if isinstance(one, Audio)]


def compare(messages: list[str]) -> Quick:
    quick, plain, expected = Quick(), TwilioStream(), Heard()
    for index, message in enumerate(messages):
        now = 0.01 * index
        quick.timer(now)
        events = plain.handle_timer(now) + plain.receive(message, now)
        quick.receive(message, now)
        expected += [(one.track, one.pts, one.codes.tobytes()) for one in events if isinstance(one, Audio)]
    quick.settle()
    assert quick.heard == expected
    assert asdict(quick.core.stats) == asdict(plain.stats)
    assert quick.core.state == plain.state
    return quick


def opening(tracks: tuple[str, ...] = ("inbound",)) -> list[str]:
    return [twilio.connected(), twilio.start(tracks)]


def stream(count: int, tracks: tuple[str, ...] = ("inbound",), first: int = 2) -> list[str]:
    return [
        twilio.media(
            first + index,
            20 * (index // len(tracks)),
            bytes([index % 256]) * 160,
            track=tracks[index % len(tracks)],
            chunk=1 + index // len(tracks),
        )
        for index in range(count)
    ]


class Untimed(Quick):
    """Without timers between the messages, which end a run."""

    def timer(self, now: float) -> None: ...


@pytest.mark.parametrize("tracks", [("inbound",), ("inbound", "outbound")])
def test_a_long_stream_is_foreseen_and_heard_whole(tracks: tuple[str, ...]) -> None:
    messages = opening(tracks) + stream(1200, tracks)
    quick, plain, expected = Untimed(), TwilioStream(), Heard()
    for index, message in enumerate(messages):
        quick.receive(message, 0.01 * index)
        events = plain.receive(message, 0.01 * index)
        expected += [(one.track, one.pts, one.codes.tobytes()) for one in events if isinstance(one, Audio)]
    quick.settle()
    assert quick.heard == expected
    assert asdict(quick.core.stats) == asdict(plain.stats)
    assert 1000 < quick.foreseen < 1200


@pytest.mark.parametrize(
    "change",
    [
        {"sequenceNumber": "21"},
        {"sequenceNumber": "022"},
        {"sequenceNumber": " 22"},
        {"sequenceNumber": 22},
        {"streamSid": "MZ" + "d" * 32},
        {"event": "mark"},
        {"extra": {"chunk": "1"}},
        {"media": {"timestamp": "401"}},
        {"media": {"timestamp": "1000"}},
        {"media": {"timestamp": "-400"}},
        {"media": {"track": "outbound"}},
        {"media": {"chunk": "7"}},
        {"media": {"payload": "A" * 216}},
        {"media": {"payload": "*" * 216}},
        {"media": {"payload": "A" * 214 + "=="}},
        {"media": {"payload": "A" * 108 + "==" + "A" * 106}},
        {"media": {"payload": ""}},
        {"media": None},
    ],
    ids=str,
)
def test_an_unusual_message_is_no_more_than_that(change: Mapping[str, Any]) -> None:
    messages = opening() + stream(60)
    fields = json.loads(messages[22])
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(fields.get(name), dict):
            fields[name] |= value
        else:
            fields[name] = value
    messages[22] = json.dumps(fields)
    quick, plain = Untimed(), TwilioStream()
    expected: Heard = []
    for message in messages:
        quick.receive(message, 0.0)
        expected += [
            (one.track, one.pts, one.codes.tobytes()) for one in plain.receive(message, 0.0) if isinstance(one, Audio)
        ]
    quick.settle()
    assert quick.heard == expected
    assert asdict(quick.core.stats) == asdict(plain.stats)
    assert quick.foreseen > 10


@given(st.lists(st.sampled_from(["next", "swap", "drop", "twice", "late", "mark", "jump"]), max_size=80), st.booleans())
def test_any_order_of_messages_is_heard_the_same(actions: list[str], two: bool) -> None:
    tracks = ("inbound", "outbound") if two else ("inbound",)
    rest = stream(400, tracks)
    messages, at = opening(tracks), 0
    for action in actions:
        if action == "swap":
            messages += [rest[at + 1], rest[at]]
            at += 2
        elif action == "drop":
            at += 1
        elif action == "twice":
            messages += [rest[at], rest[at]]
            at += 1
        elif action == "late" and at:
            messages.append(rest[at - 1])
        elif action == "mark":
            messages.append(twilio.mark(2 + at))
            at += 1
        elif action == "jump":
            messages.append(twilio.media(2 + at, 100_000 + at, track=tracks[0]))
            at += 1
        else:
            messages += rest[at : at + 4]
            at += 4
    compare(messages)


def test_a_message_that_hides_its_keys_is_not_foreseen() -> None:
    """Each key is searched for but once, so that no message makes the search take longer than itself."""
    message, before = (text.encode() for text in stream(2)[::-1])
    assert Foreseen.after(message, before, Track.INBOUND, 1, 320) is not None
    twice = message[:-1] + b', "x": {"chunk": "1"}}'
    assert Foreseen.after(twice, before, Track.INBOUND, 1, 320) is None
    assert Foreseen.after(message, message, Track.INBOUND, 1, 320) is None
    long = message[:-1] + b', "x": "' + b"y" * 1000 + b'"}'
    assert Foreseen.after(long, long, Track.INBOUND, 1, 320) is None


async def test_a_running_stream_is_taken_at_once_and_heard_whole(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",))
    call = await running(server, legs=1)
    for index, message in enumerate(stream(2 * MAX_RUN)):
        await ws.send_str(message)
        if index % 50 == 20:
            await ws.ping()
    await until(lambda: call.legs["inbound"].codes.size == 160 * 2 * MAX_RUN)
    (socket,) = server.connector._sockets
    assert socket.frames is not None
    assert getattr(socket.frames.at_once, "__name__", "") == "take"
    await ws.send_str(twilio.dtmf(2 + 2 * MAX_RUN, "9"))
    await ws.send_str(twilio.stop(3 + 2 * MAX_RUN))
    await asyncio.wait_for(call.over.wait(), 5)
    assert [key[1] for key in call.keys] == ["9"]
    assert call.keys[0][2] == pytest.approx(0.02 * 2 * MAX_RUN)
    assert call.legs["inbound"].stats.packets == 2 * MAX_RUN
    assert np.array_equal(call.legs["inbound"].codes[::160], [index % 256 for index in range(2 * MAX_RUN)])
    assert await close_code(ws) == aiohttp.WSCloseCode.OK


async def test_a_call_that_was_ended_closes_its_running_stream(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",))
    call = await running(server, legs=1)
    messages = stream(3 * MAX_RUN)
    for message in messages[:40]:
        await ws.send_str(message)
    await until(lambda: call.legs["inbound"].codes.size == 160 * 40)
    leg = call.legs["inbound"]
    monkeypatch.setattr(leg, "push", lambda _frame: None)  # an ended leg hears nothing more
    await call.end("drained")
    for message in messages[40:]:
        await ws.send_str(message)
    assert await close_code(ws) == aiohttp.WSCloseCode.GOING_AWAY


class Sink(asyncio.Protocol):
    """In the place of aiohttp."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.received.append(data)


def masked(text: str, first: int = 0x81) -> bytes:
    data = text.encode()
    mask = bytes((7, 1, 200, 99))
    body = bytes(octet ^ mask[index % 4] for index, octet in enumerate(data))
    head = (
        bytes((first, 0x80 | 126)) + len(data).to_bytes(2, "big")
        if len(data) > 125
        else bytes((first, 0x80 | len(data)))
    )
    return head + mask + body


LONG = "x" * 200


@given(st.lists(st.sampled_from(["long", "short", "ping", "no", "part"]), max_size=12), st.data())
def test_every_byte_goes_one_way_or_the_other_and_in_order(kinds: list[str], data: st.DataObject) -> None:
    frames_of = {
        "long": [masked(LONG)],
        "short": [masked("short")],
        "ping": [masked("?", 0x89)],
        "no": [masked("no" * 100)],
        "part": [masked(LONG, 0x01), masked("?", 0x89), masked(LONG, 0x80)],
    }
    wire = [frame for kind in kinds for frame in frames_of[kind]]
    sink, taken = Sink(), list[bytes]()
    frames = Frames(sink, lambda: None, 1000)

    def at_once(message: bytearray, _now: float) -> bool:
        if message.startswith(b"no"):
            return False
        taken.append(bytes(message))
        return True

    frames.at_once = at_once
    whole = b"".join(wire)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    for begin_, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if end > begin_:
            frames.data_received(whole[begin_:end])
    delegated = b"".join(sink.received)
    assert len(delegated) + sum(len(message) + 8 for message in taken) == len(whole)
    left = list(wire)
    for message in taken:
        left.remove(masked(message.decode()))
    if "long" in kinds and kinds[0] == "long" and not cuts:
        assert taken[0] == LONG.encode()
    assert delegated == b"".join(left)


def test_nothing_overtakes_what_waits() -> None:
    sink, taken = Sink(), list[bytes]()
    frames = Frames(sink, lambda: None, 1000)

    def take(message: bytearray, _now: float) -> bool:
        if message.startswith(b"no"):
            return False
        taken.append(bytes(message))
        return True

    frames.at_once = take
    for frame in (masked(LONG), masked("no" * 100), masked(LONG), masked("?", 0x89), masked(LONG)):
        frames.data_received(frame)
    assert len(taken) == 1
    frames.handled()
    frames.data_received(masked(LONG))
    assert len(taken) == 1
    for _ in range(3):
        frames.handled()
    frames.data_received(masked(LONG))
    assert len(taken) == 2


def test_longer_messages_than_allowed_and_other_text_are_left_to_aiohttp() -> None:
    sink = Sink()
    frames = Frames(sink, lambda: None, 199)
    frames.at_once = lambda _message, _now: True
    frames.data_received(masked(LONG))
    assert len(sink.received) == 1
    frames.handled()
    frames.data_received(masked("é" * 80))
    assert len(sink.received) == 2
    frames.handled()
    frames.data_received(masked("x" * 199))
    assert len(sink.received) == 2


def test_aiohttp_hears_now_and_then_that_the_peer_is_there() -> None:
    told: list[int] = []
    frames = Frames(Sink(), lambda: told.append(1), 1000)
    frames.at_once = lambda _message, _now: True
    for _ in range(50):
        frames.data_received(masked(LONG))
    assert len(told) == 1
