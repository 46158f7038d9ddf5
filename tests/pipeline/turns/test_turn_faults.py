"""What calls do to turns: silence, music, keys, holes in the audio, clocks that are set, ends in the middle."""

import asyncio
import time
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pipeline import AudioFrame, Encoding, Leg, PipelineConfig
from pipeline.turns.config import TurnChanges, TurnConfig, TurnModels
from pipeline.turns.detector import TurnDetector
from sinks.record import AnyRecord, DtmfRecord, TranscriptRecord, TurnRecord
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info
from tests.pipeline.turns.script import EAGER, END, RESUMED, START

RATE = 8_000
Samples = NDArray[np.int16]
Floats = NDArray[np.float32]
SAID = script(words("Where is my order?", 0.4), words("It is late.", 3.6))


def stage(*scripts: list[Cue], detector: TurnDetector | None = None) -> Stage:
    detector = detector or TurnDetector(TurnConfig())
    return Stage(ScriptedRecognizer(*scripts), PipelineConfig(chunk_ms=80), detector)


def by_ear() -> TurnDetector:
    """Silero alone."""
    detector = TurnDetector.installed(TurnConfig(models=TurnModels.VAD))
    assert detector is not None
    return detector


def bounds(records: Sequence[AnyRecord], leg: str = "caller") -> list[TurnRecord]:
    """Where its turns begin and end."""
    turns = [record for record in records if isinstance(record, TurnRecord) and record.leg == leg]
    return [record for record in turns if record.event in (START, END)]


def told(one: Stage) -> list[str]:
    """Turns, finals and keys of the caller, in order."""
    found: list[str] = []
    for record in one.records:
        if isinstance(record, TurnRecord) and record.event not in (EAGER, RESUMED):
            found.append(record.event)
        elif isinstance(record, TranscriptRecord) and record.is_final:
            found.append(record.transcript)
        elif isinstance(record, DtmfRecord):
            found.append(record.digit)
    return found


async def push(one: Stage, leg: Leg, pcm: Samples, lost: frozenset[int] = frozenset()) -> None:
    """In packets of 20 ms, without those of these numbers; what is heard of it comes meanwhile."""
    for number, at in enumerate(range(0, len(pcm) - 159, 160)):
        if number not in lost:
            leg.push(AudioFrame(at, pcm[at : at + 160], Encoding.L16, RATE, one.clock.now))
        one.clock.now += 0.02
        one.calls.ingest.tick()
        one.recognizer.steps()
        await asyncio.sleep(0.001)


def quiet(seconds: float) -> Samples:
    return (np.random.default_rng(0).standard_normal(int(seconds * RATE)) * 8).astype(np.int16)


def chords(seconds: float) -> Samples:
    """Plucked, two a second."""
    t = np.arange(RATE // 2) / RATE
    tones = [[(m * h, 1 / h) for m in (1, 1.26, 1.5) for h in (1, 2, 3)]] * 4
    roots = (220, 294, 330, 370)
    played = [
        sum(a * np.sin(2 * np.pi * root * f * t) for f, a in tone) for root, tone in zip(roots, tones, strict=True)
    ]
    bars = np.concatenate([one * np.exp(-3 * t) * 0.06 for one in played])
    return (np.resize(bars, int(seconds * RATE)) * 32_767).astype(np.int16)


def speech() -> Samples:
    """The caller of the demo's recording: two sentences with a pause, and the silence after them."""
    with (files("trunkline.demo") / "call.wav").open("rb") as file:
        pcm: Samples = soundfile.read(file, 12 * RATE, dtype="int16")[0][:, 0]
    return np.ascontiguousarray(pcm)


async def test_legs_that_never_speak_have_no_turns() -> None:
    one = stage([], [], detector=by_ear())
    call = one.calls.start(info())
    legs = call.add_leg(CALLER), call.add_leg(AGENT)
    for leg in legs:
        await push(one, leg, quiet(3.0))
    await one.end()
    assert bounds(one.records) == bounds(one.records, "agent") == []
    assert [final.transcript for final in one.finals()] == ["", ""]


async def test_music_on_hold_leaves_no_turn_open() -> None:
    one = stage([], detector=by_ear())
    leg = one.calls.start(info()).add_leg(CALLER)
    await push(one, leg, np.concatenate([chords(6.0), quiet(3.0)]))
    await asyncio.sleep(0.05)
    turns = bounds(one.records)
    assert [turn.event for turn in turns] == [START, END] * (len(turns) // 2)
    await one.end()
    assert bounds(one.records) == turns


async def test_sound_without_an_end_keeps_a_turn_open_and_segments_short() -> None:
    """Noise that is taken for speech: the words of half a minute come in segments all the same."""

    def always(windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        return np.full(len(windows), 0.9, np.float32), state

    one = stage(script(words("and " * 80, 0.4)), detector=TurnDetector(TurnConfig(), load_vad=lambda: always))
    leg = one.calls.start(info()).add_leg(CALLER)
    await push(one, leg, chords(30.0))
    assert [turn.event for turn in bounds(one.records)] == [START]
    assert len(one.finals()) == 1
    await one.end()
    assert [turn.event for turn in bounds(one.records)] == [START, END]
    assert sum(len(final.words) for final in one.finals()) == 80
    assert all(final.duration <= 15.0 for final in one.finals())


async def test_lost_packets_neither_end_a_turn_nor_begin_one() -> None:
    pcm = speech()
    lost = frozenset(np.random.default_rng(1).choice(len(pcm) // 160, len(pcm) // 160 // 20, replace=False).tolist())
    found: list[list[TurnRecord]] = []
    for missing in (frozenset[int](), lost):
        one = stage([], detector=by_ear())
        await push(one, one.calls.start(info()).add_leg(CALLER), pcm, missing)
        await one.end()
        found.append(bounds(one.records))
    whole, holed = found
    assert whole != []
    assert [turn.event for turn in holed] == [turn.event for turn in whole]
    assert [turn.at_s for turn in holed] == pytest.approx([turn.at_s for turn in whole], abs=0.3)


async def test_a_turn_ends_where_audio_stops_and_the_next_begins_where_it_comes_again() -> None:
    one = stage(SAID)
    changes = CALLER.__class__("caller", CALLER.role, 0, turns=TurnChanges(max_turn_silence_ms=300))
    leg = one.calls.start(info()).add_leg(changes)
    await one.play(leg, seconds=1.0)
    assert told(one) == [START]
    for _ in range(100):
        await asyncio.sleep(0.02)
        one.calls.ingest.tick()
        one.recognizer.steps()
        if END in told(one):
            break
    assert told(one) == [START, "Where is", END]
    await one.play(leg, seconds=4.0)
    await one.end()
    assert told(one)[3:] == [START, "my order?", END, START, "It is late.", END]


async def test_keys_neither_end_nor_begin_a_turn() -> None:
    one = stage(SAID)
    call = one.calls.start(info())
    leg = call.add_leg(CALLER)
    await one.play(leg, seconds=1.0)
    call.dtmf(leg, "5", 1.0, 0.1)
    await one.play(leg, seconds=1.6)
    call.dtmf(leg, "#", 2.6, 0.1)
    await one.play(leg, seconds=0.5)
    assert told(one) == [START, "5", "Where is my order?", END, "#"]
    await one.end()


async def test_a_leg_that_ends_in_the_middle_of_a_turn_ends_it_behind_its_final() -> None:
    one = stage(SAID)
    call = one.calls.start(info())
    await one.play(call.add_leg(CALLER), seconds=1.0)
    await one.end()
    assert told(one) == [START, "Where is", END]
    assert one.finals()[-1].speech_final


async def test_a_clock_that_is_set_changes_nothing_but_the_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    def but_stamps(one: Stage) -> list[tuple[object, ...]]:
        return [
            (record.event, record.turn_index, record.at_s, record.confidence)
            if isinstance(record, TurnRecord)
            else (record.transcript, record.latency_ms, record.start)
            for record in one.records
            if isinstance(record, TurnRecord | TranscriptRecord)
        ]

    async def run(leaps: Sequence[float]) -> Stage:
        one = stage(SAID)
        leg = one.calls.start(info()).add_leg(CALLER)
        for leap in leaps:
            real = time.time()
            monkeypatch.setattr(time, "time", lambda real=real, leap=leap: real + leap)
            monkeypatch.setattr(one.clock, "stamp", lambda leap=leap: f"2026-01-01T00:00:{30 + leap / 3600:02.0f}.000Z")
            await one.play(leg, seconds=1.0)
        await one.end()
        return one

    steady, set_back = await run([0.0] * 6), await run([0.0, 3_600.0, -3_600.0, 7_200.0, -7_200.0, 0.0])
    assert but_stamps(set_back) == but_stamps(steady) != []
    assert len({record.at for record in set_back.records}) > 2
