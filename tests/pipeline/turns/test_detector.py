"""Turns of live legs: the same however fast a recording is pushed, and with words alone where the models are lost."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.api import Hypothesis, Session
from pipeline.turns import detector as detector_module
from pipeline.turns.config import TurnChanges, TurnConfig, TurnModels, TurnSettings
from pipeline.turns.detector import MAX_QUESTIONS, TurnDetector
from pipeline.turns.fusion import Fusion, Trees
from pipeline.turns.hearing import CONTEXT
from pipeline.turns.machine import Turn
from sinks.record import TurnEvent
from tests.pipeline.scripted import words

Floats = NDArray[np.float32]
START, EAGER, RESUMED, END, *_ = TurnEvent
RATE = 16_000
SETTINGS = TurnSettings(threshold=0.9, eager_threshold=0.85, max_turn_silence_ms=1_000)
SAID = words("Where is my order?", 0.2)


def loudness(windows: Floats, state: Floats) -> tuple[Floats, Floats]:
    """A voice activity detector that goes by how loud it is."""
    return np.minimum(np.abs(windows[:, CONTEXT:]).mean(axis=1) * 10, 1.0), state


def broken(*_: object) -> NoReturn:
    raise RuntimeError("the session is broken")


def judge(_: Floats) -> float:
    return 0.5


def session(number: int = 0) -> Session:
    return Session(number, number, 0, 160)


def audio(*runs: tuple[float, float]) -> Floats:
    """(level, seconds), one after the other."""
    return np.concatenate([np.full(int(RATE * seconds), level, np.float32) for level, seconds in runs])


DOUBTFUL = Fusion({known: Trees(0.0, ()) for known in ("vad", "words", "vad+words")})
CALL = audio((0.0, 0.3), (0.3, 1.2), (0.0, 2.0), (0.3, 1.0), (0.0, 0.5), (0.3, 0.6), (0.0, 0.2))


def made(
    vad: Callable[[Floats, Floats], tuple[Floats, Floats]] | None = loudness,
    smart: Callable[[Floats], float] | None = judge,
    config: TurnConfig | None = None,
    fusion: Fusion | None = None,
) -> TurnDetector:
    return TurnDetector(
        config or TurnConfig(),
        fusion=fusion,
        load_vad=None if vad is None else lambda: vad,
        load_judge=None if smart is None else lambda: smart,
    )


async def turns_of(
    detector: TurnDetector, pcm: Floats = CALL, piece: int = 320, words_every: int = 1, pause_s: float = 0.0
) -> list[Turn]:
    """All turns of a leg that is pushed in pieces, with a step of the recogniser for each 160 ms behind it."""
    turns: list[Turn] = []
    one = session()
    detector.open(one, SETTINGS, turns.extend)
    step = int(0.16 * RATE)
    written = 0
    for number, start in enumerate(range(0, pcm.size, piece)):
        detector.push(one, pcm[start : start + piece])
        detector.tick()
        if number % words_every == 0:
            while written + step <= start:
                turns += write(detector, one, written / RATE, (written + step) / RATE)
                written += step
        await asyncio.sleep(pause_s)
    while written < pcm.size:
        turns += write(detector, one, written / RATE, (written + step) / RATE)
        written += step
    turns += await detector.finish(one, 5.0)
    return turns


def write(detector: TurnDetector, one: Session, from_s: float, to_s: float) -> list[Turn]:
    said = [(k, word) for k, word in enumerate(SAID) if from_s < word.end <= to_s]
    return detector.write(one, to_s, [Hypothesis(one, k, (word,), False) for k, word in said])


async def test_the_same_recording_gives_the_same_turns_at_any_speed() -> None:
    turns = await turns_of(made(), pause_s=0.001)
    assert [turn.event for turn in turns if turn.event in (START, END)] == [START, END, START, END]
    assert turns == await turns_of(made())
    assert turns == await turns_of(made(), piece=CALL.size)
    assert turns == await turns_of(made(), piece=5_000, words_every=7)


async def test_legs_share_the_models_and_not_their_turns() -> None:
    detector = made()
    turns: dict[int, list[Turn]] = {0: [], 1: []}
    for number, sound in ((0, CALL), (1, np.zeros_like(CALL))):
        detector.open(session(number), SETTINGS, turns[number].extend)
        detector.push(session(number), sound)
    for number in turns:
        turns[number] += await detector.finish(session(number), 5.0)
    assert turns[0][0].event is START
    assert turns[1] == []
    assert detector.stats.turns == 2


async def test_a_detector_that_fails_leaves_words_alone_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    detector = made(vad=broken)
    turns = await turns_of(detector, pause_s=0.001)
    assert [turn.event for turn in turns if turn.event in (START, END)] == [START, END]
    assert turns[0].at_s == pytest.approx(SAID[0].start)
    assert await turns_of(detector) != []
    told = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "turns go by words alone from here on" in told[0].message
    assert "the session is broken" in told[0].message
    assert (detector.stats.faults, detector.stats.words_alone) == (1, 2)


async def test_smart_turn_that_fails_is_gone_without_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    detector = made(smart=broken)
    turns = await turns_of(detector, pause_s=0.001)
    assert [turn.event for turn in turns if turn.event in (START, END)] == [START, END, START, END]
    assert await turns_of(detector) == await turns_of(made(smart=None))
    assert len([one for one in caplog.records if "goes without" in one.message or "go without" in one.message]) == 1


async def test_a_detector_that_is_too_slow_leaves_a_leg_with_words_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(detector_module, "SLOW_S", 0.02)
    hold = threading.Event()

    def slow(windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        hold.wait(5)
        return loudness(windows, state)

    detector = made(vad=slow)
    turns: list[Turn] = []
    for number in range(2):
        detector.open(session(number), SETTINGS, turns.extend)
        detector.push(session(number), CALL)
        detector.tick()
    await asyncio.sleep(0.05)
    detector.tick()
    hold.set()
    assert detector.stats.words_alone == 1
    assert "too slow" in caplog.text
    turns += write(detector, session(1), 0.0, 1.6)
    turns += await detector.finish(session(1), 5.0)
    assert turns[0].event is START
    await detector.finish(session(0), 5.0)


async def test_more_questions_than_wait_go_unanswered() -> None:
    hold = threading.Event()

    def slow(_: Floats) -> float:
        hold.wait(5)
        return 0.5

    detector = made(smart=slow, fusion=DOUBTFUL)
    legs = [session(number) for number in range(MAX_QUESTIONS + 2)]
    for one in legs:
        detector.open(one, SETTINGS, lambda _: None)
        detector.push(one, audio((0.3, 1.0), (0.0, 0.5)))
        detector.write(one, 1.6, [])
    detector.tick()
    for _ in range(200):
        await asyncio.sleep(0.005)
        if detector.stats.questions == len(legs):
            break
    assert (detector.stats.questions, detector.stats.unanswered) == (len(legs), 2)
    hold.set()
    await asyncio.gather(*(detector.finish(one, 5.0) for one in legs))


async def test_the_end_of_a_leg_does_not_wait_for_ever() -> None:
    hold = threading.Event()

    def stuck(windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        hold.wait(5)
        return loudness(windows, state)

    detector = made(vad=stuck)
    detector.open(session(), SETTINGS, lambda _: None)
    detector.push(session(), CALL)
    began = time.monotonic()
    assert await detector.finish(session(), 0.05) == []
    assert time.monotonic() - began < 4
    hold.set()


@pytest.mark.parametrize("models", [TurnModels.VAD, TurnModels.WORDS, TurnModels.AUTO])
async def test_each_source_works_by_itself(models: TurnModels) -> None:
    config = TurnConfig(models=models)
    turns = await turns_of(made(config=config, vad=None if models is TurnModels.WORDS else loudness))
    events = [turn.event for turn in turns]
    assert events[0] == START
    assert events[-1] == END


def test_what_is_not_installed_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(detector_module, "find_spec", lambda _: None)
    detector = TurnDetector.installed(TurnConfig())
    assert detector is not None
    assert [one.message for one in caplog.records] == [
        "turns go by words alone: onnxruntime and pipecat is not installed (pip install 'trunkline[turns]')"
    ]
    assert TurnDetector.installed(TurnConfig(models=TurnModels.OFF)) is None


def test_settings_of_a_call_come_before_its_connectors() -> None:
    config = TurnConfig(threshold=0.6, start_ms=50, connectors={"sip": TurnChanges(threshold=0.8, start_ms=60)})
    assert config.settings("twilio") == TurnSettings(threshold=0.6, start_ms=50)
    assert config.settings("sip") == TurnSettings(threshold=0.8, start_ms=60)
    assert config.settings("sip", TurnChanges(threshold=0.9)) == TurnSettings(threshold=0.9, start_ms=60)
