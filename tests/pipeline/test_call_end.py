"""How calls end: with their last words, once, and in time."""

import asyncio
import logging

import pytest

from pipeline import Draining, PipelineConfig
from sinks.record import CallAction, CallRecord
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info, silence


async def test_hang_up_mid_word_keeps_the_last_word() -> None:
    stage = Stage(ScriptedRecognizer(script(words("I would like to order"))))
    leg = stage.calls.start(info()).add_leg(CALLER)
    await stage.play(leg, seconds=1.3)  # "order" would end at 1.52 s
    stage.recognizer.running[0].cues = [Cue(1.2, 4, words("ord", start=1.28))]
    await stage.end()
    (final,) = stage.finals()
    assert final.transcript == "I would like to ord"
    assert final.is_final
    assert final.speech_final
    assert isinstance(stage.records[-1], CallRecord)


async def test_audio_waiting_in_the_queue_is_not_lost_at_the_end() -> None:
    stage = Stage(ScriptedRecognizer())
    leg = stage.calls.start(info()).add_leg(CALLER)
    for k in range(50):
        leg.push(silence(k * 160, stage.clock.now))
    await stage.end()
    assert stage.recognizer.running[0].pushed == 16_000


async def test_every_leg_with_audio_ends_with_a_final_before_end() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Yes.")), []))
    call = stage.calls.start(info())
    caller, agent = call.add_leg(CALLER), call.add_leg(AGENT)
    await stage.play(caller, agent, seconds=0.3)
    await stage.end()
    assert [one.transcript for one in stage.finals("caller")] == ["Yes."]
    assert [one.transcript for one in stage.finals("agent")] == [""]
    assert stage.actions()[-1] is CallAction.END
    assert isinstance(stage.records[-1], CallRecord)


async def test_a_leg_that_never_had_audio_has_no_transcript() -> None:
    stage = Stage(ScriptedRecognizer())
    stage.calls.start(info()).add_leg(CALLER)
    await stage.end()
    assert stage.transcripts() == []
    last = stage.records[-1]
    assert isinstance(last, CallRecord)
    assert last.statistics is not None
    assert last.statistics.p95_latency_ms is None


async def test_the_last_words_count_from_the_end_of_the_leg() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Yes"))))
    leg = stage.calls.start(info()).add_leg(CALLER)
    leg.push(silence(0, stage.clock.now))
    leg.push(silence(160, stage.clock.now))
    stage.recognizer.running[0].cues = [Cue(0.0, 0, words("Yes"))]
    stage.clock.now += 30.0  # a caller who says nothing more for half a minute is no latency of ours
    await stage.end()
    assert stage.finals()[0].latency_ms == 0.0


async def test_end_is_idempotent_and_the_first_reason_counts() -> None:
    stage = Stage(ScriptedRecognizer())
    call = stage.calls.start(info())
    call.add_leg(CALLER)
    async with stage.flushing():
        await asyncio.gather(call.end("stop event"), call.end("socket closed"))
        await call.end("again")
    ends = [one for one in stage.records if isinstance(one, CallRecord) and one.action is CallAction.END]
    assert [one.reason for one in ends] == ["stop event"]
    assert call.ended


async def test_a_cancelled_connector_does_not_keep_a_call_from_ending() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Yes."))))
    call = stage.calls.start(info())
    await stage.play(call.add_leg(CALLER), seconds=0.3)
    task = asyncio.create_task(call.end("client vanished"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with stage.flushing():
        await call.wait_ended()
    assert stage.finals()[0].transcript == "Yes."
    assert stage.actions()[-1] is CallAction.END


async def test_a_recogniser_that_does_not_flush_is_waited_for_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    config = PipelineConfig(flush_timeout_s=0.05)
    stage = Stage(ScriptedRecognizer(script(words("We were cut")), flushes=False), config)
    call = stage.calls.start(info())
    await stage.play(call.add_leg(CALLER), seconds=1.0)
    with caplog.at_level(logging.WARNING):
        await call.end("hang-up")
    assert [one.transcript for one in stage.finals()] == ["We were cut"]
    assert stage.actions()[-1] is CallAction.END
    assert stage.calls.stats.unflushed_legs == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    published = len(stage.records)
    stage.recognizer.flushes = True
    stage.recognizer.steps()  # the flush comes after all: too late
    await asyncio.sleep(0)
    assert len(stage.records) == published


async def test_a_session_that_is_gone_still_ends_its_leg() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Yes"))))
    call = stage.calls.start(info())
    leg = call.add_leg(CALLER)
    await stage.play(leg, seconds=0.4)
    stage.recognizer.sessions.clear()
    call.hold()
    await asyncio.wait_for(call.end("engine gone"), 1.0)
    assert [one.transcript for one in stage.finals()] == ["Yes"]
    assert stage.actions()[-1] is CallAction.END


async def test_a_call_that_lasts_too_long_is_ended() -> None:
    stage = Stage(ScriptedRecognizer(), PipelineConfig(max_call_s=0.02))
    call = stage.calls.start(info())
    call.add_leg(CALLER)
    async with stage.flushing():
        await asyncio.wait_for(call.wait_ended(), 2.0)
    last = stage.records[-1]
    assert isinstance(last, CallRecord)
    assert last.reason == "longest duration reached"


async def test_drain_refuses_new_calls_waits_and_then_ends_the_rest() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Bye."))))
    leg = stage.calls.start(info()).add_leg(CALLER)
    await stage.play(leg, seconds=0.3)
    async with stage.flushing():
        drain = asyncio.create_task(stage.calls.drain(0.05))
        await asyncio.sleep(0)
        with pytest.raises(Draining) as refused:
            stage.calls.start(info("CA2"))
        assert refused.value.retryable
        await drain
    assert stage.calls.active == 0
    assert stage.finals()[0].transcript == "Bye."
    assert stage.actions()[-1] is CallAction.END
    await stage.calls.drain(0.05)


async def test_drain_ends_with_the_last_call() -> None:
    stage = Stage(ScriptedRecognizer())
    stage.calls.start(info())
    drain = asyncio.create_task(stage.calls.drain(60.0))
    await asyncio.sleep(0)
    await stage.end()
    await asyncio.wait_for(drain, 1.0)


async def test_dropped_and_missing_audio_is_summed_up_when_calls_end() -> None:
    stage = Stage(ScriptedRecognizer(), PipelineConfig(queue_ms=100))
    leg = stage.calls.start(info()).add_leg(CALLER)
    for k in range(20):
        leg.push(silence(k * 160, 0.0))
    leg.push(silence(30 * 160, 0.0))
    await stage.end()
    audio = stage.calls.stats.audio
    assert (audio.dropped_frames, audio.frames, audio.gaps) == (16, 5, 2)
    assert audio.gap_samples == 26 * 160
