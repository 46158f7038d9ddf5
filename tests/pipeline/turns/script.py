"""What turn tests are made of: frames of speech, an estimate that can be reckoned by hand."""

import itertools
from collections.abc import Sequence

from pipeline.turns.alignment import FRAME_S
from pipeline.turns.config import TurnSettings
from pipeline.turns.fusion import Pause
from pipeline.turns.hearing import Frame
from pipeline.turns.machine import Turn, TurnMachine
from sinks.record import TurnEvent

START, EAGER, RESUMED, END, *_ = TurnEvent
STEP_S = 0.16
SETTINGS = TurnSettings(threshold=0.7, eager_threshold=0.4, min_turn_silence_ms=100, max_turn_silence_ms=1_500)


def by_time(pause: Pause) -> float:
    """An end is probable after 0.3 s and sure after 0.6 s, at once behind a full stop, never behind a filler."""
    said = pause.phrase
    if said is not None and said.filler:
        return 0.1
    if said is not None and said.terminal:
        return 0.9
    return min(pause.silence_s + 0.105, 0.99) if pause.smart is None else pause.smart


def frames(*runs: tuple[float, float]) -> list[Frame]:
    """(probability of speech, seconds), one after the other, by frame."""
    return list(itertools.chain.from_iterable([Frame(speech)] * round(s / FRAME_S) for speech, s in runs))


def hear(machine: TurnMachine, heard: Sequence[Frame], at: int = 0) -> list[Turn]:
    """Frames from number `at` on."""
    return [turn for k, one in enumerate(heard) for turn in machine.hear((at + k + 1) * FRAME_S, one)]


def events(turns: Sequence[Turn]) -> list[tuple[TurnEvent, int]]:
    return [(turn.event, turn.turn_index) for turn in turns]


def machine(settings: TurnSettings = SETTINGS, *, asks: bool = False, has_words: bool = True) -> TurnMachine:
    return TurnMachine(settings, by_time, asks=asks, words=has_words)
