"""A whole Pipecat pipeline on a call of a real Twilio stream, with a scripted recogniser."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from numpy.typing import NDArray
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioConfig, TwilioPlayer, twilio
from connectors.media_ws.twilio.player import PlayerReport
from pipeline import AttendedCall, Call, Calls
from pipeline.g711 import decode_mulaw
from pipeline.pipecat import bot
from pipeline.pipecat.bot import PipecatBot
from pipeline.pipecat.stt import TrunklineSTTService
from pipeline.pipecat.transcripts import TrunklineTranscripts
from pipeline.pipecat.transport import TrunklineTransport
from pipeline.playback import Heard
from pipeline.turns.config import TurnConfig
from pipeline.turns.detector import TurnDetector
from sinks.record import AnyRecord, CallRecord
from tests.pipeline.pipecat.frames import at_work, until
from tests.pipeline.pipecat.speech import Answers, Voice
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import CALLER, Stage, info


class Line:
    """A server with one bot. `middle`: its processors between the transport's ends."""

    def __init__(self, recognizer: ScriptedRecognizer, answers: Answers, source: Callable[[], FrameProcessor]) -> None:
        self.recognizer, self.answers, self._source = recognizer, answers, source
        self.records: list[AnyRecord] = []
        self.heard: list[Heard] = []
        self.events: list[str] = []
        self.calls = Calls(
            recognizer, self.records.extend, turns=TurnDetector(TurnConfig()), bots=[PipecatBot(self._make)]
        )
        self.url = ""

    async def _make(self, call: AttendedCall, transport: TrunklineTransport) -> list[FrameProcessor]:
        transport.add_event_handler("on_client_connected", self._note("connected"))
        transport.add_event_handler("on_client_disconnected", self._note("disconnected"))
        transport.add_event_handler("on_interrupted", self._keep)
        middle: list[FrameProcessor] = [self.answers]
        if self.answers.is_model:
            aggregators = LLMContextAggregatorPair(LLMContext())
            middle = [aggregators.user(), self.answers]
        return [transport.input(), self._source(), *middle, Voice(), transport.output()]

    def _note(self, event: str) -> Callable[[TrunklineTransport, AttendedCall], None]:
        return lambda _transport, _call: self.events.append(event)

    def _keep(self, _transport: TrunklineTransport, heard: Heard) -> None:
        self.heard.append(heard)

    async def ring(self, seconds: float) -> tuple[Call, TwilioPlayer, "asyncio.Task[PlayerReport]"]:
        player = TwilioPlayer(self.url, np.full(round(seconds * 8_000), 0xFF, np.uint8), None)
        playing = asyncio.create_task(player.play())
        await until(lambda: (call := self.calls.get(player.call_sid)) is not None and call.announced)
        call = self.calls.get(player.call_sid)
        assert call is not None
        return call, player, playing

    @property
    def reason(self) -> str | None:
        last = self.records[-1]
        assert isinstance(last, CallRecord)
        return last.reason


@asynccontextmanager
async def line(
    answers: Answers,
    *scripts: list[Cue],
    source: Callable[[ScriptedRecognizer], FrameProcessor] | None = None,
    faults: int = 0,
) -> AsyncIterator[Line]:
    recognizer = ScriptedRecognizer(*scripts)
    one = Line(recognizer, answers, lambda: source(recognizer) if source else TrunklineTranscripts("inbound"))
    connector = twilio(one.calls, TwilioConfig())
    app = web.Application()
    app.add_routes(connector.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    working = asyncio.create_task(one.calls.run())
    host, port = runner.addresses[0][:2]
    one.url = f"ws://{host}:{port}/twilio"
    try:
        async with at_work(recognizer):
            yield one
            await connector.close()
            await until(lambda: not one.calls.bots.stats.active)
    finally:
        await runner.cleanup()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert sum(one.calls.supervisor.faults.values()) == faults
    assert one.calls.bots.stats.late_records == 0


def loud_s(player: TwilioPlayer) -> float:
    """Seconds of tone that the caller heard."""
    codes = np.frombuffer(bytes(player.report.heard), np.uint8)
    pcm: NDArray[np.int16] = decode_mulaw(codes[: codes.size // 80 * 80]).reshape(-1, 80)
    return float((np.abs(pcm.astype(int)).max(axis=1) > 1_000).sum()) / 100


@pytest.mark.parametrize("own", [False, True])
async def test_it_answers_what_was_said_hears_keys_and_hangs_up_when_its_last_word_was_heard(own: bool) -> None:
    answers = Answers({"Hello there.": "hello", "Goodbye now.": None})
    said = script(words("Hello there."), words("Goodbye now.", start=1.6))
    source = TrunklineSTTService if own else None
    scripts = ([], said) if own else (said,)
    async with line(answers, *scripts, source=source) as one:
        call, player, playing = await one.ring(10.0)
        await until(lambda: bool(one.events))
        call.dtmf("inbound", "7", 0.5, 0.1)
        await asyncio.wait_for(call.wait_ended(), 10)
        with pytest.raises(StreamClosed, match="the call was ended"):
            await playing
        assert answers.heard == ["Hello there.", "Goodbye now."]
        assert answers.keys == "7"
        assert loud_s(player) == pytest.approx(0.5, abs=0.03)
        assert answers.bot == ["started", "stopped"]
        assert one.events == ["connected"]
        assert one.reason == "hung up by the bot"


@pytest.mark.parametrize("is_model", [False, True])
async def test_the_caller_interrupts_and_the_bot_knows_what_was_heard_and_answers_the_rest(is_model: bool) -> None:
    """By a processor's own answer to proposals, and by Pipecat's aggregator with the strategies we recommend."""
    announcement = "a long announcement of about five seconds of speech"
    answers = Answers({"Hello there.": announcement, "Stop it.": "well"}, is_model=is_model)
    said = script(words("Hello there."), words("Stop it.", start=4.0))
    async with line(answers, said) as one:
        call, player, playing = await one.ring(10.0)
        await until(lambda: bool(one.heard))
        sent_s = loud_s(player)
        assert 0.5 < sent_s < 4.0
        await until(lambda: answers.heard == ["Hello there.", "Stop it."])
        await until(lambda: answers.bot == 2 * ["started", "stopped"])
        (heard,) = one.heard
        assert heard.interrupted
        assert heard.seconds == pytest.approx(sent_s, abs=0.25)
        assert loud_s(player) == pytest.approx(sent_s + 0.4, abs=0.3)  # what was on its way, the lead
        assert player.report.cleared == 1
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await call.wait_ended()
    assert one.events == ["connected", "disconnected"]


async def test_a_caller_who_hangs_up_ends_the_pipeline_in_the_middle_of_a_word() -> None:
    answers = Answers({"Hello there.": "a long announcement of three seconds"})
    async with line(answers, script(words("Hello there."))) as one:
        call, player, playing = await one.ring(2.0)
        await asyncio.wait_for(playing, 10)
        await call.wait_ended()
        assert 0 < loud_s(player) < 2
    assert one.events == ["connected", "disconnected"]
    assert answers.bot == ["started", "stopped"]


async def test_a_bot_that_is_cancelled_ends_its_pipeline() -> None:
    answers = Answers({})
    async with line(answers) as one:
        call, _, playing = await one.ring(5.0)
        await until(lambda: bool(one.events))
        task = one.calls.bots._attended[call.info.call_id].task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert not [other for other in asyncio.all_tasks() if "Trunkline" in other.get_name()]
        await call.end("the test is over")
        with pytest.raises(StreamClosed):
            await playing
    assert one.events == ["connected"]


async def test_a_call_on_which_nobody_can_be_spoken_to_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bot, "WAY_BACK_S", 0.05)

    async def make(call: AttendedCall, transport: TrunklineTransport) -> list[FrameProcessor]:
        raise AssertionError("it has no leg")

    stage = Stage(ScriptedRecognizer(), bots=[PipecatBot(make)])
    call = stage.calls.start(info())
    call.add_leg(CALLER)
    await until(lambda: stage.calls.bots.stats.attended == 1 and not stage.calls.bots.stats.active)
    assert not call.ended
    assert "call CA1: bot pipecat leaves it: no leg of it can be spoken to" in caplog.text
    await stage.end()


async def test_a_pipeline_that_cannot_be_made_ends_its_call() -> None:
    async def make(call: AttendedCall, transport: TrunklineTransport) -> list[FrameProcessor]:
        raise LookupError("no script for this number")

    async with line(Answers({}), faults=1) as one:
        one.calls.bots._bots = (PipecatBot(make),)
        call, _, playing = await one.ring(5.0)
        await asyncio.wait_for(call.wait_ended(), 10)
        with pytest.raises(StreamClosed):
            await playing
        assert one.reason == "the bot failed: LookupError"
