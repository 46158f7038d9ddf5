"""Messages taken at once, and those of a stream in a lane, beside the way that every message can take: all receive and
count the same."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.media_ws import TwilioConfig
from connectors.media_ws import twilio as twilio_connector
from connectors.media_ws.bulk import MediaLanes
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.socket import Frames
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.template import next_media
from pipeline.call import Call, Calls
from pipeline.g711 import decode_mulaw
from sinks.record import AnyRecord, DtmfRecord
from tests.connectors.conftest import Serve
from tests.connectors.media_ws.lines import (
    BOTH,
    PING,
    Item,
    Line,
    Office,
    Recorder,
    compared,
    masked,
    office,
    opening,
    stream,
)
from tests.connectors.media_ws.server import begin, close_code, running, until
from tests.connectors.media_ws.twilio import twilio_side as twilio


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
    read = await compared(cast(list[list[Item]], lines), seed or None)
    assert all(line.core.passed > 20 for line in read)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
@pytest.mark.parametrize("sequence", [2, 80, 970, 9_970, 999_975])
@pytest.mark.parametrize("timestamp", [0, 9_700, 99_700, 9_999_800])
async def test_numbers_gain_digits(sequence: int, timestamp: int, tracks: tuple[str, ...], seed: int | None) -> None:
    messages = stream(100, tracks, sequence + 1, timestamp, chunk=sequence % 89 + 1)
    (line,) = await compared([opening(tracks, sequence) + messages], seed)
    if seed is None:
        assert line.core.passed >= 80
        assert line.core.runs <= 2  # a first time stamp far from zero is a gap at first


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
    messages = stream(1000, tracks)
    items: list[Item] = [*opening(tracks)]
    at = 0
    for action in actions:
        if action == "swap":
            items += [messages[at + 1], messages[at]]
            at += 2
        elif action == "drop":
            at += 1
        elif action == "twice":
            items += [messages[at], messages[at]]
            at += 1
        elif action == "late" and at:
            items.append(messages[at - 1])
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
            items += messages[at : at + 12]
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
    assert next_media(message.encode(), before.encode(), Track.INBOUND, 1, 320) is None


def test_a_message_that_hides_its_keys_is_not_foreseen() -> None:
    """Each key is searched for but once, so that no message makes the search take longer than itself."""
    message, before = (text.encode() for text in stream(2)[::-1])
    assert next_media(message, before, Track.INBOUND, 1, 320) is not None
    twice = message[:-1] + b', "x": {"chunk": "1"}}'
    assert next_media(twice, before, Track.INBOUND, 1, 320) is None
    assert next_media(message, message, Track.INBOUND, 1, 320) is None
    long = message[:-1] + b', "x": "' + b"y" * 1000 + b'"}'
    assert next_media(long, long, Track.INBOUND, 1, 320) is None


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

    def fast_path(message: bytearray, _now: float) -> bool:
        if message.startswith(b"no"):
            return False
        taken.append(bytes(message))
        return True

    frames.fast_path = fast_path
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

    frames.fast_path = take
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
    frames.fast_path = lambda _message, _now: True
    frames.data_received(masked(LONG))
    assert len(sink.received) == 1
    frames.handled()
    frames.data_received(masked("é" * 80))
    assert len(sink.received) == 2
    frames.handled()
    frames.data_received(masked("x" * 199))
    assert len(sink.received) == 2


def test_aiohttp_hears_now_and_then_that_the_peer_is_there() -> None:
    notified: list[int] = []
    frames = Frames(Sink(), lambda: notified.append(1), 1000)
    frames.fast_path = lambda _message, _now: True
    for _ in range(50):
        frames.data_received(masked(LONG))
    assert len(notified) == 1


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
            assert line.connection.reason == "completed"
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
            line.connection._tick()
            assert line.in_lane
            line.add(stream(1000)[20 + _ : 21 + _])
            line.read()
            await place.step(0.0)
            assert line.in_lane
        assert line.core.runs == 0
        other.connection._tick()
        await place.drained()
        assert other.wire.closed == (1008, b"no message in time")
        assert other.connection.reason == "timeout"
        place.clock.now += 10.5
        line.add(stream(1000)[23:24])
        line.read()  # it waits for the tick as the timer fires
        line.connection._tick()
        await place.drained()
        assert line.wire.closed is None
        assert line.core.stats.tracks[Track.INBOUND].packets == 24
        place.clock.now += 10.5
        line.connection._tick()
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
        assert line.connection.code == aiohttp.WSCloseCode.GOING_AWAY
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

    def entering(frames: Frames, lanes: MediaLanes, lane: int) -> None:
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
            audio = recognizer.audio(leg.session)[::2] * 32768
            assert np.array_equal(audio, decode_mulaw(np.frombuffer(codes, np.uint8)))
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
