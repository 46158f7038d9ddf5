"""Turns of the legs of a call, as its records tell them."""

import pytest

from pipeline import AudioFrame, Encoding, PipelineConfig
from pipeline.turns.config import TurnConfig
from pipeline.turns.detector import TurnDetector
from sinks.record import CallRecord, TranscriptRecord, TurnEvent, TurnRecord, decode, encode
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info, silence

SAID = script(words("Where is my order?", 0.4), words("It is late.", 3.6))
CONFIG = PipelineConfig(chunk_ms=80)


def stage(*scripts: list[Cue]) -> Stage:
    detector = TurnDetector(TurnConfig())
    return Stage(ScriptedRecognizer(*scripts), CONFIG, detector)


def turns(one: Stage, leg: str = "caller") -> list[TurnRecord]:
    return [record for record in one.records if isinstance(record, TurnRecord) and record.leg == leg]


async def test_each_leg_has_turns_of_its_own_and_the_call_ends_after_them() -> None:
    one = stage(SAID, [])
    call = one.calls.start(info())
    await one.play(call.add_leg(CALLER), call.add_leg(AGENT), seconds=5.0)
    await one.end()
    told = [(record.event, record.turn_index) for record in turns(one) if "Of" in record.event]
    whole = [event for event in told if event[0] != TurnEvent.EAGER_END_OF_TURN]
    starts_and_ends = [(TurnEvent.START_OF_TURN, 0), (TurnEvent.END_OF_TURN, 0)]
    assert whole == [*starts_and_ends, (TurnEvent.START_OF_TURN, 1), (TurnEvent.END_OF_TURN, 1)]
    assert turns(one)[0].at_s == pytest.approx(0.4)
    assert turns(one, "agent") == []
    last = one.records[-1]
    assert isinstance(last, CallRecord)
    assert last.reason == "hang-up"


async def test_records_of_turns_are_numbered_with_those_of_the_leg() -> None:
    one = stage(SAID)
    call = one.calls.start(info())
    await one.play(call.add_leg(CALLER), seconds=5.0)
    await one.end()
    of_leg = [record for record in one.records if record.leg == "caller"]
    assert [record.seq for record in of_leg] == list(range(len(of_leg)))
    assert len({record.event_id for record in one.records}) == len(one.records)
    assert all(decode(encode(record)) == record for record in turns(one))


async def test_a_leg_that_comes_again_goes_on_counting_its_turns() -> None:
    one = stage(SAID, SAID)
    call = one.calls.start(info())
    for _ in range(2):
        leg = call.add_leg(CALLER)
        await one.play(leg, seconds=5.0)
        async with one.flushing():
            await leg.close()
    await one.end()
    starts = [record.turn_index for record in turns(one) if record.event is TurnEvent.START_OF_TURN]
    assert starts == [0, 1, 2, 3]


async def test_times_of_turns_are_those_of_the_leg() -> None:
    """Ten seconds were lost, of which two are made up: the words after them are eight seconds later in leg time."""
    one = stage(script(words("Hello.", 3.0)))
    call = one.calls.start(info())
    leg = call.add_leg(CALLER)
    leg.push(silence(0, one.clock.now))
    leg.push(silence(10 * 8_000, one.clock.now))
    one.calls.ingest.tick()
    for number in range(150):
        leg.push(silence(10 * 8_000 + 160 * (number + 1), one.clock.now))
        one.calls.ingest.tick()
        one.recognizer.steps()
    await one.end()
    said = next(record for record in one.records if isinstance(record, TranscriptRecord) and record.words)
    assert turns(one)[0].at_s == pytest.approx(said.words[0].start)
    assert turns(one)[0].at_s > 10


async def test_without_a_detector_there_are_none() -> None:
    one = Stage(ScriptedRecognizer(SAID), CONFIG)
    call = one.calls.start(info())
    leg = call.add_leg(CALLER)
    leg.push(AudioFrame(0, silence(0, 0.0).samples, Encoding.PCMU, 8_000, 0.0))
    await one.play(leg, seconds=2.0)
    await one.end()
    assert turns(one) == []
