"""Twilio's side of many streams at once, and the same streams received message by message."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import pytest
from aiohttp import WSMessage, WSMsgType
from numpy.typing import NDArray

from connectors.media_ws.calls import CallBindings
from connectors.media_ws.config import MediaLimits, Roles
from connectors.media_ws.connection import MediaConnection
from connectors.media_ws.events import AudioReceived, DtmfReceived, MediaEvent, ProtocolError, StreamStopped
from connectors.media_ws.framing import frame_length
from connectors.media_ws.socket import Frames, MediaSocket
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.stream import TwilioStream
from connectors.stats import ConnectorStats
from engine.api import Session, SessionOptions, StepEvents
from pipeline.call import Call
from pipeline.calls import Calls
from pipeline.frames import AudioFrame, Encoding
from pipeline.ingest import Ingest
from pipeline.intake import Intake
from sinks.record import AnyRecord, DtmfRecord
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

    def send_now(self, text: str) -> None:
        raise AssertionError("nothing is said here")

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
        self.connection = MediaConnection(cast(MediaSocket, self.wire), self.core, office.bindings, limits)
        self.running = asyncio.ensure_future(self.connection.run())
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
        return self.wire.frames.lanes is not None

    @property
    def call(self) -> Call:
        assert self.connection._stream is not None
        return cast(Call, self.connection._stream.bound.call)

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
            self.connection._tick()
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
            await line.connection.end()
            line.plain.end(self.clock.now)

    def compare(self) -> None:
        """All lines were received and counted as they would have been message by message."""
        for number, line in enumerate(self.lines):
            plain = line.plain
            assert asdict(line.core.stats) == asdict(plain.core.stats), number
            assert line.core.state == plain.core.state, number
            keys = [
                one for one in self.records if isinstance(one, DtmfRecord) and one.call_id == line.call.info.call_id
            ]
            assert [(one.leg, one.digit, one.start) for one in keys] == plain.keys
            assert line.connection.reason in plain.reasons
            assert len(line.call.all_legs) == len(plain.intakes)
            for leg, (track, intake) in zip(line.call.all_legs, plain.intakes.items(), strict=True):
                assert leg.options.leg == track
                assert np.array_equal(self.recognizer.audio(leg.session), plain.audio(track)), number
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

    def audio(self, track: Track) -> NDArray[np.float32]:
        return self._recognizer.audio(self.intakes[track].session)

    def _apply(self, events: Sequence[MediaEvent]) -> None:
        for event in events:
            if isinstance(event, AudioReceived):
                frame = AudioFrame(event.pts, event.codes, Encoding.PCMU, 8000, event.arrival)
                self.intakes[event.track].push(frame)
            elif isinstance(event, DtmfReceived):
                self.keys.append((event.track, event.digit, event.at_s))
            elif isinstance(event, StreamStopped):
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
