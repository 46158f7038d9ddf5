"""A fault of ours in what serves media streams and WebRTC sessions: other calls publish what they would without it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioConfig, TwilioPlayer, twilio
from connectors.media_ws.connection import MediaConnection
from connectors.media_ws.driver import MediaWebSocket
from connectors.rtp.bulk import RtpLanes
from connectors.rtp.reader import MediaReader
from connectors.webrtc.audio_lines import MediaLines
from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.sessions import CHECK_S, WhipSessions
from connectors.webrtc.whip import Offer
from pipeline import Calls, PipelineConfig
from sinks.record import AnyRecord, CallAction, CallRecord, TranscriptRecord
from tests.connectors.fakes import FakeCalls
from tests.pipeline.scripted import ScriptedRecognizer, script, words

AUDIO = np.full(16_000, 0x7F, np.uint8)
NAMES = ("CA1", "CA2", "CA3")


def boom(*_args: object, **_options: object) -> None:
    raise RuntimeError("boom")


class Stage:
    """Twilio streams over real sockets into the pipeline, with a scripted recogniser."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.recognizer = ScriptedRecognizer(*(script(words("Hello there.")) for _ in NAMES))
        self.calls = Calls(self.recognizer, self.records.extend, PipelineConfig(tick_ms=5))
        self.connector: MediaWebSocket = twilio(self.calls, TwilioConfig())

    async def play(self, disturb: "Callable[[Stage], None] | None" = None) -> None:
        """All calls side by side; `disturb` once their streams are in lanes."""
        app = web.Application()
        app.add_routes(self.connector.routes())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        url = f"ws://127.0.0.1:{port}/twilio"
        working = [asyncio.create_task(self.calls.run()), asyncio.create_task(self._recognise())]

        async def play(name: str) -> None:
            with contextlib.suppress(StreamClosed, ConnectionError):
                await TwilioPlayer(url, AUDIO, None, call_sid=name, stream_sid=f"MZ{name}", pace=2.0).play()

        playing = [asyncio.create_task(play(name)) for name in NAMES]
        await asyncio.sleep(0.4)
        if disturb is not None:
            disturb(self)
        await asyncio.gather(*playing)
        await self.connector.close()
        for task in working:
            task.cancel()
        await runner.cleanup()

    async def _recognise(self) -> None:
        while True:
            self.recognizer.steps()
            await asyncio.sleep(0.002)

    def connection(self, name: str) -> MediaConnection:
        lanes = self.connector._bindings._lanes
        assert lanes is not None
        for entry in lanes._entries:
            if entry is not None and isinstance(entry.stream, MediaConnection) and entry.stream._call == name:
                return entry.stream
        raise AssertionError(f"{name} is in no lane")

    def published(self, name: str) -> tuple[list[str], list[tuple[CallAction, str | None]], int]:
        mine = [one for one in self.records if one.call_id == name]
        calls = [one for one in mine if isinstance(one, CallRecord)]
        assert calls[-1].statistics is not None
        return (
            [one.transcript for one in mine if isinstance(one, TranscriptRecord) and one.is_final],
            [(one.action, one.reason) for one in calls],
            calls[-1].statistics.packets,
        )


WHOLE = (["Hello there."], [(CallAction.START, None), (CallAction.END, "completed")], 100)


def in_the_core(stage: Stage) -> None:
    connection = stage.connection("CA1")
    connection._core.passed_by = boom  # type: ignore[method-assign]


def in_the_hand_over(stage: Stage) -> None:
    stage.connection("CA1").leave = boom  # type: ignore[method-assign]


def in_the_heartbeat(stage: Stage) -> None:
    connection = stage.connection("CA1")
    assert connection._ws.frames is not None
    connection._ws.frames.peer_alive = boom
    lanes = stage.connector._bindings._lanes
    assert lanes is not None
    lanes._alive_at[:] -= 100.0


def in_the_leg(stage: Stage) -> None:
    call = stage.calls.get("CA1")
    assert call is not None
    for leg in call.legs.values():
        leg.intake._timeline = SimpleNamespace()  # type: ignore[assignment]


@pytest.mark.parametrize("disturb", [None, in_the_core, in_the_hand_over, in_the_heartbeat, in_the_leg])
async def test_a_fault_of_one_stream_ends_its_call_and_the_others_are_told_whole(
    disturb: Callable[[Stage], None] | None, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    with caplog.at_level(logging.ERROR):
        await stage.play(disturb)
    assert stage.published("CA2") == stage.published("CA3") == WHOLE
    _, steps, _ = stage.published("CA1")
    assert steps[-1][0] is CallAction.END
    if disturb is not None:
        assert str(steps[-1][1]).startswith("internal error")
        faults = stage.connector.supervisor.faults + stage.calls.supervisor.faults
        assert sum(faults.values()) >= 1
        assert caplog.text.count("Traceback") >= 1
    assert stage.connector.supervisor.failures == {}
    assert stage.calls.active == 0


async def test_streams_that_cannot_be_taken_together_are_taken_one_by_one_without_loss() -> None:
    stage = Stage()

    def disturb(stage: Stage) -> None:
        lanes = stage.connector._bindings._lanes
        assert lanes is not None
        lanes._take_all = boom  # type: ignore[method-assign, assignment]

    await stage.play(disturb)
    assert [stage.published(name) for name in NAMES] == [WHOLE] * 3
    assert stage.connector.supervisor.faults["media lanes"] >= 1


async def test_an_end_of_a_stream_that_fails_still_ends_its_call() -> None:
    stage = Stage()

    def disturb(stage: Stage) -> None:
        stage.connection("CA1")._leave_lane = boom  # type: ignore[method-assign]

    await stage.play(disturb)
    assert stage.published("CA2") == stage.published("CA3") == WHOLE
    assert stage.published("CA1")[1][-1][0] is CallAction.END
    assert stage.calls.active == 0


def test_lanes_of_rtp_that_cannot_be_taken_together_are_given_back() -> None:
    left: list[str] = []
    lanes = RtpLanes(SimpleNamespace())
    lanes._entries[3] = SimpleNamespace(leg=SimpleNamespace(leave_lane=lambda: left.append("left")))  # type: ignore[call-overload]
    lanes.leave_all([2, 3])
    assert left == ["left"]
    assert MediaReader.supervisor.failures == {}


class FakePeer:
    """One that fails in the method of this name."""

    lost: str | None = None
    arrived = 0.0

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.closed = False

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "fails"):
            return boom
        return object.__getattribute__(self, name)

    async def take_offer(self, offer: Offer) -> None: ...

    async def answer(self, legs: Sequence[object]) -> str:
        return "answer"

    def report(self) -> None: ...

    def finish(self) -> Sequence[Any]:
        return []

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("fails", ["report", "finish", "close"])
async def test_a_webrtc_session_that_meets_a_fault_ends_its_call(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.webrtc.sessions.CHECK_S", CHECK_S / 50)
    calls = FakeCalls()
    sessions = WhipSessions(calls, WebRtcConfig(), lambda: FakePeer(fails))
    request = SimpleNamespace(
        call_id="WR1",
        from_=None,
        to=None,
        metadata={},
        language=None,
        listens=False,
        track=lambda _index, role: (None, role),
    )
    session, _ = await sessions.start(request, Offer("", 1, frozenset(), MediaLines("", 1)))  # type: ignore[arg-type]
    if fails == "report":
        async with asyncio.timeout(10):
            while session.ending is None:  # noqa: ASYNC110 - nothing else shows it
                await asyncio.sleep(0.005)
    else:
        sessions.end(session, "completed")
    assert session.ending is not None
    await session.ending
    assert calls.running == {}
    assert calls.history[0].reason == ("internal error" if fails == "report" else "completed")
    await asyncio.sleep(0)
    assert sum(sessions.supervisor.faults.values()) == 1
