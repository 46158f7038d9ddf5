"""Turns of the legs of a call, as its records tell them."""

import asyncio

import pytest

from pipeline import AudioFrame, CallInfo, Encoding, PipelineConfig
from pipeline import leg as leg_module
from pipeline.turns.config import TurnConfig
from pipeline.turns.detector import TurnDetector
from sinks.record import CallRecord, TranscriptRecord, TurnEvent, TurnRecord, decode, encode
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info, silence

SAID = script(words("Where is my order?", 0.4), words("It is late.", 3.6))
CONFIG = PipelineConfig(chunk_ms=80)
START, EAGER, RESUMED, END, *_ = TurnEvent


def stage(*scripts: list[Cue], ahead_s: float = 0.0, finalizes: bool = True, config: PipelineConfig = CONFIG) -> Stage:
    recognizer = ScriptedRecognizer(*scripts, ahead_s=ahead_s, finalizes=finalizes)
    return Stage(recognizer, config, TurnDetector(config.turns))


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


def of_caller(one: Stage) -> list[str]:
    """Its turn events, and its finals' texts, in order."""
    return [
        record.event if isinstance(record, TurnRecord) else record.transcript
        for record in one.records
        if isinstance(record, TurnRecord) or (isinstance(record, TranscriptRecord) and record.is_final)
        if record.leg == "caller"
    ]


async def test_every_end_of_a_turn_stands_behind_the_last_final_of_the_turn() -> None:
    one = stage(SAID, ahead_s=0.4)
    call = one.calls.start(info())
    await one.play(call.add_leg(CALLER), seconds=5.0)
    await one.end()
    told = [what for what in of_caller(one) if what not in (EAGER, RESUMED)]
    assert told == [START, "Where is my order?", END, START, "It is late.", END]
    assert all(final.speech_final for final in one.finals())


async def test_behind_an_eager_end_comes_the_whole_text_as_a_stable_partial() -> None:
    early = PipelineConfig(chunk_ms=80, turns=TurnConfig(eager_threshold=0.15))
    one = stage(script(words("Where is my order", 0.4)), ahead_s=0.5, config=early)
    call = one.calls.start(info())
    await one.play(call.add_leg(CALLER), seconds=5.0)
    records = one.records
    eager = next(k for k, record in enumerate(records) if isinstance(record, TurnRecord) and record.event == EAGER)
    after = [record for record in records[eager:] if isinstance(record, TranscriptRecord)]
    assert (after[0].transcript, after[0].stability, after[0].is_final) == ("Where is my order", 1.0, False)
    assert after[-1].segment_id == after[0].segment_id
    assert after[-1].is_final
    await one.end()


async def test_an_end_whose_last_words_do_not_come_is_told_without_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leg_module, "FINAL_TIMEOUT_S", 0.05)
    one = stage(SAID, finalizes=False)
    call = one.calls.start(info())
    leg = call.add_leg(CALLER)
    await one.play(leg, seconds=1.6)
    while END not in of_caller(one):
        await one.play(leg, seconds=0.08)
        await asyncio.sleep(0.06)
    assert of_caller(one)[-2:] == ["Where is my order?", END]
    assert one.calls.turns is not None
    assert one.calls.turns.stats.late_finals == 1
    one.recognizer.finalizes = True
    await one.end()


async def test_no_turn_stays_open_over_a_hold_and_what_was_said_is_final() -> None:
    one = stage(SAID)
    call = one.calls.start(info())
    leg = call.add_leg(CALLER)
    await one.play(leg, seconds=1.0)
    assert of_caller(one) == [START]
    call.hold()
    one.recognizer.steps()
    await asyncio.sleep(0)
    assert of_caller(one) == [START, "Where is", END]
    await one.play(leg, seconds=1.0)
    call.resume()
    await one.play(leg, seconds=3.0)
    await one.end()
    told = [what for what in of_caller(one) if what not in (EAGER, RESUMED)]
    assert told == [START, "Where is", END, START, "my order?", END, START, "It is late.", END]


@pytest.mark.parametrize(
    ("asked", "ends"), [({}, 1), ({"turns.max_turn_silence_ms": "400"}, 2), ({"turns.max_turn_silence_ms": "soon"}, 1)]
)
async def test_a_call_may_ask_for_its_own_settings(
    asked: dict[str, str], ends: int, caplog: pytest.LogCaptureFixture
) -> None:
    one = stage(script(words("my number is", 0.4), words("four", 2.2)))
    call = one.calls.start(CallInfo("CA1", "twilio", metadata=asked))
    await one.play(call.add_leg(CALLER), seconds=4.5)
    await one.end()
    assert of_caller(one).count(END) == ends
    assert ("what was asked for is wrong" in caplog.text) == ("soon" in asked.values())


async def test_without_a_detector_there_are_none() -> None:
    one = Stage(ScriptedRecognizer(SAID), CONFIG)
    call = one.calls.start(info())
    leg = call.add_leg(CALLER)
    leg.push(AudioFrame(0, silence(0, 0.0).samples, Encoding.PCMU, 8_000, 0.0))
    await one.play(leg, seconds=2.0)
    await one.end()
    assert turns(one) == []
