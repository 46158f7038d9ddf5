"""`TrunklineSTTService` in Pipecat's own test pipeline (`pipecat.tests.utils.run_test`)."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipecat.frames.frames import (
    CancelFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    MetricsFrame,
    StartFrame,
    STTMetadataFrame,
    STTUpdateSettingsFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData, TTFBMetricsData
from pipecat.pipeline.worker import PipelineParams
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transcriptions.language import Language

from engine.api import FaultReason, Session, SessionFault, SessionOptions
from engine.errors import UnknownLocale
from pipeline.pipecat.stt import TrunklineSTTService, TrunklineSTTSettings
from pipeline.recognition.hub import Hub
from tests.pipeline.pipecat.frames import at_work, finals, interims, silence, until
from tests.pipeline.scripted import ScriptedRecognizer, script, words

NAP = SleepFrame(0.05)


class Demanding(ScriptedRecognizer):
    """As an engine, it refuses a language it lacks while it runs, too."""

    def set_language(self, session: Session, language: str) -> None:
        if language not in self.languages:
            raise UnknownLocale(f"no prompt for {language}")
        super().set_language(session, language)


class Counting(ScriptedRecognizer):
    """Counts what it is asked for."""

    questions = 0

    def finalize(self, session: Session) -> None:
        self.questions += 1
        super().finalize(session)


async def run(
    recognizer: ScriptedRecognizer, frames: Sequence[Frame], service: TrunklineSTTService | None = None
) -> tuple[list[Frame], list[Frame]]:
    params = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
    async with at_work(recognizer):
        down, up = await run_test(
            service or TrunklineSTTService(recognizer), frames_to_send=frames, pipeline_params=params
        )
    assert Hub.of(recognizer).sessions == 0
    assert not recognizer.sessions
    return list(down), list(up)


async def test_interims_and_finals_come_in_order_with_words_and_language_and_audio_passes() -> None:
    recognizer = ScriptedRecognizer(script(words("Sí. Gracias.", language="es-US")))
    audio = silence(2.0)
    down, _ = await run(recognizer, [*audio, NAP])
    assert [one for one in down if isinstance(one, InputAudioRawFrame)] == audio
    assert isinstance(down[0], STTMetadataFrame)
    texts = [one for one in down if isinstance(one, TranscriptionFrame | InterimTranscriptionFrame)]
    assert {one.language for one in texts} == {Language.ES_US}
    assert interims(down) == ["Sí.", "Sí. Gracias."]
    (final,) = (one for one in texts if isinstance(one, TranscriptionFrame))
    assert (final.text, final.finalized) == ("Sí. Gracias.", False)
    assert [word.text for word in final.result or ()] == ["Sí.", "Gracias."]


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (24_000, 1), (48_000, 2)])
async def test_any_rate_is_recognised_at_16_khz_to_its_last_sample(rate_hz: int, channels: int) -> None:
    recognizer = ScriptedRecognizer(script(words("Yes")))
    down, _ = await run(recognizer, [*silence(1.0, rate_hz, channels), NAP])
    assert finals(down) == [("Yes", False)]
    assert recognizer.running[0].pushed == pytest.approx(16_000, abs=4)


async def test_the_end_of_speech_asks_for_a_final_and_its_time_is_measured() -> None:
    recognizer = ScriptedRecognizer(script(words("I need help")))
    stopped = VADUserStoppedSpeakingFrame(stop_secs=0.2, timestamp=time.time())
    down, _ = await run(
        recognizer, [VADUserStartedSpeakingFrame(), NAP, *silence(1.0), stopped, NAP, *silence(0.4), NAP]
    )
    assert finals(down) == [("I need help", True)]
    metrics = [data for one in down if isinstance(one, MetricsFrame) for data in one.data]
    times = [data.value for data in metrics if isinstance(data, TTFBMetricsData) and data.value]
    assert len(times) == 1
    assert 0.2 <= times[0] < 1.0
    usage = sum(data.value.audio_seconds for data in metrics if isinstance(data, STTUsageMetricsData))
    assert usage == pytest.approx(1.4)


@pytest.mark.parametrize("vad", [False, True])
async def test_the_end_of_a_turn_asks_for_a_final_where_there_is_no_vad(vad: bool) -> None:
    recognizer = Counting(script(words("one two three four")))
    spoken = [VADUserStartedSpeakingFrame(), VADUserStoppedSpeakingFrame(stop_secs=0.2)] if vad else []
    frames = [*spoken[:1], *silence(0.7), *spoken[1:], UserStoppedSpeakingFrame(), NAP, *silence(0.8), NAP]
    down, _ = await run(recognizer, frames)
    assert recognizer.questions == 1
    assert finals(down) == [("one two", True), ("three four", False)]


async def test_a_final_that_was_said_before_it_was_asked_for_is_not_said_again() -> None:
    recognizer = ScriptedRecognizer(script(words("Yes.")))
    frames = [VADUserStartedSpeakingFrame(), NAP, *silence(1.2), NAP, VADUserStoppedSpeakingFrame(stop_secs=0.2), NAP]
    down, _ = await run(recognizer, frames)
    assert finals(down) == [("Yes.", False)]


async def test_language_and_class_change_while_the_pipeline_runs() -> None:
    recognizer = ScriptedRecognizer(script(words("one two")), script(words("tres cuatro", language="es-US")))
    service = TrunklineSTTService(recognizer, language=Language.EN, chunk_ms=160)
    change = STTUpdateSettingsFrame(delta=TrunklineSTTSettings(language=Language.ES, chunk_ms=560))
    down, up = await run(recognizer, [*silence(1.2), NAP, change, *silence(0.4), NAP, *silence(1.2), NAP], service)
    first, second = recognizer.running
    assert (first.options.language, first.options.chunk_ms) == ("es-US", 160)  # the class from the next session on
    assert (second.options.language, second.options.chunk_ms) == ("es-US", 560)
    assert first.pushed + second.pushed == 16_000 * 2.8
    assert " ".join(text for text, _ in finals(down)) == "one two tres cuatro"
    assert not [one for one in up if isinstance(one, ErrorFrame)]


async def test_a_language_that_the_model_lacks_changes_nothing() -> None:
    recognizer = Demanding(script(words("one two")))
    service = TrunklineSTTService(recognizer, language="en-US")
    change = STTUpdateSettingsFrame(delta=TrunklineSTTSettings(language=Language.PL))
    down, up = await run(recognizer, [change, *silence(1.0), NAP], service)
    (error,) = (one for one in up if isinstance(one, ErrorFrame))
    assert error.error.startswith("the language stays en-US: ")
    assert service._settings.language == "en-US"
    assert finals(down) == [("one two", False)]


async def test_a_full_engine_is_told_once_and_what_was_said_meanwhile_is_recognised_later() -> None:
    recognizer = ScriptedRecognizer([], script(words("one two")), max_sessions=1)
    other = recognizer.open(SessionOptions())

    async def make_room() -> None:
        await asyncio.sleep(0.6)
        recognizer.close(other)

    async with asyncio.TaskGroup() as group:
        group.create_task(make_room())
        running = group.create_task(run(recognizer, [*silence(1.0), SleepFrame(1.4)]))
    down, up = running.result()
    (error,) = (one for one in up if isinstance(one, ErrorFrame))
    assert error.error == "refused by the engine: 1 sessions are open"
    assert finals(down) == [("one two", False)]


async def test_a_lost_session_says_what_it_had_and_the_next_one_goes_on() -> None:
    recognizer = ScriptedRecognizer(script(words("one two three")), script(words("four")))
    service = TrunklineSTTService(recognizer)

    async def lose() -> None:
        await until(lambda: bool(recognizer.running) and recognizer.running[0].consumed > 10_000)
        recognizer.lose(recognizer.opened[0], SessionFault(FaultReason.LOST, "it died of a test"))

    async with asyncio.TaskGroup() as group:
        group.create_task(lose())
        running = group.create_task(run(recognizer, [*silence(0.7), SleepFrame(0.5), *silence(0.6), NAP], service))
    down, up = running.result()
    assert [one.error for one in up if isinstance(one, ErrorFrame)] == ["engine lost: it died of a test"]
    assert [text for text, _ in finals(down)] == ["one two", "four"]
    assert service.is_usable


async def test_a_cancelled_pipeline_says_the_last_words_and_frees_its_session() -> None:
    recognizer = ScriptedRecognizer(script(words("one two")))
    down, _ = await run(recognizer, [*silence(1.0), NAP, CancelFrame()])
    assert [text for text, _ in finals(down)] == ["one two"]


async def test_an_engine_that_is_not_there_is_told_in_one_line_and_awaited(tmp_path: Path) -> None:
    service = TrunklineSTTService.connect(f"unix:{tmp_path}/none")
    _, up = await run_test(service, frames_to_send=[*silence(0.2), SleepFrame(0.3)])
    (error,) = (one for one in up if isinstance(one, ErrorFrame))
    assert error.error.startswith(f"no engine at unix:{tmp_path}/none: ")
    assert "\n" not in error.error


def test_one_of_the_two_ways_to_an_engine_has_to_be_chosen() -> None:
    with pytest.raises(ValueError, match="give a recognizer, or the address"):
        TrunklineSTTService()


SPOKEN = [f"w{k}" for k in range(8)]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(["start", "stop", "80", "560", "nap"]), max_size=8))
async def test_no_word_is_lost_or_doubled_whatever_the_order(events: list[str]) -> None:
    spoken = script(words(" ".join(SPOKEN)))
    recognizer = ScriptedRecognizer(spoken, *([] for _ in range(8)))
    service = TrunklineSTTService(recognizer, chunk_ms=160)
    frames: list[Frame] = []
    for event in [*events, "nap"]:
        frames += silence(0.3)
        match event:
            case "start":
                frames.append(VADUserStartedSpeakingFrame())
            case "stop":
                frames.append(VADUserStoppedSpeakingFrame(stop_secs=0.2))
            case "nap":
                frames.append(SleepFrame(0.02))
            case ms:
                frames.append(STTUpdateSettingsFrame(delta=TrunklineSTTSettings(chunk_ms=int(ms))))
    down, _ = await run(recognizer, frames, service)
    pushed = sum(one.pushed for one in recognizer.running)
    assert pushed == 4_800 * (len(events) + 1)
    heard = " ".join(text for text, _ in finals(down)).split()
    assert heard == SPOKEN[: len(heard)]
    first_s = recognizer.running[0].pushed / 16_000
    assert len(heard) == sum(cue.at_s <= first_s + 1e-6 for cue in script(words(" ".join(SPOKEN))))
    assert StartFrame not in map(type, down)
