"""`TrunklineTransport` in Pipecat's own test pipeline, on a call whose telephone plays in real time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.tests.utils import SleepFrame, run_test

from pipeline import AttendedCall, CallInfo
from pipeline.call import Call
from pipeline.pipecat.source import TrunklineRecordFrame
from pipeline.pipecat.transport import TrunklineTransport, default_params
from tests.pipeline.pipecat.frames import until
from tests.pipeline.pipecat.speech import tone
from tests.pipeline.playback.line import Outlet
from tests.pipeline.scripted import ScriptedRecognizer, script, words
from tests.pipeline.stage import CALLER, Stage, info


class Attending:
    """A bot that only gives away its call."""

    name = "attending"

    def __init__(self) -> None:
        self.call: asyncio.Future[AttendedCall] = asyncio.get_running_loop().create_future()
        self.left = asyncio.Event()

    def attends(self, info: CallInfo) -> bool:
        return True

    async def attend(self, call: AttendedCall) -> None:
        self.call.set_result(call)
        await self.left.wait()


class Telephone:
    """A call with one leg, and what its outlet was sent."""

    def __init__(self, stage: Stage, call: Call, attended: AttendedCall, lead_ms: int) -> None:
        self.stage, self.call, self.attended = stage, call, attended
        self.outlet = Outlet(time.monotonic, lead_ms=lead_ms)
        call.legs["caller"].connect_outlet(self.outlet)

    @property
    def loud_s(self) -> float:
        """Of the tone that was sent."""
        loud = np.abs(self.outlet.pcm.astype(int).reshape(-1, 80)).max(axis=1) > 1_000
        return float(loud.sum()) / 100


@asynccontextmanager
async def telephone(lead_ms: int = 0) -> AsyncIterator[Telephone]:
    bot = Attending()
    stage = Stage(ScriptedRecognizer(script(words("Hello there."))), bots=[bot])
    call = stage.calls.start(info(), announce=False)
    call.add_leg(CALLER)
    call.announce()
    try:
        async with stage.flushing():
            yield Telephone(stage, call, await bot.call, lead_ms)
            await call.end("the test is over")
            bot.left.set()
            await asyncio.sleep(0)
    finally:
        await stage.calls.bots.close()
    assert not stage.calls.supervisor.faults


async def run(processor: FrameProcessor, *frames: Frame, end: bool = True) -> tuple[list[Frame], list[Frame]]:
    down, up = await run_test(processor, frames_to_send=frames, send_end_frame=end)
    return list(down), list(up)


def speech(seconds: float, rate_hz: int = 24_000) -> list[Frame]:
    return [TTSAudioRawFrame(tone(seconds, rate_hz).tobytes(), rate_hz, 1), TTSStoppedFrame()]


def bot_frames(frames: list[Frame]) -> list[type[Frame]]:
    return [type(one) for one in frames if isinstance(one, BotStartedSpeakingFrame | BotStoppedSpeakingFrame)]


STARTED_STOPPED = [BotStartedSpeakingFrame, BotStoppedSpeakingFrame]


@pytest.mark.parametrize("lead_ms", [0, 200])
async def test_what_a_voice_says_is_heard_to_its_end_and_then_the_bot_hangs_up(lead_ms: int) -> None:
    async with telephone(lead_ms) as one:
        down, up = await run(TrunklineTransport(one.attended, "caller").output(), *speech(0.6))
        assert one.loud_s == pytest.approx(0.6, abs=0.05)
        assert bot_frames(down) == bot_frames(up) == STARTED_STOPPED
        assert one.call.ended


async def test_the_bot_has_stopped_when_its_last_packet_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with telephone(lead_ms=200) as one:
        times: list[tuple[float, float]] = []
        output = TrunklineTransport(one.attended, "caller").output()
        push = output.push_frame

        async def note(frame: Frame, *rest: object) -> None:
            await push(frame, *rest)  # type: ignore[arg-type]
            if isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame):
                played_s = one.outlet.played_ms(time.monotonic()) / 1000
                times.append((played_s, one.outlet.sent_ms / 1000))

        monkeypatch.setattr(output, "push_frame", note)
        await run(output, *speech(0.6))
        played_s, sent_s = times[-1]
        assert played_s == sent_s == pytest.approx(0.6, abs=0.05)


async def test_an_interruption_stops_at_once_and_what_was_made_before_is_never_heard() -> None:
    async with telephone() as one:
        transport = TrunklineTransport(one.attended, "caller")
        heard = []
        transport.add_event_handler("on_interrupted", lambda _, what: heard.append(what))
        sent: list[float] = []

        async def note() -> None:
            await until(lambda: bool(heard))
            sent.append(one.loud_s)

        noting = asyncio.create_task(note())
        frames = [*speech(3.0), SleepFrame(0.5), InterruptionFrame(), SleepFrame(0.3), *speech(0.2)]
        down, _ = await run(transport.output(), *frames)
        await noting
        assert heard[0].interrupted
        assert heard[0].seconds == pytest.approx(sent[0], abs=0.03)
        assert 0.3 < sent[0] < 1.0
        assert one.loud_s == pytest.approx(sent[0] + 0.2, abs=0.05)
        assert bot_frames(down) == 2 * STARTED_STOPPED


async def test_what_must_not_be_interrupted_is_heard_to_its_end() -> None:
    async with telephone() as one:
        audio = TTSAudioRawFrame(tone(0.8, 16_000).tobytes(), 16_000, 1)
        audio.interruptible = False
        await run(TrunklineTransport(one.attended, "caller").output(), audio, SleepFrame(0.3), InterruptionFrame())
        assert one.loud_s == pytest.approx(0.8, abs=0.1)  # Pipecat keeps an incomplete chunk back


async def test_sounds_and_key_tones_end_without_a_word_of_their_end() -> None:
    async with telephone() as one:
        sound = OutputAudioRawFrame(tone(0.2, 16_000).tobytes(), 16_000, 1)
        key = OutputDTMFFrame(button=KeypadEntry.FIVE)
        output = TrunklineTransport(one.attended, "caller").output()
        down, _ = await run(output, sound, SleepFrame(0.9), key, SleepFrame(0.8))
        assert one.loud_s > 0.25
        assert bot_frames(down) == []
        assert one.outlet.sent_ms < 1_500  # of 2.3 s: no silence goes out for good


async def test_on_hold_the_bot_waits_and_says_the_rest_afterwards() -> None:
    async with telephone() as one:

        async def hold() -> None:
            await until(lambda: one.loud_s > 0.2)
            one.outlet.ready = False
            await asyncio.sleep(0.4)
            one.outlet.ready = True

        holding = asyncio.create_task(hold())
        _, up = await run(TrunklineTransport(one.attended, "caller").output(), *speech(0.8))
        await holding
        assert one.loud_s == pytest.approx(0.8, abs=0.05)
        assert not [frame for frame in up if isinstance(frame, ErrorFrame)]


async def test_a_cancelled_pipeline_says_no_more_and_leaves_the_call() -> None:
    async with telephone() as one:
        output = TrunklineTransport(one.attended, "caller").output()
        await run(output, *speech(3.0), SleepFrame(0.3), CancelFrame(), end=False)
        sent = one.outlet.sent_ms
        await asyncio.sleep(0.1)
        assert one.outlet.sent_ms == sent < 1_000
        assert not one.call.ended


async def test_a_leg_that_only_listens_is_told_in_one_line() -> None:
    async with telephone() as one:
        one.call.legs["caller"].connect_outlet(None)
        output = TrunklineTransport(one.attended, "caller").output()
        _, up = await run(output, *speech(0.1), SleepFrame(0.1))
        (error,) = (frame for frame in up if isinstance(frame, ErrorFrame))
        assert error.error.startswith("call CA1: leg caller: there is no way back")
        assert not output.is_usable


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000])
async def test_audio_keys_and_records_of_the_leg_come_in_and_the_hang_up_is_told(rate_hz: int) -> None:
    async with telephone() as one:
        transport = TrunklineTransport(one.attended, "caller", default_params(audio_in_sample_rate=rate_hz))
        events: list[str] = []
        for name in ("on_client_connected", "on_client_disconnected"):
            transport.add_event_handler(name, lambda _transport, _call, name=name: events.append(name))

        async def ring() -> None:
            await until(lambda: bool(one.stage.calls.bots._audio))
            await one.stage.play(one.call.legs["caller"], seconds=1.0)
            one.call.dtmf("caller", "5", 0.5, 0.1)
            one.call.dtmf("caller", "A", 0.7, 0.1)  # of no telephone that Pipecat knows
            await one.call.end("hang-up")

        ringing = asyncio.create_task(ring())
        down, _ = await run(transport.input(), SleepFrame(0.6))
        await ringing
        audio = [frame for frame in down if isinstance(frame, InputAudioRawFrame)]
        assert {(frame.sample_rate, frame.num_channels) for frame in audio} == {(rate_hz, 1)}
        assert sum(frame.num_frames for frame in audio) == pytest.approx(rate_hz, rel=0.12)
        assert [frame.button for frame in down if isinstance(frame, InputDTMFFrame)] == [KeypadEntry.FIVE]
        records = [frame.record for frame in down if isinstance(frame, TrunklineRecordFrame)]
        assert records == one.stage.records
        assert events == ["on_client_connected", "on_client_disconnected"]
