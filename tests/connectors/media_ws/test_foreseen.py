"""Messages taken at once, and those of a stream in a lane, beside the way that every message can take: all hear and
count the same."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, cast

import aiohttp
import numpy as np
import pytest
from aiohttp import WSMessage, WSMsgType, web
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from connectors.media_ws import TwilioConfig
from connectors.media_ws import twilio as twilio_connector
from connectors.media_ws.bulk import Lanes
from connectors.media_ws.calls import CallBindings
from connectors.media_ws.config import MediaLimits, Roles
from connectors.media_ws.connection import Peer
from connectors.media_ws.events import Audio, Dtmf, Event, ProtocolError, Stopped
from connectors.media_ws.foreseen import Foreseen
from connectors.media_ws.framing import frame_length
from connectors.media_ws.socket import Frames, MediaSocket
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.stream import TwilioStream
from connectors.stats import ConnectorStats
from engine.api import Session, SessionOptions, StepEvents
from pipeline.call import Call, Calls
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import decode_mulaw
from pipeline.ingest import Ingest, Intake
from sinks.record import AnyRecord, DtmfRecord
from tests.connectors.conftest import Serve
from tests.connectors.media_ws.test_driver import begin, close_code, running, until
from tests.connectors.media_ws.twilio import twilio_side as twilio
from tests.pipeline.collector import Collector

Item = str | bytes
"""A text message, or the bytes of frames that carry none."""


class Clock:
    """In the place of `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def masked(text: str | bytes, first: int = 0x81, mask: bytes = bytes((7, 1, 200, 99))) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    body = bytes(octet ^ mask[index % 4] for index, octet in enumerate(data))
    size = bytes((0x80 | len(data),)) if len(data) <= 125 else bytes((0xFE,)) + len(data).to_bytes(2, "big")
    return bytes((first,)) + size + mask + body


PING = masked("?", 0x89)


class Wire(asyncio.Protocol):
    """In the place of aiohttp, behind real `Frames`."""

    def __init__(self, limits: MediaLimits) -> None:
        self.frames = Frames(self, lambda: None, limits.max_message_bytes)
        self.pings = 0
        self.closed: tuple[int, bytes] | None = None
        self._idle = False
        self._data, self._parts = b"", b""
        self._queue: asyncio.Queue[WSMessage] = asyncio.Queue()

    @property
    def idle(self) -> bool:
        """All messages were dealt with."""
        return self._idle and self._queue.empty()

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (length := frame_length(self._data, 0)) is not None and length <= len(self._data):
            frame, self._data = self._data[:length], self._data[length:]
            if frame[0] & 0xF == 9:
                self.pings += 1
                continue
            head = 8 if frame[1] & 0x7F == 126 else 6
            self._parts += bytes(octet ^ frame[head - 4 + index % 4] for index, octet in enumerate(frame[head:]))
            if frame[0] >= 0x80:
                self._queue.put_nowait(WSMessage(WSMsgType.TEXT, self._parts.decode(), None))
                self._parts = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._queue.put_nowait(WSMessage(WSMsgType.CLOSED, None, None))

    async def receive(self) -> WSMessage:
        self._idle = True
        message = await self._queue.get()
        self._idle = False
        return message

    async def close(self, *, code: int, message: bytes) -> None:
        if self.closed is None:
            self.closed = code, message
            self._queue.put_nowait(WSMessage(WSMsgType.CLOSING, None, None))


class Core(TwilioStream):
    """Counts what did not come by."""

    passed = 0
    runs = 0

    def passed_by(self, taken: Mapping[Track, int]) -> None:
        super().passed_by(taken)
        self.passed += sum(taken.values())
        self.runs += 1


class Recorder(Collector):
    """Keeps what it was given and answers `close` at once."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions = 0
        self._callbacks: list[Any] = []

    def open(self, options: SessionOptions) -> Session:
        self._sessions += 1
        return Session(self._sessions, self._sessions, 0, options.chunk_ms)

    def close(self, session: Session) -> None:
        asyncio.get_running_loop().call_soon(self._closed, session)

    def subscribe(self, callback: Any) -> None:
        self._callbacks.append(callback)

    def _closed(self, session: Session) -> None:
        for callback in self._callbacks:
            callback(StepEvents((), (session,), {}))


class Line:
    """A socket with a real `Peer`; `items` are read from it as `read` says."""

    def __init__(self, office: "Office", number: int, items: Sequence[Item], limits: MediaLimits) -> None:
        self.wire, self.core, self.plain = Wire(limits), Core(limits), Plain(limits)
        self.peer = Peer(cast(MediaSocket, self.wire), self.core, office.bindings, limits)
        self.running = asyncio.ensure_future(self.peer.run())
        self._clock, self._number = office.clock, number
        self._data, self._at = b"", 0
        self._messages: list[tuple[int, str]] = []
        self.add(items)

    def add(self, items: Sequence[Item]) -> None:
        """More to be read."""
        for item in items:
            text = self.own(item) if isinstance(item, str) else ""
            self._data += masked(text, mask=MASKS[len(self._data) % 3]) if text else cast(bytes, item)
            if text:
                self._messages.append((len(self._data), text))

    def own(self, message: str) -> str:
        """The message as one of this line's stream."""
        return message.replace(twilio.STREAM, f"MZ{self._number:032}").replace(twilio.CALL, f"CA{self._number:032}")

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return len(self._data) - self._at

    @property
    def in_lane(self) -> bool:
        return self.peer._lanes is not None

    @property
    def call(self) -> Call:
        assert self.peer._stream is not None
        return cast(Call, self.peer._stream.bound.call)

    def read(self, size: int | None = None) -> None:
        """So many bytes; None: up to the end of a message."""
        if self.left:
            end = next((end for end, _ in self._messages), len(self._data)) if size is None else self._at + size
            chunk = self._data[self._at : end]
            self._at += len(chunk)
            self.wire.frames.data_received(chunk)
            while self._messages and self._messages[0][0] <= self._at:
                self.plain.receive(self._messages.pop(0)[1], self._clock.now)

    def timers(self) -> None:
        now = self._clock.now
        due = self.core.next_timer()
        if due is not None and due <= now and not self.running.done():
            self.peer._tick()
        self.plain.timers(now)


MASKS = (bytes(4), b"\x07\x01\xc8\x63", b"\xff\x00\x80\x7d")


class Office:
    """Real calls on simulated time; the tick comes when it is called."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.recognizer = Recorder()
        self.records: list[AnyRecord] = []
        self.calls = Calls(self.recognizer, self.records.extend)
        self.bindings = CallBindings(self.calls, ConnectorStats(), "twilio", Roles())
        self.lines: list[Line] = []

    def line(self, items: Sequence[Item], limits: MediaLimits | None = None) -> Line:
        self.lines.append(Line(self, len(self.lines), items, limits or MediaLimits()))
        return self.lines[-1]

    async def drained(self) -> None:
        """Every message that no lane has was dealt with."""
        await asyncio.sleep(0)
        while not all(line.running.done() or line.wire.idle for line in self.lines):  # noqa: ASYNC110 - no timing here
            await asyncio.sleep(0)

    async def step(self, seconds: float = 0.02) -> None:
        """The tick, and time goes on."""
        self.calls.ingest.tick()
        await self.drained()
        self.clock.now += seconds
        for line in self.lines:
            line.timers()

    async def end(self) -> None:
        """The connections are lost."""
        for line in self.lines:
            line.wire.frames.connection_lost(None)
            await line.running
            await line.peer.end()
            line.plain.end(self.clock.now)

    def compare(self) -> None:
        """All lines were heard and counted as they would have been message by message."""
        for number, line in enumerate(self.lines):
            plain = line.plain
            assert asdict(line.core.stats) == asdict(plain.core.stats), number
            assert line.core.state == plain.core.state, number
            keys = [
                one for one in self.records if isinstance(one, DtmfRecord) and one.call_id == line.call.info.call_id
            ]
            assert [(one.leg, one.digit, one.start) for one in keys] == plain.keys
            assert line.peer.reason in plain.reasons
            assert len(line.call.all_legs) == len(plain.intakes)
            for leg, (track, intake) in zip(line.call.all_legs, plain.intakes.items(), strict=True):
                assert leg.options.leg == track
                assert np.array_equal(self.recognizer.audio(leg.session), plain.heard(track)), number
                assert leg.intake.stats == intake.stats, number
                arrivals, expected = (np.array(one.timeline._arrivals)[-400:] for one in (leg.intake, intake))
                assert arrivals.shape == expected.shape, number
                assert np.allclose(arrivals, expected, rtol=0, atol=1e-6), number
                assert leg.stats.packets == plain.core.stats.tracks[track].packets


class Plain:
    """The way that every message can take, beside it."""

    def __init__(self, limits: MediaLimits) -> None:
        self.core = TwilioStream(limits)
        self.intakes: dict[Track, Intake] = {}
        self.keys: list[tuple[str, str, float]] = []
        self.reasons: tuple[str, ...] = ()
        self._recognizer = Collector()
        self._ingest = Ingest(self._recognizer)

    def receive(self, message: str, now: float) -> None:
        if not self.reasons:
            self._apply(self.core.receive(message, now))
            if self.core.started is not None and not self.intakes:
                for index, track in enumerate(self.core.started.tracks):
                    self.intakes[track] = self._ingest.open(Session(index, index, 0, 160), track)

    def timers(self, now: float) -> None:
        due = self.core.next_timer()
        if due is not None and due <= now and not self.reasons:
            self._apply(self.core.handle_timer(now))

    def end(self, now: float) -> None:
        if not self.reasons:
            self._apply(self.core.connection_lost(now))
            self.reasons = ("disconnected",)
        for intake in self.intakes.values():
            self._ingest.close(intake)

    def heard(self, track: Track) -> NDArray[np.float32]:
        return self._recognizer.audio(self.intakes[track].session)

    def _apply(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Audio):
                frame = AudioFrame(event.pts, event.codes, Encoding.PCMU, 8000, event.arrival)
                self.intakes[event.track].push(frame)
            elif isinstance(event, Dtmf):
                self.keys.append((event.track, event.digit, event.at_s))
            elif isinstance(event, Stopped):
                self.reasons = ("completed",)
            elif isinstance(event, ProtocolError):
                self.reasons = ("protocol error",)
        self._ingest.tick()


@asynccontextmanager
async def office() -> AsyncIterator[Office]:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in ("bulk", "connection", "socket"):
            patch.setattr(f"connectors.media_ws.{module}.time", clock)
        yield Office(clock)


async def compared(lines: Sequence[Sequence[Item]], seed: int | None = None) -> list[Line]:
    """Read all lines, without a seed message by message with a tick after each, and compare."""
    rng = random.Random(seed)
    async with office() as place:
        for items in lines:
            place.line(items)
        await place.drained()
        while any(line.left for line in place.lines):
            for line in place.lines:
                if seed is None:
                    line.read()
                    continue
                for _ in range(rng.randrange(4)):
                    line.read(rng.choice([None] * 20 + [rng.randrange(1, 40), rng.randrange(1, 2000)]))
            if seed is None or rng.random() < 0.5:
                await place.step()
            elif rng.random() < 0.2:
                await place.drained()
        await place.step()
        await place.end()
        place.compare()
        return place.lines


def opening(tracks: tuple[str, ...] = ("inbound",), sequence: int = 1) -> list[str]:
    start = twilio.start_fields(tracks) | {"sequenceNumber": str(sequence)}
    return [twilio.connected(), json.dumps(start)]


def stream(
    count: int, tracks: tuple[str, ...] = ("inbound",), first: int = 2, timestamp: int = 0, chunk: int = 1
) -> list[str]:
    rng = np.random.default_rng(count)
    return [
        twilio.media(
            first + index,
            timestamp + 20 * (index // len(tracks)),
            rng.integers(0, 256, 160, np.uint8).tobytes(),
            track=tracks[index % len(tracks)],
            chunk=chunk + index // len(tracks),
        )
        for index in range(count)
    ]


BOTH = ("inbound", "outbound")


@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
@pytest.mark.parametrize("seed", [None, 1, 2])
async def test_a_long_stream_passes_in_its_lane_and_is_heard_whole(tracks: tuple[str, ...], seed: int | None) -> None:
    (line,) = await compared([opening(tracks) + stream(1200, tracks)], seed)
    if seed is None:
        assert line.core.runs == 1
        assert line.core.passed == 1192
    else:
        assert line.core.passed > 600


@pytest.mark.parametrize("seed", range(4))
async def test_many_streams_side_by_side_are_heard_each_its_own(seed: int) -> None:
    lines = [opening(tracks) + stream(90 + number, tracks) for number, tracks in enumerate([("inbound",), BOTH] * 12)]
    for line in lines[::5]:
        line[60] = twilio.mark(60)
    for line in lines[::7]:
        del line[70]
    lines[3].insert(50, twilio.stop(50))
    heard = await compared(cast(list[list[Item]], lines), seed or None)
    assert all(line.core.passed > 20 for line in heard)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
@pytest.mark.parametrize("sequence", [2, 80, 970, 9_970, 999_975])
@pytest.mark.parametrize("timestamp", [0, 9_700, 99_700, 9_999_800])
async def test_numbers_gain_digits(sequence: int, timestamp: int, tracks: tuple[str, ...], seed: int | None) -> None:
    messages = stream(100, tracks, sequence + 1, timestamp, chunk=sequence % 89 + 1)
    (line,) = await compared([opening(tracks, sequence) + messages], seed)
    if seed is None:
        assert line.core.passed >= 80
        assert line.core.runs <= 2  # a first time stamp far from zero is told from a gap


async def test_numbers_too_long_for_a_lane_go_the_plain_way() -> None:
    first = 10**10 - 40
    (line,) = await compared([opening(sequence=first - 1) + stream(80, first=first)])
    assert line.core.passed == 40 - 8
    assert line.core.stats.tracks[Track.INBOUND].packets == 80


@pytest.mark.parametrize("size", [159, 161, 162])
@pytest.mark.parametrize("code", [0x00, 0xFF, 0x41])
async def test_packets_of_another_size_are_not_foreseen(size: int, code: int) -> None:
    messages = [twilio.media(2 + index, 20 * index, bytes([code] * size), chunk=1 + index) for index in range(40)]
    (line,) = await compared([opening() + messages])
    assert not line.core.passed


@pytest.mark.parametrize("step", [0, 1, 19, 21, 40])
async def test_time_stamps_that_run_otherwise_than_the_audio_are_not_foreseen(step: int) -> None:
    messages = [twilio.media(2 + index, step * index, bytes([index]) * 160, chunk=1 + index) for index in range(100)]
    (line,) = await compared([opening() + messages])
    assert not line.core.passed


async def test_what_was_read_together_with_the_message_before_the_lane_passes_in_it() -> None:
    async with office() as place:
        line = place.line(opening() + stream(40))
        line.read()
        line.read()
        await place.drained()
        line.read(line.left)
        assert line.core.stats.messages == 2 + 8
        await place.step()
        await place.end()
        place.compare()
        assert (line.core.passed, line.core.runs) == (32, 1)


CHANGES: list[dict[str, Any]] = [
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
    {"media": {"payload": "A" * 213 + "B=="}},
    {"media": {"payload": "A" * 213 + "==="}},
    {"media": {"payload": "A" * 108 + "==" + "A" * 106}},
    {"media": {"payload": "A" * 108 + "*" + "A" * 105 + "=="}},
    {"media": {"payload": ""}},
    {"media": None},
]


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change)[:60])
async def test_an_unusual_message_is_no_more_than_that(change: Mapping[str, Any], seed: int | None) -> None:
    messages = opening() + stream(60)
    fields = json.loads(messages[22])
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(fields.get(name), dict):
            fields[name] |= value
        else:
            fields[name] = value
    messages[22] = json.dumps(fields)
    others = [opening() + stream(50), opening(BOTH) + stream(50, BOTH)]
    line, *others_ = await compared([messages, *others], seed)
    if seed is None:
        assert line.core.passed >= 12
        assert [one.core.passed for one in others_] == [42, 42]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.sampled_from(["next", "next", "swap", "drop", "twice", "late", "mark", "key", "jump", "ping"]), max_size=60
    ),
    st.booleans(),
    st.integers(0, 1000),
)
def test_any_order_of_messages_is_heard_the_same(actions: list[str], two: bool, seed: int) -> None:
    tracks = BOTH if two else ("inbound",)
    rest = stream(1000, tracks)
    items: list[Item] = [*opening(tracks)]
    at = 0
    for action in actions:
        if action == "swap":
            items += [rest[at + 1], rest[at]]
            at += 2
        elif action == "drop":
            at += 1
        elif action == "twice":
            items += [rest[at], rest[at]]
            at += 1
        elif action == "late" and at:
            items.append(rest[at - 1])
        elif action == "mark":
            items.append(twilio.mark(2 + at))
            at += 1
        elif action == "key":
            items.append(twilio.dtmf(2 + at, "5"))
            at += 1
        elif action == "jump":
            items.append(twilio.media(2 + at, 100_000 + at, track=tracks[0]))
            at += 1
        elif action == "ping":
            items.append(PING)
        else:
            items += rest[at : at + 12]
            at += 12
    other = opening() + stream(100)
    asyncio.run(compared_quietly([items, other], seed))


async def compared_quietly(lines: Sequence[Sequence[Item]], seed: int) -> None:
    await compared(lines, seed or None)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (twilio.media(10, 180, chunk=9), twilio.media(12, 200, chunk=10)),
        (twilio.media(11, 180, chunk=9), twilio.media(11, 200, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, chunk=11)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, chunk=8)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 201, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 180, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, chunk=10).replace('"200"', '"0200"')),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, bytes(159), chunk=10)),
        (twilio.media(10, 180, bytes(161), chunk=9), twilio.media(11, 200, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.mark(11)),
        (twilio.media(10, 180, chunk=9), twilio.media(10**10 - 1, 200, chunk=10)),
    ],
    ids=lambda message: message[:50],
)
def test_two_messages_that_do_not_follow_each_other_foresee_nothing(before: str, message: str) -> None:
    assert Foreseen.after(message.encode(), before.encode(), Track.INBOUND, 1, 320) is None


def test_a_message_that_hides_its_keys_is_not_foreseen() -> None:
    """Each key is searched for but once, so that no message makes the search take longer than itself."""
    message, before = (text.encode() for text in stream(2)[::-1])
    assert Foreseen.after(message, before, Track.INBOUND, 1, 320) is not None
    twice = message[:-1] + b', "x": {"chunk": "1"}}'
    assert Foreseen.after(twice, before, Track.INBOUND, 1, 320) is None
    assert Foreseen.after(message, message, Track.INBOUND, 1, 320) is None
    long = message[:-1] + b', "x": "' + b"y" * 1000 + b'"}'
    assert Foreseen.after(long, long, Track.INBOUND, 1, 320) is None


# -- frames


class Sink(asyncio.Protocol):
    """In the place of aiohttp."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.received.append(data)


LONG = "x" * 200


@given(st.lists(st.sampled_from(["long", "short", "ping", "no", "part"]), max_size=12), st.data())
def test_every_byte_goes_one_way_or_the_other_and_in_order(kinds: list[str], data: st.DataObject) -> None:
    frames_of = {
        "long": [masked(LONG)],
        "short": [masked("short")],
        "ping": [PING],
        "no": [masked("no" * 100)],
        "part": [masked(LONG, 0x01), PING, masked(LONG, 0x80)],
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
        left.remove(masked(message))
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
    for frame in (masked(LONG), masked("no" * 100), masked(LONG), PING, masked(LONG)):
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


# -- the end of a stream in a lane


async def in_a_lane(place: Office, limits: MediaLimits | None = None, messages: int = 20) -> Line:
    """A line that has read its opening and so many messages."""
    line = place.line(opening() + stream(1000)[:messages], limits)
    while line.left:
        line.read()
        await place.step()
    assert line.in_lane
    return line


@pytest.mark.parametrize("end", ["eof", "lost", "stop", "ping", "close"])
async def test_what_waits_is_heard_before_the_end(end: str) -> None:
    async with office() as place:
        line = await in_a_lane(place)
        line.add(stream(1000)[20:25])
        while line.left:
            line.read()
        assert line.core.stats.tracks[Track.INBOUND].packets < 20
        if end == "eof":
            assert line.wire.frames.eof_received() is None
        elif end == "lost":
            line.wire.frames.connection_lost(None)
        elif end == "close":
            await line.wire.close(code=1001, message=b"")
            await line.running
        elif end == "stop":
            line.add([twilio.stop(27)])
            line.read()
        else:
            line.add([PING, twilio.stop(27)])
            line.read()
        if end in ("eof", "lost"):
            assert line.call.legs["inbound"].intake.stats.frames == 25
        else:
            place.calls.ingest.tick()
        await place.drained()
        if end in ("stop", "ping"):
            assert line.peer.reason == "completed"
        assert line.wire.pings == (end == "ping")
        line.plain.reasons = line.plain.reasons or ("disconnected", "shutdown")
        line.plain.core.connection_lost(place.clock.now)
        await place.end()
        place.compare()
        assert line.core.stats.tracks[Track.INBOUND].packets == 25


async def test_what_is_not_foreseen_leaves_the_lane_and_comes_back_to_it() -> None:
    async with office() as place:
        line = await in_a_lane(place)
        messages = stream(1000)
        line.add([PING, *messages[20:40]])
        line.read(len(PING))
        assert line.in_lane
        await place.step()
        assert not line.in_lane
        assert line.wire.pings == 1
        for _ in range(4):
            assert not line.in_lane
            line.read()
        assert line.in_lane
        line.add([twilio.mark(42), *stream(19, first=43, timestamp=800, chunk=41)])
        while line.left > 1:
            line.read()
            await place.step()
        assert line.in_lane
        await place.end()
        place.compare()


async def test_a_stream_that_goes_quiet_in_its_lane_is_closed_and_one_that_does_not_is_not() -> None:
    async with office() as place:
        limits = MediaLimits(idle_timeout_s=10.0)
        line, other = await in_a_lane(place, limits), await in_a_lane(place, limits)
        for _ in range(3):
            place.clock.now += 9.0
            line.peer._tick()
            assert line.in_lane
            line.add(stream(1000)[20 + _ : 21 + _])
            line.read()
            await place.step(0.0)
            assert line.in_lane
        assert line.core.runs == 0
        other.peer._tick()
        await place.drained()
        assert other.wire.closed == (1008, b"no message in time")
        assert other.peer.reason == "timeout"
        place.clock.now += 10.5
        line.add(stream(1000)[23:24])
        line.read()  # it waits for the tick as the timer fires
        line.peer._tick()
        await place.drained()
        assert line.wire.closed is None
        assert line.core.stats.tracks[Track.INBOUND].packets == 24
        place.clock.now += 10.5
        line.peer._tick()
        await place.drained()
        assert line.wire.closed == (1008, b"no message in time")
        await place.end()
        assert place.bindings.stats.ended == {"timeout": 2}
        assert line.call.legs["inbound"].stats.packets == 24
        assert line.call.legs["inbound"].intake.stats.frames == 24


async def test_a_call_that_was_ended_closes_its_stream_in_a_lane_and_no_other() -> None:
    async with office() as place:
        line, other = await in_a_lane(place), await in_a_lane(place)
        await line.call.end("drained")
        for index in range(20, 24):
            for one in (line, other):
                one.add(stream(1000)[index : index + 1])
                one.read()
            await place.step()
        await line.running
        assert line.peer.code == aiohttp.WSCloseCode.GOING_AWAY
        assert line.call.legs["inbound"].intake.stats.frames == 20
        assert other.in_lane
        assert other.call.legs["inbound"].intake.stats.frames == 24
        await place.end()
        assert place.bindings.stats.ended == {"ended": 1, "disconnected": 1}


async def test_a_socket_that_cannot_take_what_comes_back_ends_its_stream_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office() as place:
        line, other = await in_a_lane(place), await in_a_lane(place)

        def fail(_data: bytes) -> None:
            raise RuntimeError("fault")

        monkeypatch.setattr(line.wire, "data_received", fail)
        for one in (line, other):
            one.add([twilio.mark(22), *stream(1000)[21:30]])
            while one.left:
                one.read()
        await place.step()
        await place.drained()
        assert line.wire.closed == (1011, b"internal error")
        await line.running
        assert other.core.stats.messages == 2 + 20 + 10
        await place.end()
        assert place.bindings.stats.ended == {"internal error": 1, "disconnected": 1}


# -- the same with real sockets


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Calls, Recorder, list[AnyRecord], aiohttp.ClientWebSocketResponse]]:
    """A client of a real server, with the pipeline that ticks."""
    recognizer, records = Recorder(), list[AnyRecord]()
    calls = Calls(recognizer, records.extend)
    connector = twilio_connector(calls, TwilioConfig())
    ticking = asyncio.ensure_future(calls.run())
    app = web.Application()
    app.add_routes(connector.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            yield calls, recognizer, records, await session.ws_connect(f"ws://{host}:{port}{TwilioConfig().path}")
            await connector.close()
    finally:
        await runner.cleanup()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


async def started(calls: Calls, ws: aiohttp.ClientWebSocketResponse, tracks: tuple[str, ...]) -> Call:
    for message in opening(tracks):
        await ws.send_str(message)
    await until(lambda: (call := calls.get(twilio.CALL)) is not None and len(call.legs) == len(tracks))
    call = calls.get(twilio.CALL)
    assert call is not None
    return call


@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
async def test_a_running_stream_is_heard_whole_with_its_keys_and_closed_in_order(
    tracks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []
    enter = Frames.enter

    def entering(frames: Frames, lanes: Lanes, lane: int) -> None:
        entered.append(lane)
        enter(frames, lanes, lane)

    monkeypatch.setattr(Frames, "enter", entering)
    async with served() as (calls, recognizer, records, ws):
        call = await started(calls, ws, tracks)
        messages = stream(400, tracks)
        for index, message in enumerate(messages):
            await ws.send_str(message)
            if index % 100 == 50:
                await ws.ping()
            if index % 7 == 0:
                await asyncio.sleep(0.001)
        await until(lambda: sum(leg.intake.stats.frames for leg in call.legs.values()) == 400)
        assert len(entered) >= 3
        await ws.send_str(twilio.dtmf(402, "9"))
        await ws.send_str(twilio.stop(403))
        await asyncio.wait_for(call.wait_ended(), 5)
        assert await close_code(ws) == aiohttp.WSCloseCode.OK
        keys = [one for one in records if isinstance(one, DtmfRecord)]
        assert [(one.leg, one.digit) for one in keys] == [("inbound", "9")]
        assert keys[0].start == pytest.approx(0.02 * 400 / len(tracks))
        for name, leg in call.legs.items():
            sent = [json.loads(one)["media"] for one in messages]
            codes = b"".join(base64.b64decode(one["payload"]) for one in sent if one["track"] == name)
            heard = recognizer.audio(leg.session)[::2] * 32768
            assert np.array_equal(heard, decode_mulaw(np.frombuffer(codes, np.uint8)))
            assert leg.stats.packets == leg.intake.stats.frames == 400 // len(tracks)
            assert (leg.stats.lost, leg.intake.stats.gaps) == (0, 0)


async def test_a_call_that_was_ended_closes_its_running_stream_where_nobody_ticks_any_more() -> None:
    async with served() as (calls, _, _, ws):
        call = await started(calls, ws, ("inbound",))
        messages = stream(4000)
        for message in messages[:40]:
            await ws.send_str(message)
        await until(lambda: call.legs["inbound"].intake.stats.frames == 40)
        await call.end("drained")
        await until(lambda: not calls._awake.is_set())

        async def talk() -> None:
            for message in messages[40:]:
                await ws.send_str(message)
                await asyncio.sleep(0.005)

        talking = asyncio.ensure_future(talk())
        assert await close_code(ws) == aiohttp.WSCloseCode.GOING_AWAY
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def test_a_leg_whose_audio_cannot_be_taken_along_is_heard_message_by_message(serve: Serve) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",))
    call = await running(server, legs=1)
    messages = stream(60)
    for message in messages:
        await ws.send_str(message)
    await until(lambda: call.legs["inbound"].codes.size == 160 * 60)
    await ws.send_str(twilio.stop(62))
    await asyncio.wait_for(call.over.wait(), 5)
    assert call.legs["inbound"].stats.packets == 60
    assert await close_code(ws) == aiohttp.WSCloseCode.OK
