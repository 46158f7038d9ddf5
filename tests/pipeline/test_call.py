"""Calls from frames to records, with a scripted recogniser in the engine's place."""

import asyncio
import json
import logging
import threading
from importlib import resources

import jsonschema
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.api import LanguageSource
from engine.errors import UnknownLocale
from pipeline import AudioFrame, CallEnded, Calls, DuplicateLeg, Encoding, LegOptions, PipelineConfig
from pipeline.clock import next_tick
from pipeline.g711 import decode_mulaw
from sinks.record import (
    AnyRecord,
    CallAction,
    CallRecord,
    DtmfRecord,
    SpeakerRole,
    TranscriptRecord,
    as_builtins,
    decode,
    encode,
)
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info, silence


async def test_a_call_from_start_to_end() -> None:
    stage = Stage(ScriptedRecognizer(script(words("I need help."))))
    leg = stage.calls.start(info()).add_leg(CALLER)
    await stage.play(leg, seconds=2.0)
    await stage.end()
    first, *middle, last = stage.records
    assert isinstance(first, CallRecord)
    assert isinstance(last, CallRecord)
    assert (first.action, first.connector, first.from_, first.to, first.metadata) == (
        CallAction.START, "twilio", "+15550001", "+15550002", {"queue": "billing"},
    )  # fmt: skip
    assert last.action is CallAction.END
    assert last.reason == "hang-up"
    assert [one.leg for one in last.legs] == ["caller"]
    assert last.statistics is not None
    assert (last.statistics.packets, last.statistics.words) == (100, 3)
    assert isinstance(middle[0], CallRecord)
    assert middle[0].action is CallAction.UPDATE
    texts = [(one.revision, one.is_final, one.transcript) for one in stage.transcripts()]
    assert texts == [(0, False, "I"), (1, False, "I need"), (2, False, "I need help."), (3, True, "I need help.")]
    final = stage.finals()[0]
    assert (final.segment_id, final.speech_final) == (stage.segment_id("caller", 0), True)
    assert final.speaker_role is SpeakerRole.CUSTOMER
    assert [(one.word, one.punctuated_word) for one in final.words] == [("i", "I"), ("need", "need"), ("help", "help.")]
    assert (final.start, final.duration) == (0.0, 0.88)
    assert (final.language, final.languages, final.language_source) == ("en-US", ("en-US",), "detected")
    assert stage.calls.active == 0


async def test_legs_and_calls_are_not_mixed() -> None:
    texts = {("CA1", "caller"): "one two.", ("CA1", "agent"): "three four.", ("CA2", "caller"): "five six."}
    stage = Stage(ScriptedRecognizer(*(script(words(text)) for text in texts.values())))
    legs = []
    for call_id, name in texts:
        call = stage.calls.get(call_id) or stage.calls.start(info(call_id))
        legs.append(call.add_leg(CALLER if name == "caller" else AGENT))
    rng = np.random.default_rng(0)
    sent: list[NDArray[np.uint8]] = [rng.integers(0, 256, 1600, dtype=np.uint8) for _ in legs]
    for k in range(10):
        for leg, samples in zip(legs, sent, strict=True):
            leg.push(AudioFrame(k * 160, samples[k * 160 : k * 160 + 160], Encoding.PCMU, 8000, 0.0))
        stage.calls.ingest.tick()
    await stage.play(*legs, seconds=2.0)
    await stage.end("CA1")
    await stage.end("CA2")
    heard = {(one.call_id, one.leg): one.transcript for one in stage.finals()}
    assert heard == texts
    for running, samples in zip(stage.recognizer.running, sent, strict=True):
        assert np.array_equal(running.audio()[:3200:2] * 32768, decode_mulaw(samples))


async def test_all_records_of_a_step_are_published_at_once() -> None:
    stage = Stage(ScriptedRecognizer(*(script(words("Hello there.")) for _ in range(6))))
    legs = [stage.calls.start(info(f"CA{k}")).add_leg(CALLER) for k in range(6)]
    before = len(stage.batches)
    await stage.play(*legs, seconds=0.34)
    (batch,) = stage.batches[before:]
    assert [one.call_id for one in batch] == [f"CA{k}" for k in range(6)]


async def test_seq_grows_by_one_for_each_leg_and_event_ids_are_unique() -> None:
    stage = Stage(ScriptedRecognizer(script(words("One two. Three four.")), script(words("Five. Six."))))
    call = stage.calls.start(info())
    caller, agent = call.add_leg(CALLER), call.add_leg(AGENT)
    await stage.play(caller, agent, seconds=2.0)
    call.dtmf(caller, "5", 1.0, 0.1)
    call.dtmf("caller", "5", 1.5, 0.1)
    await stage.end()
    for leg in ("", "caller", "agent"):
        seqs = [one.seq for one in stage.records if one.leg == leg]
        assert len(seqs) >= 3
        assert seqs == list(range(len(seqs)))
    assert len({one.event_id for one in stage.records}) == len(stage.records)
    assert sum(isinstance(one, DtmfRecord) for one in stage.records) == 2


async def test_every_record_is_valid() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Sí, claro.", language="es-US")), []))
    call = stage.calls.start(info())
    caller, agent = call.add_leg(CALLER), call.add_leg(AGENT)
    await stage.play(caller, agent, seconds=2.0)
    call.dtmf(caller, "#", 1.0, 0.0)
    call.update({"agent": "a7"})
    call.hold()
    call.resume()
    await stage.end()
    schema = json.loads(resources.files("sinks").joinpath("trunkline-1.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for record in stage.records:
        assert decode(encode(record)) == record
        validator.validate(json.loads(msgspec.json.encode(as_builtins(record))))


async def test_partials_carry_the_previous_tag_until_the_new_one_comes() -> None:
    carried = words("Hello there.", start=2.0, language="es-US", source=LanguageSource.CARRIED)
    cues = [*script(words("Sí claro.", language="es-US")), *(Cue(w.end, 2 + k, (w,)) for k, w in enumerate(carried))]
    cues.append(Cue(2.7, 2, words("Hello there.", start=2.0)))
    stage = Stage(ScriptedRecognizer(cues))
    leg = stage.calls.start(info()).add_leg(CALLER)
    await stage.play(leg, seconds=4.0)
    second = [one for one in stage.transcripts() if one.segment_id == stage.segment_id("caller", 1)]
    assert [(one.language, one.language_source, one.is_final) for one in second] == [
        ("es-US", "carried", False),
        ("es-US", "carried", False),
        ("en-US", "detected", False),
        ("en-US", "detected", True),
    ]


async def test_latency_counts_from_the_arrival_of_the_newest_audio_heard() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Yes"))))
    leg = stage.calls.start(info()).add_leg(CALLER)
    for k in range(16):
        leg.push(silence(k * 160, 2000.0 + k * 0.02))
    stage.calls.ingest.tick()
    stage.clock.now = 2000.5
    stage.recognizer.step()  # hears up to 0.16 s: nothing yet
    stage.recognizer.step()  # up to 0.32 s, of which the last frame came at 2000.30; the filter holds 3 ms back
    await asyncio.sleep(0)
    assert stage.transcripts() == []
    leg.push(silence(16 * 160, 2000.4))
    stage.calls.ingest.tick()
    stage.recognizer.step()
    await asyncio.sleep(0)
    assert stage.transcripts()[0].latency_ms == pytest.approx(200.0)


async def test_closing_one_leg_leaves_the_others_alone() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Bye")), script(words("Still here."))))
    call = stage.calls.start(info())
    caller, agent = call.add_leg(CALLER), call.add_leg(AGENT)
    await stage.play(caller, agent, seconds=0.3)
    async with stage.flushing():
        await caller.close()
        await caller.close()
    assert [one.transcript for one in stage.finals()] == ["Bye"]
    caller.push(silence(10_000, 0.0))
    await stage.play(agent, seconds=1.5)
    assert [one.transcript for one in stage.finals("agent")] == ["Still here."]
    await stage.end()
    assert len(stage.finals("caller")) == 1


async def test_a_leg_opened_again_goes_on_with_its_numbers() -> None:
    stage = Stage(ScriptedRecognizer(script(words("One.")), script(words("Two."))))
    call = stage.calls.start(info())
    first = call.add_leg(CALLER)
    with pytest.raises(DuplicateLeg):
        call.add_leg(CALLER)
    await stage.play(first, seconds=1.0)
    async with stage.flushing():
        await first.close()
    await stage.play(call.add_leg(CALLER), seconds=1.0)
    await stage.end()
    assert [one.segment_id for one in stage.finals()] == [stage.segment_id("caller", number) for number in (0, 1)]
    last = stage.records[-1]
    assert isinstance(last, CallRecord)
    assert last.statistics is not None
    assert (last.statistics.words, last.statistics.packets, len(last.legs)) == (2, 100, 1)


async def test_role_that_is_learned_later_stands_in_the_records_from_then_on() -> None:
    stage = Stage(ScriptedRecognizer(script(words("One."), words("Two.", start=2.0)), script(words("Hello."))))
    call = stage.calls.start(info())
    first, second = call.add_leg(LegOptions("a", SpeakerRole.UNKNOWN, 0)), call.add_leg(AGENT)
    await stage.play(first, second, seconds=1.5)
    call.update({"leg.a.name": "Bob"}, {"a": SpeakerRole.CUSTOMER, "nobody": SpeakerRole.AGENT})
    await stage.play(first, second, seconds=1.5)
    call.transfer({}, {"agent": SpeakerRole.CUSTOMER})
    await stage.end()
    assert [(one.transcript, one.speaker_role) for one in stage.finals("a")] == [
        ("One.", "unknown"),
        ("Two.", "customer"),
    ]
    legs = [
        {leg.leg: str(leg.speaker_role) for leg in one.legs} for one in stage.records if isinstance(one, CallRecord)
    ]
    assert legs[2:] == [
        {"a": "unknown", "agent": "agent"},
        {"a": "customer", "agent": "agent"},
        {"a": "customer", "agent": "customer"},
        {"a": "customer", "agent": "customer"},
    ]


async def test_transfer_is_announced_with_the_new_party() -> None:
    stage = Stage(ScriptedRecognizer(script(words("Hello."))))
    call = stage.calls.start(info())
    call.transfer({"leg.inbound.name": "Bob"})
    await stage.end()
    assert stage.actions() == ["START", "TRANSFER", "END"]
    with pytest.raises(CallEnded):
        call.transfer({})


async def test_hold_makes_final_what_was_said_and_the_call_goes_on() -> None:
    stage = Stage(ScriptedRecognizer(script(words("One moment"), words("Thanks.", start=3.0))))
    call = stage.calls.start(info())
    leg = call.add_leg(CALLER)
    await stage.play(leg, seconds=1.0)
    call.hold()
    stage.recognizer.steps()
    await asyncio.sleep(0)
    assert [one.transcript for one in stage.finals()] == ["One moment"]
    call.resume()
    await stage.play(leg, seconds=3.0)
    await stage.end()
    assert [one.transcript for one in stage.finals()] == ["One moment", "Thanks."]
    assert stage.actions() == ["START", "UPDATE", "HOLD", "RESUME", "END"]


async def test_language_lock_is_the_configured_one() -> None:
    stage = Stage(ScriptedRecognizer(), PipelineConfig(language_lock=True))
    stage.calls.start(info()).add_leg(CALLER)
    assert [one.options.language_lock for one in stage.recognizer.running] == [True]
    await stage.end()


async def test_language_of_a_leg_is_its_own_or_the_configured_one() -> None:
    stage = Stage(ScriptedRecognizer(), PipelineConfig(language="es-US", chunk_ms=80))
    call = stage.calls.start(info())
    leg = call.add_leg(CALLER)
    call.add_leg(LegOptions("agent", SpeakerRole.AGENT, 1, language="en-US"))
    assert [one.options.language for one in stage.recognizer.running] == ["es-US", "en-US"]
    assert not any(one.options.language_lock for one in stage.recognizer.running)
    assert [one.chunk_ms for one in stage.recognizer.opened] == [80, 80]
    leg.set_language("en-US")
    assert stage.recognizer.running[0].options.language == "en-US"
    with pytest.raises(UnknownLocale):
        call.add_leg(LegOptions("third", SpeakerRole.UNKNOWN, 2, language="xx-XX"))
    await stage.end()


async def test_metadata_grows_and_the_givers_copy_is_not_touched() -> None:
    stage, given = Stage(ScriptedRecognizer()), info()
    stage.calls.start(given).update({"agent": "a7"})
    await stage.end()
    records = [one for one in stage.records if isinstance(one, CallRecord)]
    assert [one.metadata for one in records] == [
        {"queue": "billing"},
        {"queue": "billing", "agent": "a7"},
        {"queue": "billing", "agent": "a7"},
    ]
    assert given.metadata == {"queue": "billing"}


async def test_the_tick_runs_with_a_recogniser_on_its_own_thread() -> None:
    """The real arrangement: the event loop ticks, another thread steps, words come back through one wake-up a step."""
    recognizer = ScriptedRecognizer(script(words("Hello there.")), script(words("Good day.")))
    published: list[AnyRecord] = []
    calls = Calls(recognizer, published.extend, PipelineConfig(tick_ms=2))
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.001):
            recognizer.step()

    thread = threading.Thread(target=work)
    thread.start()
    ticks = asyncio.create_task(calls.run())
    try:
        await asyncio.sleep(0.01)  # asleep: there are no legs
        call = calls.start(info())
        legs = call.add_leg(CALLER), call.add_leg(AGENT)
        for k in range(100):
            for leg in legs:
                leg.push(silence(k * 160, 0.0))
            await asyncio.sleep(0)
        while not all(running.consumed for running in recognizer.running):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        await asyncio.wait_for(call.end("hang-up"), 5.0)
    finally:
        stop.set()
        thread.join()
        ticks.cancel()
    finals = {one.leg: one.transcript for one in published if isinstance(one, TranscriptRecord) and one.is_final}
    assert finals == {"caller": "Hello there.", "agent": "Good day."}
    assert isinstance(published[-1], CallRecord)
    assert published[-1].action is CallAction.END


def test_ticks_keep_to_their_grid_and_late_ones_are_left_out() -> None:
    assert next_tick(10.0, 10.25, 0.5) == (10.5, 0)  # early: wait for it
    assert next_tick(10.0, 10.75, 0.5) == (10.5, 0)  # late by half an interval: at once
    assert next_tick(10.0, 12.125, 0.5) == (12.0, 3)  # 10.5, 11.0 and 11.5 are left out


async def test_each_call_is_logged_at_its_start_and_end_without_numbers_or_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(ScriptedRecognizer(script(words("My secret."))))
    with caplog.at_level(logging.INFO, logger="pipeline"):
        await stage.play(stage.calls.start(info()).add_leg(CALLER), seconds=1.5)
        await stage.end()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("pipeline")]
    assert len(lines) == 2
    assert all("CA1" in line for line in lines)
    assert not any(private in line for line in lines for private in ("+1555", "secret", "Secret"))
    assert caplog.records[0].__dict__["pii.from"] == "+15550001"


async def test_a_long_call_keeps_no_words() -> None:
    sentences = [words("This is one more of them.", start=k * 4.0) for k in range(40)]
    stage = Stage(ScriptedRecognizer(script(*sentences)))
    leg = stage.calls.start(info()).add_leg(CALLER)
    segmenter = leg._segmenter
    kept = []
    for _ in range(6):
        await stage.play(leg, seconds=20.0)
        stage.recognizer.running[0].pcm.clear()
        stage.batches.clear()
        kept.append((len(segmenter._words), len(segmenter._closed), len(leg.intake._queue)))
    assert kept[2:] == [kept[2]] * 4
    await stage.end()
