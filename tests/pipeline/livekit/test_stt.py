"""`TrunklineSTT` as a LiveKit agent uses it, with a scripted recogniser."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, stt

from engine.api import FaultReason, SessionFault
from pipeline.livekit.stt import EventType, TrunklineSTT
from pipeline.recognition.hub import Hub
from tests.pipeline.scripted import ScriptedRecognizer, script, words

ONCE = APIConnectOptions(max_retry=0)


def audio(seconds: float, rate_hz: int = 16_000, channels: int = 1) -> list[rtc.AudioFrame]:
    size = rate_hz // 50
    piece = np.zeros(size * channels, np.int16).tobytes()
    return [rtc.AudioFrame(piece, rate_hz, channels, size) for _ in range(round(seconds * 50))]


@asynccontextmanager
async def at_work(recognizer: ScriptedRecognizer) -> AsyncIterator[TrunklineSTT]:
    async def work() -> None:
        while True:
            recognizer.steps()
            await asyncio.sleep(0.002)

    task = asyncio.create_task(work())
    service = TrunklineSTT(recognizer=recognizer)
    try:
        yield service
    finally:
        await service.aclose()
        assert not Hub.of(recognizer).sessions
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def told(events: list[stt.SpeechEvent]) -> list[str]:
    """Each event's kind, with its text."""
    return [
        ": ".join([str(event.type.value), *(one.text for one in event.alternatives)])
        for event in events
        if event.type is not EventType.RECOGNITION_USAGE
    ]


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (24_000, 1), (48_000, 2)])
async def test_words_come_as_interims_and_finals_and_the_end_flushes(rate_hz: int, channels: int) -> None:
    recognizer = ScriptedRecognizer(script(words("Sí gracias", language="es-US")))
    async with at_work(recognizer) as service:
        stream = service.stream()
        for frame in audio(1.0, rate_hz, channels):
            stream.push_frame(frame)
            await asyncio.sleep(0.001)
        stream.end_input()
        events = [event async for event in stream]
        assert told(events)[0] == "start_of_speech"
        assert told(events)[-2:] == ["final_transcript: Sí gracias", "end_of_speech"]
        assert told(events).count("end_of_speech") == 1
        assert "interim_transcript: Sí" in told(events)
        (final,) = (one.alternatives[0] for one in events if one.type is EventType.FINAL_TRANSCRIPT)
        assert final.language == "es-US"
        assert final.words is not None
        assert list(map(str, final.words)) == ["Sí", "gracias"]
        assert [word.start_time for word in final.words] == pytest.approx([0.0, 0.32], abs=0.01)
        used = [one.recognition_usage for one in events if one.recognition_usage is not None]
        assert sum(one.audio_duration for one in used) == pytest.approx(1.0)
        assert recognizer.running[0].pushed == pytest.approx(16_000, abs=4)
        await stream.aclose()


async def test_a_flush_has_what_was_said_so_far_final_and_the_stream_goes_on() -> None:
    recognizer = ScriptedRecognizer(script(words("one two three four", pace=0.4)))
    async with at_work(recognizer) as service:
        stream = service.stream()
        for frame in audio(0.8):
            stream.push_frame(frame)
        stream.flush()
        finals = []
        async for event in stream:
            if event.type is EventType.FINAL_TRANSCRIPT:
                finals.append(event.alternatives[0].text)
                if len(finals) == 1:
                    for frame in audio(1.0):
                        stream.push_frame(frame)
                    stream.end_input()
        assert finals == ["one two", "three four"]
        await stream.aclose()


async def test_language_and_class_change_while_a_stream_runs() -> None:
    recognizer = ScriptedRecognizer(script(words("one")), script(words("dos")))
    async with at_work(recognizer) as service:
        stream = service.stream(language="en")
        for frame in audio(1.0):
            stream.push_frame(frame)
        await asyncio.sleep(0.1)
        assert recognizer.running[0].options.language == "en-US"
        service.update_options(language="es", chunk_ms=560)
        await asyncio.sleep(0.1)
        for frame in audio(1.0):
            stream.push_frame(frame)
        stream.end_input()
        events = [event async for event in stream]
        finals = [one.alternatives[0] for one in events if one.type is EventType.FINAL_TRANSCRIPT]
        assert [one.text for one in finals] == ["one", "dos"]
        assert [one.start_time for one in finals] == pytest.approx([0.0, 1.0], abs=0.01)
        options = recognizer.running[1].options
        assert (options.language, options.chunk_ms) == ("es-US", 560)
        await stream.aclose()


async def test_a_recording_is_recognised_at_once() -> None:
    async with at_work(ScriptedRecognizer(script(words("one two. three")))) as service:
        event = await service.recognize(audio(2.0))
        assert event.alternatives[0].text == "one two. three"


async def test_an_engine_that_is_not_there_is_the_frameworks_connection_error(tmp_path: Path) -> None:
    service = TrunklineSTT(f"unix:{tmp_path}/none")
    stream = service.stream(conn_options=ONCE)
    stream.end_input()
    with pytest.raises(APIConnectionError, match="no engine at unix:"):
        await anext(stream)
    await service.aclose()


async def test_a_lost_session_is_told_and_the_stream_goes_on() -> None:
    recognizer = ScriptedRecognizer(script(words("one")), script(words("two")))
    async with at_work(recognizer) as service:
        errors: list[stt.STTError] = []
        service.on("error", errors.append)
        stream = service.stream()
        for frame in audio(0.5):
            stream.push_frame(frame)
        await asyncio.sleep(0.1)
        recognizer.lose(recognizer.opened[0], SessionFault(FaultReason.LOST, "it died of a test"))
        await asyncio.sleep(0.4)
        for frame in audio(0.5):
            stream.push_frame(frame)
        stream.end_input()
        finals = [
            one.alternatives[0].text for one in [event async for event in stream]
            if one.type is EventType.FINAL_TRANSCRIPT
        ]  # fmt: skip
        assert finals == ["one", "two"]
        assert [(str(one.error), one.recoverable) for one in errors] == [("engine lost: it died of a test", True)]
        await stream.aclose()


async def test_a_stream_that_is_closed_in_the_middle_frees_its_session() -> None:
    recognizer = ScriptedRecognizer(script(words("one two")))
    async with at_work(recognizer) as service:
        stream = service.stream()
        for frame in audio(0.4):
            stream.push_frame(frame)
        assert (await anext(stream)).type is EventType.START_OF_SPEECH
        await stream.aclose()
        assert not recognizer.sessions


async def test_a_language_that_the_model_lacks_ends_the_stream_with_its_reason() -> None:
    recognizer = ScriptedRecognizer()
    async with at_work(recognizer) as service:
        stream = service.stream(language="pl-PL", conn_options=ONCE)
        with pytest.raises(APIError, match="no prompt for pl-PL"):
            await anext(stream)
        await stream.aclose()
