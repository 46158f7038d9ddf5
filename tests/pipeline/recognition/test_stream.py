"""Speech streams over as many sessions as it takes."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from engine.api import FaultReason, SessionFault, SessionOptions
from pipeline.recognition import Said, SpeechStream, Trouble
from pipeline.recognition import stream as module
from pipeline.recognition.hub import Hub
from tests.pipeline.scripted import ScriptedRecognizer, script, words

OPTIONS = SessionOptions(chunk_ms=80)


class Speech:
    """A stream, and what it said."""

    def __init__(self, recognizer: ScriptedRecognizer, options: SessionOptions = OPTIONS) -> None:
        self.recognizer = recognizer
        self.said: list[Said] = []
        self.troubles: list[Trouble] = []
        self.stream = SpeechStream(recognizer, options, self.said.append, self.troubles.append)

    async def speak(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.stream.push(np.zeros(320, np.float32))
        await self.settle()

    async def settle(self) -> None:
        self.recognizer.steps()
        await asyncio.sleep(0)

    @property
    def finals(self) -> list[str]:
        return [one.text for one in self.said if one.is_final and one.words]

    async def close(self) -> None:
        async with working(self.recognizer):
            await self.stream.close()


@asynccontextmanager
async def working(recognizer: ScriptedRecognizer) -> AsyncIterator[None]:
    async def work() -> None:
        while True:
            recognizer.steps()
            await asyncio.sleep(0.001)

    task = asyncio.create_task(work())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a timer of the stream
            await asyncio.sleep(0.01)


async def test_words_of_a_later_session_wait_for_those_of_the_one_before() -> None:
    recognizer = ScriptedRecognizer(script(words("one two")), script(words("three")), flushes=False)
    one = Speech(recognizer)
    await one.speak(1.0)
    one.stream.set_chunk_ms(160)
    await one.speak(1.0)
    one.stream.finalize()
    await one.settle()
    assert [said.text for said in one.said] == ["one", "one two"]  # the first has not ended
    assert recognizer.sessions.keys() == set(recognizer.opened)
    recognizer.flushes = True
    await one.close()
    assert one.finals == ["one two", "three"]
    assert [said.finalized for said in one.said if said.is_final] == [False, True, True]
    assert one.said[-2].words[0].start == pytest.approx(1.0)


async def test_a_class_changes_in_a_pause_alone() -> None:
    recognizer = ScriptedRecognizer(script(words("one two")), [])
    one = Speech(recognizer)
    one.stream.speaking(True)
    await one.speak(2.0)
    one.stream.set_chunk_ms(160)
    assert len(recognizer.opened) == 1
    one.stream.speaking(False)
    assert [session.chunk_ms for session in recognizer.opened] == [80, 160]
    await one.close()


async def test_a_class_that_is_not_to_be_had_leaves_all_as_it_was() -> None:
    recognizer = ScriptedRecognizer(script(words("one two")), max_sessions=1)
    one = Speech(recognizer)
    one.stream.set_chunk_ms(160)
    await one.speak(1.0)
    await one.close()
    (trouble,) = one.troubles
    assert trouble == Trouble("no change to chunks of 160 ms: 1 sessions are open", goes_on=True)
    assert one.finals == ["one two"]


async def test_audio_waits_for_the_answer_of_an_engine_in_another_process() -> None:
    recognizer = ScriptedRecognizer(script(words("one two")), answers=False)
    one = Speech(recognizer)
    await one.speak(0.6)
    one.stream.finalize()
    assert recognizer.running[0].pushed == 0
    recognizer.admit(recognizer.opened[0])
    await asyncio.sleep(0)
    await one.settle()
    assert recognizer.running[0].pushed == 9_600
    assert one.finals == ["one two"]
    await one.close()


async def test_a_refusal_that_comes_late_loses_no_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", (0.01, 0.1))
    recognizer = ScriptedRecognizer([], script(words("one two")), answers=False)
    one = Speech(recognizer)
    await one.speak(0.6)
    recognizer.refuse(recognizer.opened[0])
    recognizer.answers = True
    await until(lambda: len(recognizer.opened) == 2)
    assert [trouble.goes_on for trouble in one.troubles] == [True]
    await one.close()
    assert one.finals == ["one two"]
    assert one.stream.left_out_s == 0


async def test_what_waits_for_a_session_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_S", 1.0)
    one = Speech(ScriptedRecognizer(max_sessions=0))
    await one.speak(3.0)
    assert one.stream.left_out_s == pytest.approx(2.0)
    assert one.troubles == [Trouble("refused by the engine: 0 sessions are open", goes_on=True)]
    await one.close()


async def test_a_fault_that_lasts_ends_the_attempts_until_something_is_changed() -> None:
    recognizer = ScriptedRecognizer(script(words("dos")))
    one = Speech(recognizer, SessionOptions(80, "pl-PL"))
    assert one.troubles == [Trouble("refused by the engine: no prompt for pl-PL", goes_on=False)]
    one.stream.set_language("es-US")
    await one.speak(0.4)
    await one.close()
    assert one.finals == ["dos"]


async def test_a_session_that_is_never_flushed_says_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.05)
    recognizer = ScriptedRecognizer(script(words("one two")), flushes=False)
    one = Speech(recognizer)
    await one.speak(1.0)
    await one.close()
    assert one.finals == ["one two"]
    assert one.troubles == [Trouble("the engine did not flush a session in 0.05 s", goes_on=True)]
    assert not Hub.of(recognizer).sessions


async def test_faults_are_told_once_and_the_words_known_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", (0.01, 0.02))
    recognizer = ScriptedRecognizer(script(words("one two")), script(words("three")), max_sessions=1)
    one = Speech(recognizer)
    await one.speak(0.7)
    recognizer.max_sessions = 0
    recognizer.lose(recognizer.opened[0], SessionFault(FaultReason.LOST, "gone"))
    await asyncio.sleep(0.2)
    assert [trouble.text for trouble in one.troubles] == [
        "engine lost: gone",
        "refused by the engine: 0 sessions are open",
    ]
    recognizer.max_sessions = 1
    await until(lambda: len(recognizer.opened) == 2)
    await one.speak(0.4)
    await one.close()
    assert one.finals == ["one two", "three"]


async def test_streams_come_and_go_on_one_subscription_and_a_recogniser_is_freed() -> None:
    recognizer = ScriptedRecognizer()
    for _ in range(3):
        await Speech(recognizer).close()
    assert len(recognizer._callbacks) == 1
    gone = weakref.ref(recognizer)
    del recognizer
    await asyncio.sleep(0.01)  # until the loop has let go of the tasks
    gc.collect()
    assert gone() is None
