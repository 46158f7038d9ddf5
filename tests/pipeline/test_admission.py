"""The engine's word on a call's legs, and what the records say where it is no."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from engine.api import FaultReason, SessionFault
from engine.errors import EngineError, EngineFull
from pipeline import Call, CallEnded, Leg, PipelineConfig
from sinks.record import AnyRecord, CallAction, CallRecord
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, RUN, Stage, info

PATIENT = PipelineConfig(answer_timeout_s=30.0, flush_timeout_s=30.0)
HASTY = PipelineConfig(answer_timeout_s=0.02, flush_timeout_s=30.0)
GIVING_UP = PipelineConfig(answer_timeout_s=0.02, flush_timeout_s=0.05)


def stage(config: PipelineConfig = PATIENT, *scripts: list[Cue], answers: bool = False, flushes: bool = True) -> Stage:
    return Stage(ScriptedRecognizer(*scripts, answers=answers, flushes=flushes), config)


def opened(made: Stage, call_id: str = "CA1") -> tuple[Call, list[Leg]]:
    """A call with two legs, not announced yet."""
    call = made.calls.start(info(call_id, RUN), announce=False)
    return call, [call.add_leg(options) for options in (CALLER, AGENT)]


def end_of(made: Stage, call_id: str = "CA1") -> CallRecord:
    (found,) = (one for one in calls(made) if one.action is CallAction.END and one.call_id == call_id)
    return found


def calls(made: Stage) -> Iterator[CallRecord]:
    return (one for one in made.records if isinstance(one, CallRecord))


def said(records: list[AnyRecord], call_id: str) -> list[object]:
    """All records of a call but for the times they were made at."""
    return [msgspec.structs.replace(one, at="") for one in records if one.call_id == call_id]


# Before the peer is answered ------------------------------------------------------------------------------------------


async def test_a_leg_is_admitted_when_the_engine_says_so_and_not_before() -> None:
    made = stage()
    _, (caller, agent) = opened(made)
    waiting = asyncio.ensure_future(caller.admitted())
    made.recognizer.admit(agent.session)
    await agent.admitted()
    assert not waiting.done()
    assert caller.awaits_answer
    made.recognizer.admit(caller.session)
    await waiting
    assert not caller.awaits_answer


async def test_an_engine_in_this_process_has_answered_at_once() -> None:
    made = stage(answers=True)
    for leg in opened(made)[1]:
        assert not leg.awaits_answer
        await leg.admitted()


@pytest.mark.parametrize(("retryable", "kind"), [(True, EngineFull), (False, EngineError)])
async def test_a_refusal_is_raised_to_who_waits_and_nothing_of_the_call_is_published(
    retryable: bool, kind: type[EngineError]
) -> None:
    made = stage()
    call, (caller, agent) = opened(made)
    made.recognizer.admit(caller.session)
    await caller.admitted()
    made.recognizer.refuse(agent.session, retryable=retryable)
    with pytest.raises(kind, match="no time for another session") as refusal:
        await agent.admitted()
    assert refusal.value.retryable is retryable
    await made.end(reason="refused")
    assert made.records == []
    assert (made.calls.stats.calls_refused, made.calls.stats.calls_started) == (1, 0)
    assert call.ended
    assert made.recognizer.sessions == {}, "the leg that was taken is given back"


async def test_a_call_that_ends_while_it_waits_is_told() -> None:
    made = stage()
    _, (caller, _) = opened(made)
    waiting = asyncio.ensure_future(caller.admitted())
    await asyncio.sleep(0)
    await made.end()
    with pytest.raises(CallEnded):
        await waiting
    assert made.records == []


# After it ------------------------------------------------------------------------------------------------------------


async def test_an_engine_that_does_not_answer_in_time_keeps_nobody_waiting() -> None:
    made = stage(HASTY)
    call, legs = opened(made)
    for leg in legs:
        await leg.admitted()
    call.announce()
    made.recognizer.admit(*(leg.session for leg in legs))
    await made.play(*legs)
    await made.end()
    assert end_of(made).reason == "hang-up"


async def test_a_refusal_after_the_start_ends_the_whole_call_at_once_and_says_why() -> None:
    made = stage(HASTY)
    call, (caller, agent) = opened(made)
    await agent.admitted()
    call.announce()
    made.recognizer.admit(caller.session)
    made.recognizer.refuse(agent.session)
    async with made.flushing(), asyncio.timeout(5):
        await call.wait_ended()
    assert call.fault == end_of(made).reason == "refused by the engine"
    assert end_of(made).metadata["leg.agent.fault"] == "refused by the engine"
    assert made.actions() == [CallAction.START, CallAction.END]
    assert made.recognizer.sessions == {}


async def test_a_refusal_between_the_answer_and_the_start_is_not_lost() -> None:
    made = stage(HASTY)
    call, (caller, agent) = opened(made)
    made.recognizer.admit(caller.session)
    made.recognizer.refuse(agent.session)
    await asyncio.sleep(0)
    call.announce()
    async with made.flushing(), asyncio.timeout(5):
        await call.wait_ended()
    assert end_of(made).reason == "refused by the engine"


async def test_a_leg_that_came_later_and_is_refused_leaves_the_call_to_the_others() -> None:
    made = stage(PATIENT, script(words("I need help.")))
    call = made.calls.start(info())
    caller = call.add_leg(CALLER)
    made.recognizer.admit(caller.session)
    agent = call.add_leg(AGENT)
    made.recognizer.refuse(agent.session)
    await made.play(caller, seconds=2.0)
    told = [one for one in calls(made) if "leg.agent.fault" in one.metadata]
    assert told[0].action is CallAction.UPDATE
    await made.end()
    assert (end_of(made).reason, call.fault) == ("hang-up", None)
    assert [one.transcript for one in made.finals("caller")] == ["I need help."]


@pytest.mark.parametrize("reason", [FaultReason.LOST, FaultReason.FAILED])
async def test_a_call_whose_sessions_are_all_lost_ends_and_says_why(reason: FaultReason) -> None:
    made = stage(PATIENT, script(words("I need help.")), answers=True)
    call, legs = opened(made)
    call.announce()
    await made.play(*legs, seconds=2.0)
    for leg in legs:
        made.recognizer.lose(leg.session, SessionFault(reason, "the device is gone"))
    async with asyncio.timeout(5):
        await call.wait_ended()
    assert end_of(made).reason == str(reason)
    assert [one.transcript for one in made.finals("caller")] == ["I need help."], "what was said before counts"


async def test_a_session_that_ends_unasked_and_without_a_reason_is_a_lost_one() -> None:
    made = stage(PATIENT, answers=True)
    call, legs = opened(made)
    call.announce()
    for leg in legs:
        made.recognizer.close(leg.session)
    made.recognizer.steps()
    async with asyncio.timeout(5):
        await call.wait_ended()
    assert end_of(made).reason == "engine lost"


# The reason of END ----------------------------------------------------------------------------------------------------


async def test_a_call_that_an_engine_never_answered_does_not_end_as_if_nothing_was() -> None:
    made = stage(GIVING_UP, flushes=False)
    call, legs = opened(made)
    await legs[0].admitted()
    call.announce()
    await call.end("completed")
    assert end_of(made).reason == "no answer from the engine"
    statistics = end_of(made).statistics
    assert statistics is not None
    assert statistics.words == 0


async def test_a_call_with_words_ends_with_its_own_reason_although_its_last_words_are_missing() -> None:
    made = stage(GIVING_UP, script(words("I need help.")), answers=True, flushes=False)
    call, legs = opened(made)
    call.announce()
    await made.play(*legs, seconds=2.0)
    await call.end("completed")
    assert end_of(made).reason == "completed"
    assert end_of(made).metadata["leg.caller.fault"] == "no answer from the engine"


async def test_a_call_in_which_nobody_spoke_ends_with_its_own_reason() -> None:
    made = stage(PATIENT, answers=True)
    call, legs = opened(made)
    call.announce()
    await made.play(*legs)
    await made.end(reason="completed")
    assert end_of(made).reason == "completed"
    assert not any(name.endswith(".fault") for name in end_of(made).metadata)


@pytest.mark.parametrize("event", ["refused", "lost", "none"])
async def test_what_becomes_of_one_call_changes_no_record_of_another(event: str) -> None:
    async def play(event: str) -> list[object]:
        made = stage(HASTY, script(words("I need help.")), script(words("How can I help?")))
        other, others = opened(made, "CA2")
        made.recognizer.admit(*(leg.session for leg in others))
        other.announce()
        doomed, legs = opened(made)
        await legs[1].admitted()
        doomed.announce()
        await made.play(*others, seconds=1.0)
        if event == "refused":
            made.recognizer.refuse(legs[0].session)
        elif event == "lost":
            for leg in legs:
                del made.recognizer.unanswered[leg.session]
                made.recognizer.lose(leg.session, SessionFault(FaultReason.LOST, "gone"))
        await made.play(*others, seconds=1.0)
        await made.end("CA2")
        await made.end() if not doomed.ended else await doomed.wait_ended()
        assert end_of(made).reason == {"refused": "refused by the engine", "lost": "engine lost"}.get(event, "hang-up")
        return said(made.records, "CA2")

    assert await play(event) == await play("none")
