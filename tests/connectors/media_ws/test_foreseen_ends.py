"""How a stream leaves its lane and how it ends there: what waits is heard before."""

import aiohttp
import pytest

from connectors.media_ws.config import MediaLimits
from connectors.media_ws.track import Track
from tests.connectors.media_ws.lines import PING, Line, Office, office, opening, stream
from tests.connectors.media_ws.twilio import twilio_side as twilio


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
