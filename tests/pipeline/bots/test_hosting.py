"""Bots on calls with a scripted recogniser."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from engine.api import SAMPLE_RATE_HZ
from pipeline import AttendedCall, CallInfo, LegOptions
from pipeline.bots import attended, hosting
from sinks.record import AnyRecord, CallAction, CallRecord, TranscriptRecord
from tests.pipeline.scripted import ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info

Attend = Callable[[AttendedCall], Coroutine[Any, Any, None]]


class OneBot:
    """Attends every Twilio call by a function."""

    name = "one"

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def attends(self, info: CallInfo) -> bool:
        return info.connector == "twilio"

    async def attend(self, call: AttendedCall) -> None:
        await self._attend(call)


def stage_with(attend: Attend, *sentences: str) -> Stage:
    return Stage(ScriptedRecognizer(*(script(words(sentence)) for sentence in sentences)), bots=[OneBot(attend)])


async def test_a_bot_reads_its_call_from_start_to_end_and_no_other() -> None:
    seen: list[AnyRecord] = []

    async def attend(call: AttendedCall) -> None:
        seen.extend([one async for one in call.records])

    stage = stage_with(attend, "I need help.", "Me too.")
    leg = stage.calls.start(info()).add_leg(CALLER)
    other = stage.calls.start(CallInfo("CA2", "sip", None, None, {}, None)).add_leg(CALLER)
    await stage.play(leg, other, seconds=2.0)
    await stage.end("CA2")
    assert stage.calls.bots.stats.active == 1
    await stage.end("CA1")
    await asyncio.sleep(0)
    assert seen == [one for one in stage.records if one.call_id == "CA1"]
    first, last = seen[0], seen[-1]
    assert isinstance(first, CallRecord)
    assert isinstance(last, CallRecord)
    assert (first.action, last.action) == (CallAction.START, CallAction.END)
    stats = stage.calls.bots.stats
    assert (stats.active, stats.attended, stats.faults, stats.late_records) == (0, 1, 0, 0)


async def test_a_bot_hears_the_legs_it_asks_for() -> None:
    heard: dict[str, int] = {}

    async def listen(call: AttendedCall, leg: str) -> None:
        async for pcm in call.audio(leg):
            assert pcm.dtype == "float32"
            heard[leg] = heard.get(leg, 0) + pcm.size

    async def attend(call: AttendedCall) -> None:
        async for record in call.records:
            if isinstance(record, CallRecord) and record.action is CallAction.UPDATE:
                asyncio.get_running_loop().create_task(listen(call, record.legs[-1].leg))

    stage = stage_with(attend, "Yes.", "No.")
    call = stage.calls.start(info())
    legs = [call.add_leg(CALLER), call.add_leg(AGENT), call.add_leg(LegOptions("third", CALLER.role, 2))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await stage.play(*legs[:2], seconds=1.0)
    await stage.end()
    await asyncio.sleep(0)
    assert heard == {"caller": SAMPLE_RATE_HZ, "agent": SAMPLE_RATE_HZ}
    assert not stage.calls.bots._audio


async def test_a_bot_that_fails_ends_its_call_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def attend(call: AttendedCall) -> None:
        if call.info.call_id == "CA1":
            raise KeyError("answer")
        async for _ in call.records:
            pass

    stage = stage_with(attend, "Yes.", "No.")
    broken = stage.calls.start(info("CA1"))
    broken.add_leg(CALLER)
    other = stage.calls.start(info("CA2"))
    async with stage.flushing():
        await broken.wait_ended()
    assert not other.ended
    last = stage.records[-1]
    assert isinstance(last, CallRecord)
    assert last.reason == "the bot failed: KeyError"
    assert stage.calls.bots.stats.faults == stage.calls.supervisor.faults["bot"] == 1
    assert "one: call CA1 ends" in caplog.text
    await stage.end("CA2")


async def test_a_question_that_fails_leaves_the_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Asked(OneBot):
        def attends(self, info: CallInfo) -> bool:
            raise RuntimeError("no such table")

    async def attend(call: AttendedCall) -> None:
        await asyncio.sleep(0)

    stage = Stage(ScriptedRecognizer(script(words("Yes."))), bots=[Asked(attend), OneBot(attend)])
    stage.calls.start(info())
    await asyncio.sleep(0)
    assert stage.calls.bots.stats.attended == 1  # by the next
    assert "no such table" in caplog.text
    await stage.end()


async def test_a_bot_that_does_not_read_misses_the_oldest_and_partials_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attended, "MOST_RECORDS", 4)
    seen: list[AnyRecord] = []

    async def attend(call: AttendedCall) -> None:
        await call.call.wait_ended()
        seen.extend([one async for one in call.records])

    stage = stage_with(attend, "I need help with it.")
    leg = stage.calls.start(info()).add_leg(CALLER)
    await stage.play(leg, seconds=3.0)
    await stage.end()
    await asyncio.sleep(0)
    assert len(stage.records) > len(seen) == 4
    transcripts = [one for one in seen if isinstance(one, TranscriptRecord)]
    assert transcripts[-1].is_final
    assert isinstance(seen[-1], CallRecord)
    assert stage.calls.bots.stats.late_records == len(stage.records) - 4
    assert caplog.text.count("is too slow") == 1


async def test_audio_that_is_not_taken_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attended, "MOST_AUDIO_S", 0.5)
    kept: list[int] = []

    async def attend(call: AttendedCall) -> None:
        audio = call.audio("caller")
        await call.call.wait_ended()
        kept.extend([pcm.size async for pcm in audio])

    stage = stage_with(attend, "Yes.")
    call = stage.calls.start(info(), announce=False)
    leg = call.add_leg(CALLER)
    call.announce()
    await asyncio.sleep(0)
    await stage.play(leg, seconds=2.0)
    await stage.end()
    await asyncio.sleep(0)
    kept_s = sum(kept) / SAMPLE_RATE_HZ
    assert 0.48 < kept_s <= 0.5  # in whole pieces
    assert kept_s + stage.calls.bots.stats.late_audio_s == pytest.approx(2.0)


async def test_a_bot_that_outlives_its_call_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "GRACE_S", 0.02)
    ends: list[str] = []
    cancelled = asyncio.Event()

    async def attend(call: AttendedCall) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append(call.info.call_id)
            cancelled.set()
            raise

    stage = stage_with(attend, "Yes.")
    stage.calls.start(info("CA1"))
    await asyncio.sleep(0)
    await stage.end("CA1")
    async with asyncio.timeout(5):
        await cancelled.wait()
    monkeypatch.setattr(hosting, "GRACE_S", 60.0)
    stage.calls.start(info("CA2"))
    await asyncio.sleep(0)
    await stage.end("CA2")
    await stage.calls.bots.close()  # as the server does
    assert ends == ["CA1", "CA2"]
    assert not stage.calls.supervisor.faults
