"""A leg is watched again and again without its models."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.turns.alignment import FRAME_S, Step
from pipeline.turns.config import TurnSettings
from pipeline.turns.fusion import Pause
from pipeline.turns.hearing import Frame
from pipeline.turns.machine import TurnMachine
from sinks.record import TurnEvent
from tests.pipeline.scripted import words
from training.turn_legs import Leg, Line, Speech
from training.turn_traces import Trace, watch


def trace() -> Trace:
    """Speech from 0.5 to 1.5 s and from 2.1 to 3.1 s, two words in each."""
    speech = (Speech(0.5, 1.5, ends_turn=False), Speech(2.1, 3.1, ends_turn=True))
    leg = Leg("en-US", "none", Line.CLEAN, np.zeros(6 * 16_000, np.float32), speech)
    inside = [any(one.start_s <= k * FRAME_S < one.end_s for one in speech) for k in range(int(6 / FRAME_S))]
    said = [*words("It is", 0.5), *words("all right.", 2.2)]
    steps: list[tuple[float, tuple[Step, ...]]] = [
        (k * 0.16, tuple((i, (w,)) for i, w in enumerate(said) if (k - 1) * 0.16 < w.end <= k * 0.16))
        for k in range(38)
    ]
    return Trace(leg, 0.16, frames=[Frame(0.9 if one else 0.0) for one in inside], steps=steps)


def test_every_pause_is_seen_whole() -> None:
    seen = watch(trace(), asks=False)
    first = [one for one in seen if one.now_s < 2.1]
    assert [one.now_s for one in first] == pytest.approx(np.arange(first[0].now_s, first[-1].now_s + 0.01, FRAME_S))
    assert first[-1].pause.silence_s == pytest.approx(0.6, abs=0.1)
    assert seen[-1].pause.silence_s == pytest.approx(2.4, abs=2 * FRAME_S)
    assert {one.pause.known for one in seen} == {"vad+words"}


def test_parts_can_be_left_out() -> None:
    assert {one.pause.known for one in watch(trace(), words=False, asks=False)} == {"vad"}
    assert {one.pause.known for one in watch(trace(), hears=False, asks=False)} == {"words"}


def test_smart_turn_is_asked_once_and_remembered() -> None:
    asked: list[int] = []

    def smart(pcm: NDArray[np.float32]) -> float:
        asked.append(pcm.size)
        return 0.25

    one = trace()
    seen = watch(one, smart=smart)
    assert {row.pause.smart for row in seen} == {None, 0.25}
    assert len(asked) == len(one.answers) == 2
    again = watch(one)
    assert again == seen


def test_played_to_a_machine_it_gives_turns() -> None:
    def estimate(pause: Pause) -> float:
        return 0.9 if pause.phrase is not None and pause.phrase.terminal else 0.1

    turns = trace().play(TurnMachine(TurnSettings(), estimate))
    assert turns[0].event is TurnEvent.START_OF_TURN
    assert turns[-1].event is TurnEvent.END_OF_TURN
    assert turns[-1].at_s == pytest.approx(3.1, abs=0.1)
    assert sum(turn.event is TurnEvent.END_OF_TURN for turn in turns) == 1
