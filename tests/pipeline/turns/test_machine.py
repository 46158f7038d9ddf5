"""Turns of one leg: when they begin, may have ended, go on and end."""

import pytest

from pipeline.turns.alignment import FRAME_S
from pipeline.turns.fusion import Pause
from pipeline.turns.hearing import Frame
from pipeline.turns.machine import TurnMachine
from pipeline.turns.pitch import Tone
from tests.pipeline.scripted import words
from tests.pipeline.turns.script import EAGER, END, RESUMED, SETTINGS, START, events, frames, hear, machine


def test_a_turn_begins_where_its_speech_did_and_ends_where_it_did() -> None:
    turns = hear(machine(), frames((0.0, 0.96), (0.9, 1.6), (0.1, 1.6)))
    assert events(turns) == [(START, 0), (EAGER, 0), (END, 0)]
    assert [turn.at_s for turn in turns] == pytest.approx([0.96, 2.56, 2.56])
    assert turns[0].decided_s == pytest.approx(0.96 + 2 * FRAME_S)
    assert turns[0].confidence == 0.9
    assert 0.7 <= turns[2].confidence < 0.75


def test_a_click_begins_no_turn() -> None:
    assert hear(machine(), frames((0.9, 0.032), (0.0, 1.0), (0.9, 0.032), (0.0, 1.0))) == []


def test_speech_after_a_probable_end_resumes_the_turn() -> None:
    turns = hear(machine(), frames((0.9, 0.64), (0.0, 0.4), (0.9, 0.64), (0.0, 2.0), (0.9, 0.64), (0.0, 2.0)))
    first = [(START, 0), (EAGER, 0), (RESUMED, 0), (EAGER, 0), (END, 0)]
    assert events(turns) == [*first, (START, 1), (EAGER, 1), (END, 1)]
    assert turns[2].at_s == pytest.approx(0.64 + 0.384)


def test_a_short_dip_is_no_pause_of_its_own() -> None:
    turns = hear(machine(), frames((0.9, 0.64), (0.2, 0.064), (0.9, 0.64), (0.0, 0.2)))
    assert events(turns) == [(START, 0)]


def test_words_that_take_an_end_back_resume_the_turn() -> None:
    one = machine()
    turns = hear(one, frames((0.9, 0.64), (0.0, 0.4)))
    one.write(0, words("and um", 0.1))
    turns += hear(one, frames((0.0, 2.0)), at=len(frames((0.9, 0.64), (0.0, 0.4))))
    assert events(turns) == [(START, 0), (EAGER, 0), (RESUMED, 0), (END, 0)]
    assert turns[-1].decided_s == pytest.approx(turns[-1].at_s + 1.5, abs=FRAME_S)


def test_a_full_stop_ends_a_turn_as_soon_as_a_pause_may() -> None:
    one = machine()
    one.write(0, words("that is all.", 0.0))
    turns = hear(one, frames((0.9, 0.96), (0.0, 2.0)))
    assert events(turns) == [(START, 0), (END, 0)]
    assert turns[1].decided_s - turns[1].at_s == pytest.approx(0.1, abs=FRAME_S)


def test_words_of_the_turn_before_say_nothing_of_this_one() -> None:
    one = machine()
    one.write(0, words("that is all.", 0.0))
    turns = hear(one, frames((0.9, 0.96), (0.0, 2.0), (0.9, 0.96), (0.0, 0.3)))
    assert events(turns) == [(START, 0), (END, 0), (START, 1)]


def test_no_pause_lasts_longer_than_its_limit() -> None:
    one = TurnMachine(SETTINGS, lambda _: 0.01)
    turns = hear(one, frames((0.9, 0.64), (0.0, 3.0)))
    assert events(turns) == [(START, 0), (END, 0)]
    assert turns[1].decided_s - turns[1].at_s == pytest.approx(1.5, abs=FRAME_S)


def test_speech_that_is_not_heard_but_written_is_a_turn() -> None:
    one = machine()
    one.write(0, words("hello are you there.", 2.0))
    turns = hear(one, frames((0.0, 4.0)))
    assert events(turns)[0] == (START, 0)
    assert events(turns)[-1] == (END, 0)


def test_one_late_word_of_a_turn_that_has_ended_is_not_another() -> None:
    one = machine()
    turns = hear(one, frames((0.9, 0.64), (0.0, 2.0)))
    one.write(0, words("hello", 1.3))
    assert hear(one, frames((0.0, 2.0)), at=len(frames((0.9, 0.64), (0.0, 2.0)))) == []
    assert events(turns)[-1] == (END, 0)


def test_the_end_of_a_leg_ends_its_turn() -> None:
    one = machine()
    turns = hear(one, frames((0.9, 0.64)))
    turns += one.close(0.7)
    assert events(turns) == [(START, 0), (END, 0)]
    assert one.close(0.7) == []


def test_a_pause_is_judged_by_the_melody_before_it() -> None:
    asked: list[Pause] = []

    def note(pause: Pause) -> float:
        asked.append(pause)
        return 0.1

    falling = [Frame(0.9, Tone(10 - 0.5 * k, -20.0)) for k in range(20)]
    one = TurnMachine(SETTINGS, note)
    hear(one, [*falling, *frames((0.0, 0.3))])
    assert asked[-1].contour is not None
    assert asked[-1].contour.slope == pytest.approx(-0.5)
    assert asked[0].contour == asked[-1].contour
    assert asked[-1].since_word_s == 0


def test_without_hearing_there_is_no_melody() -> None:
    asked: list[Pause] = []

    def note(pause: Pause) -> float:
        asked.append(pause)
        return 0.1

    one = TurnMachine(SETTINGS, note)
    one.write(0, words("that is", 0.0))
    for k in range(1, 8):
        one.hear(k * 0.16, None)
    assert asked[-1].contour is None
    assert asked[-1].since_word_s == pytest.approx(7 * 0.16 - words("that is", 0.0)[-1].end)
