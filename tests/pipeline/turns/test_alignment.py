"""The same audio and words give the same turns, whatever order and pieces they come in."""

import itertools
from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import Word
from pipeline.turns.alignment import ANSWER_S, FRAME_S, MAX_WAITING, Alignment
from pipeline.turns.hearing import Frame
from pipeline.turns.machine import ASK_S, Turn
from tests.pipeline.scripted import words
from tests.pipeline.turns.script import EAGER, END, RESUMED, START, STEP_S, events, frames, machine


def test_words_alone_make_turns() -> None:
    alignment = Alignment(machine(), STEP_S, hears=False)
    turns: list[Turn] = []
    said = words("I am calling about my order.", 0.5)
    for k in range(40):
        at = (k + 1) * STEP_S
        turns += alignment.add_step(at, [(i, (word,)) for i, word in enumerate(said) if at - STEP_S < word.end <= at])
    assert events(turns)[0] == (START, 0)
    assert events(turns)[-1] == (END, 0)
    assert turns[0].at_s == pytest.approx(0.5)
    assert turns[-1].at_s == pytest.approx(said[-1].end)


def test_smart_turn_is_asked_once_a_pause_and_its_answer_counts() -> None:
    alignment = Alignment(machine(asks=True), inf, hears=True)
    alignment.add_frames(frames((0.9, 0.64), (0.0, 0.6)))
    question = alignment.question
    assert question is not None
    assert question == pytest.approx(0.64 + ASK_S, abs=FRAME_S)
    assert alignment.answer(0.1, 0.0) == []
    turns = alignment.answer(question, 0.95)
    assert events(turns) == [(END, 0)]
    assert turns[0].decided_s == pytest.approx(question + ANSWER_S)
    assert alignment.question is None


def test_a_question_that_speech_has_overtaken_is_dropped() -> None:
    alignment = Alignment(machine(asks=True), inf, hears=True)
    alignment.add_frames(frames((0.9, 0.64), (0.0, 0.192)))
    old = alignment.question
    assert old is not None
    alignment.add_frames(frames((0.9, 0.064)))
    assert alignment.question is None
    alignment.add_frames(frames((0.9, 0.64), (0.0, 0.6)))
    assert alignment.question is not None
    assert alignment.answer(old, 0.95) == []


def test_frames_wait_for_a_recogniser_but_not_for_ever() -> None:
    alignment = Alignment(machine(), STEP_S, hears=True)
    assert events(alignment.add_frames(frames((0.9, 0.64), (0.0, 1.6)))) == [(START, 0)]
    assert alignment.waits
    assert alignment.heard_s == pytest.approx(STEP_S, abs=FRAME_S)
    turns = alignment.add_frames([Frame(0.0)] * MAX_WAITING)
    assert events(turns) == [(EAGER, 0), (END, 0)]


RUNS = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.95]), st.floats(0.03, 1.2)), min_size=1, max_size=12)
TEXTS = st.lists(st.sampled_from(["yes.", "and", "um", "one", "hello,", "order"]), max_size=20)


def steps_of(texts: list[str], length_s: float) -> list[tuple[float, list[tuple[int, tuple[Word, ...]]]]]:
    """A recogniser that writes each word in the step after its end, and has heard all in the end."""
    said = words(" ".join(texts), 0.2)
    made: list[tuple[float, list[tuple[int, tuple[Word, ...]]]]] = []
    for k in range(int(length_s / STEP_S) + 1):
        begin, end = k * STEP_S, (k + 1) * STEP_S
        made.append((end, [(i, (word,)) for i, word in enumerate(said) if begin < word.end + STEP_S <= end]))
    return made


@given(RUNS, TEXTS, st.data())
def test_the_same_audio_and_words_give_the_same_turns_in_any_order_and_pieces(
    runs: list[tuple[float, float]], texts: list[str], data: st.DataObject
) -> None:
    speech = frames(*runs)
    steps = steps_of(texts, len(speech) * FRAME_S)

    def turns_of(order: Sequence[int]) -> list[Turn]:
        """0: the next step; n: the next n frames. What the order leaves over comes in the end."""
        alignment = Alignment(machine(asks=True), STEP_S, hears=True)
        turns: list[Turn] = []
        left, written = list(speech), list(steps)
        for one in order:
            if one and left:
                turns += alignment.add_frames(left[:one])
                del left[:one]
            elif not one and written:
                turns += alignment.add_step(*written.pop(0))
            if one % 2 and (question := alignment.question) is not None:
                turns += alignment.answer(question, (question * 7) % 1)
        for step in written:
            turns += alignment.add_step(*step)
        turns += alignment.stop_writing()
        turns += alignment.add_frames(left)
        while (question := alignment.question) is not None:
            turns += alignment.answer(question, (question * 7) % 1)
        assert not alignment.waits
        return turns + alignment.close(len(speech) * FRAME_S)

    order = data.draw(st.lists(st.integers(0, 40), max_size=60))
    turns = turns_of(order)
    assert turns == turns_of([])
    assert turns == turns_of([len(speech)] + [0] * len(steps))
    check_order(turns)


@given(TEXTS, st.lists(st.floats(0.1, 3.0), max_size=20))
def test_events_of_words_alone_are_in_order_too(texts: list[str], gaps: list[float]) -> None:
    alignment = Alignment(machine(), STEP_S, hears=False)
    turns: list[Turn] = []
    at = 0.0
    for index, (text, gap) in enumerate(zip(texts, gaps, strict=False)):
        at += gap
        turns += alignment.add_step(at, [(index, words(text, at - 0.24))])
    turns += alignment.add_step(None, [(0, words("again", 0.1))])
    check_order(turns + alignment.close(at))


NEXT = {START: {EAGER, END}, EAGER: {RESUMED, END}, RESUMED: {EAGER, END}, END: {START}}


def check_order(turns: Sequence[Turn]) -> None:
    assert all(after.event in NEXT[before.event] for before, after in itertools.pairwise(turns))
    starts = [turn.turn_index for turn in turns if turn.event is START]
    assert starts == list(range(len(starts)))
    assert sum(turn.event is END for turn in turns) == len(starts)
    assert all(
        after.turn_index - before.turn_index == (after.event is START) for before, after in itertools.pairwise(turns)
    )
    assert all(after.at_s >= before.at_s - 1e-9 for before, after in itertools.pairwise(turns))
    assert all(0 <= turn.confidence <= 1 for turn in turns)
