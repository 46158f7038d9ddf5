"""How calls begin: what is known when they are announced, and where they are refused."""

import logging

import pytest

from engine.errors import EngineFull
from pipeline import CallEnded, CallsFull, DuplicateCall, PipelineConfig
from sinks.record import CallRecord, SpeakerRole, TranscriptRecord
from tests.pipeline.scripted import ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info


async def test_a_call_id_used_again_is_another_run_whose_ids_are_all_new() -> None:
    stage = Stage(ScriptedRecognizer(script(words("One.")), script(words("Two."))))
    for _ in range(2):
        call = stage.calls.start(info())
        leg = call.add_leg(CALLER)
        call.dtmf(leg, "1", 0.1, 0.1)
        await stage.play(leg, seconds=1.0)
        await stage.end()
    first, second = (
        [one for one in stage.records if one.run == run] for run in {one.run: None for one in stage.records}
    )
    assert stage.records == [*first, *second]
    assert len({one.event_id for one in stage.records}) == len(stage.records)
    segments = [{one.segment_id for one in run if isinstance(one, TranscriptRecord)} for run in (first, second)]
    assert segments[0].isdisjoint(segments[1])
    for run in (first, second):
        assert [one.seq for one in run if one.leg == ""] == [0, 1, 2]


async def test_call_that_is_not_announced_yet_begins_with_all_that_is_known_by_then() -> None:
    stage = Stage(ScriptedRecognizer(script(words("One."))))
    call = stage.calls.start(info(), announce=False)
    leg = call.add_leg(CALLER)
    call.update({"agent": "a7"}, {"caller": SpeakerRole.AGENT})
    assert stage.records == []
    assert not call.announced
    call.announce()
    call.announce()
    (start,) = stage.records
    assert isinstance(start, CallRecord)
    assert (start.action, start.seq, start.metadata) == ("START", 0, {"queue": "billing", "agent": "a7"})
    assert [(one.leg, one.speaker_role) for one in start.legs] == [("caller", "agent")]
    await stage.play(leg, seconds=1.0)
    await stage.end()
    assert stage.actions() == ["START", "END"]
    assert [one.speaker_role for one in stage.finals()] == ["agent"]
    with pytest.raises(CallEnded):
        call.announce()


async def test_call_that_begins_on_hold_says_so_after_its_start() -> None:
    stage = Stage(ScriptedRecognizer())
    held, resumed = (stage.calls.start(info(name), announce=False) for name in ("CA1", "CA2"))
    for call in (held, resumed):
        call.hold()
    resumed.resume()
    for call in (held, resumed):
        call.announce()
    assert [(one.call_id, one.action) for one in stage.records if isinstance(one, CallRecord)] == [
        ("CA1", "START"),
        ("CA1", "HOLD"),
        ("CA2", "START"),
    ]
    await stage.end("CA1")
    await stage.end("CA2")


async def test_call_that_ends_before_it_is_announced_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage(ScriptedRecognizer())
    stage.calls.start(info(), announce=False).add_leg(CALLER)
    await stage.end()
    assert stage.records == []
    assert caplog.messages == []
    stats = stage.calls.stats
    assert (stats.calls_started, stats.calls_refused, stats.calls_ended, stage.calls.active) == (0, 1, 0, 0)
    stage.calls.start(info())
    await stage.end()
    assert [one.seq for one in stage.records] == [0, 1]


async def test_a_full_engine_is_the_connectors_to_answer_and_the_call_lives() -> None:
    stage = Stage(ScriptedRecognizer(max_sessions=1))
    call = stage.calls.start(info())
    call.add_leg(CALLER)
    with pytest.raises(EngineFull):
        call.add_leg(AGENT)
    assert list(call.legs) == ["caller"]
    await stage.end()
    legs = [leg.leg for one in stage.records if isinstance(one, CallRecord) for leg in one.legs]
    assert legs == ["caller", "caller"]  # in UPDATE and END


async def test_calls_are_refused_where_they_cannot_be_had() -> None:
    stage = Stage(ScriptedRecognizer(), PipelineConfig(max_calls=1))
    call = stage.calls.start(info())
    with pytest.raises(DuplicateCall) as duplicate:
        stage.calls.start(info())
    with pytest.raises(CallsFull) as full:
        stage.calls.start(info("CA2"))
    assert (duplicate.value.retryable, full.value.retryable) == (False, True)
    await stage.end()
    for attempt in (lambda: call.add_leg(CALLER), lambda: call.update({}), call.hold, call.resume):
        with pytest.raises(CallEnded):
            attempt()
    assert stage.calls.stats.calls_refused == 2
    stage.calls.start(info("CA2"))
    await stage.end("CA2")
