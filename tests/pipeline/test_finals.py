"""Segments and turns of one leg in one order, whatever order words, answers and turn events come in."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import Hypothesis, Word
from pipeline.finals import LATE_S, LIVE_S, WRITTEN_S, Told, TurnFinals
from pipeline.segments import Segment, Segmenter
from pipeline.timeline import Timeline
from pipeline.turns.machine import Turn
from sinks.record import TurnEvent
from tests.pipeline.scripted import SESSION, words

START, EAGER, RESUMED, END, *_ = TurnEvent
STEP_S = 0.16


@dataclass
class Media:
    media_s: float = 0.0
    timeline: Timeline = field(default_factory=Timeline)


class Bench:
    """A leg's finals, with a recogniser that answers when the test says so."""

    def __init__(self, *, answers: bool = True) -> None:
        self.media = Media()
        self.answers = answers
        self.asked = 0
        self.open: int | None = None
        self.segmenter = Segmenter("caller")
        self.finals = TurnFinals(
            self.segmenter, self.media, finalize=self._finalize, pause_s=2.4, interrupt=self._interrupt
        )
        self.told: list[Told] = []

    def _finalize(self) -> bool:
        self.asked += self.answers
        return self.answers

    def _interrupt(self) -> Sequence[Turn]:
        index, self.open = self.open, None
        at_s = self.media.media_s
        return [] if index is None else [Turn(END, index, 1.0, at_s, at_s)]

    def step(self, at_s: float, first: int = 0, said: Sequence[Word] = (), *, answer: bool = False) -> list[Told]:
        self.media.media_s = max(self.media.media_s, at_s)
        has_news = said or answer
        return self._keep(
            self.finals.update([Hypothesis(SESSION, first, tuple(said), answer)] if has_news else [], at_s)
        )

    def turn(self, event: TurnEvent, at_s: float, decided_s: float, index: int = 0) -> list[Told]:
        self.media.media_s = max(self.media.media_s, decided_s)
        self.open = None if event is END else index
        return self._keep(self.finals.tell([Turn(event, index, 0.9, at_s, decided_s)]))

    def _keep(self, told: list[Told]) -> list[Told]:
        self.told += told
        return told


def briefly(told: Sequence[Told]) -> list[object]:
    """Turn events; of segments (text, final, speech_final, all stable)."""
    return [
        one.event if isinstance(one, Turn) else (one.transcript, one.is_final, one.speech_final, one.stability == 1)
        for one in told
    ]


SAID = words("where is my order.", 0.2)


def begun(bench: Bench, known: int = 3) -> None:
    """A turn in which so many words are known, at 1.6 s; the speaker paused at 1.4 s."""
    bench.turn(START, 0.2, 0.4)
    bench.step(1.6, 0, SAID[:known])


def test_an_eager_end_asks_and_its_answer_is_a_stable_partial_of_the_open_segment() -> None:
    bench = Bench()
    begun(bench)
    assert briefly(bench.turn(EAGER, 1.4, 1.6)) == [EAGER]
    assert bench.asked == 1
    told = bench.step(1.6, 3, SAID[3:], answer=True)
    assert briefly(told)[-1] == ("where is my order.", False, False, True)
    assert bench.segmenter.next_number == 0


def test_the_end_after_an_answered_eager_end_is_told_at_once_behind_its_final() -> None:
    bench = Bench()
    begun(bench)
    bench.turn(EAGER, 1.4, 1.6)
    bench.step(1.6, 3, SAID[3:], answer=True)
    assert briefly(bench.turn(END, 1.4, 1.8)) == [("where is my order.", True, True, True), END]
    assert bench.asked == 1


def test_an_end_waits_for_the_answer_that_covers_its_turn() -> None:
    bench = Bench()
    begun(bench)
    assert bench.turn(END, 1.4, 1.6) == []
    assert bench.finals.waits
    assert bench.step(1.76) == []
    assert briefly(bench.step(1.76, 3, SAID[3:], answer=True))[1:] == [("where is my order.", True, True, True), END]


def test_a_turn_that_goes_on_keeps_its_segment_open_under_the_same_id() -> None:
    bench = Bench()
    begun(bench)
    bench.turn(EAGER, 1.4, 1.6)
    bench.step(1.6, 3, words("order.", 1.16), answer=True)
    bench.turn(RESUMED, 1.9, 2.0)
    told = bench.step(2.4, 3, words("order number five", 1.16))
    assert briefly(told) == [("where is my order number five", False, False, False)]
    partials = [one for one in bench.told if isinstance(one, Segment)]
    assert {one.segment_id for one in partials} == {"caller-0000"}
    assert [one.revision for one in partials] == list(range(len(partials)))


def test_an_answer_that_comes_when_the_turn_has_gone_on_is_no_complete_text() -> None:
    bench = Bench()
    begun(bench)
    bench.turn(EAGER, 1.4, 1.6)
    bench.turn(RESUMED, 1.65, 1.7)
    told = bench.step(1.76, 3, SAID[3:], answer=True)
    assert briefly(told) == [("where is my order.", False, False, False)]


def test_an_end_without_an_answer_is_told_once_the_session_has_written_beyond_it() -> None:
    bench = Bench()
    begun(bench)
    bench.turn(END, 1.4, 1.6)
    assert bench.step(1.6 + WRITTEN_S - 0.1, 3, SAID[3:])[0].__class__ is Segment
    assert briefly(bench.step(1.6 + WRITTEN_S)) == [("where is my order.", True, True, True), END]


def test_nothing_is_asked_about_a_recording_that_is_pushed_ahead() -> None:
    bench = Bench()
    begun(bench)
    bench.media.media_s = 1.6 + LIVE_S + 0.1
    bench.turn(EAGER, 1.4, 1.6)
    bench.turn(END, 1.4, 1.7)
    assert bench.asked == 0
    assert not bench.finals.waits
    assert briefly(bench.step(1.7 + WRITTEN_S)) == [("where is my", True, True, True), END]


def test_the_next_turn_does_not_overtake_an_end_that_waits() -> None:
    bench = Bench()
    begun(bench)
    bench.turn(END, 1.4, 1.6)
    assert briefly(bench.turn(START, 1.9, 2.0, 1)) == [("where is my", True, True, True), END, START]


def test_a_word_that_comes_late_still_belongs_to_the_turn_it_was_said_in() -> None:
    bench = Bench()
    begun(bench)
    bench.turn(END, 1.4, 1.6)
    assert bench.finals.give_up() != []
    late = words("order.", 1.6 + LATE_S - 0.1)
    told = bench.step(2.0, 3, [*late, *words("Hello", 2.2)])
    assert briefly(told) == [("where is my order.", True, True, True), ("Hello", False, False, False)]


def test_words_of_the_next_turn_are_not_among_those_of_the_turn_before() -> None:
    bench = Bench()
    begun(bench)
    bench.step(2.4, 3, [*SAID[3:], *words("Hello", 2.2)])
    assert briefly(bench.turn(END, 1.4, 1.6))[:2] == [("where is my order.", True, True, True), END]


def test_the_last_final_of_a_turn_is_speech_final_even_if_it_was_closed_before() -> None:
    bench = Bench()
    bench.turn(START, 0.0, 0.1)
    (long,) = [one for one in bench.step(20.0, 0, words("one moment", 0.2)) if isinstance(one, Segment)]
    assert (long.is_final, long.speech_final) == (True, False)
    assert briefly(bench.turn(EAGER, 19.0, 19.5)) == [EAGER]
    bench.step(20.0, 2, answer=True)
    assert briefly(bench.turn(END, 19.0, 20.0)) == [("one moment", True, True, True), END]


def test_in_a_turn_a_pause_after_a_full_stop_does_not_end_the_segment_at_once() -> None:
    bench = Bench()
    begun(bench, known=4)
    assert bench.step(3.5) == []
    told = bench.step(1.4 + 2.4)
    assert briefly(told) == [("where is my order.", True, True, True)]


def test_in_a_turn_the_next_word_ends_a_sentence() -> None:
    bench = Bench()
    begun(bench, known=4)
    told = bench.step(3.6, 4, words("Hello", 3.2))
    assert briefly(told) == [("where is my order.", True, False, True), ("Hello", False, False, False)]


def test_a_turn_without_words_ends_without_a_final() -> None:
    bench = Bench()
    bench.turn(START, 0.2, 0.4)
    bench.turn(END, 0.6, 0.8)
    assert briefly(bench.step(0.8, 0, answer=True)) == [END]


def test_a_hold_ends_the_turn_behind_its_final() -> None:
    bench = Bench()
    begun(bench)
    assert bench.finals.hold() == []
    assert briefly(bench.step(1.6, 3, SAID[3:], answer=True)) == [("where is my order.", True, True, True), END]


def test_a_hold_where_nobody_answers_ends_the_turn_with_what_is_known() -> None:
    bench = Bench(answers=False)
    begun(bench)
    assert bench.finals.hold() == []
    assert briefly(bench.finals.give_up()) == [("where is my", True, True, True), END]


def test_an_end_that_waits_at_the_end_of_the_leg_comes_behind_the_last_final() -> None:
    bench = Bench()
    begun(bench)
    bench.turn(END, 1.4, 1.6)
    assert briefly(bench.finals.close(had_audio=True)) == [("where is my", True, True, True), END]
    assert not bench.finals.waits


TOKENS = st.sampled_from(["yes.", "and", "um", "¿qué", "one", ".", "hello,", "?", "order", "No."])
STEPS = st.lists(
    st.tuples(
        st.lists(TOKENS, max_size=3),  # new words
        st.sampled_from([0, 0, 0, 1, 2]),  # words before them that are written anew
        st.sampled_from([None, None, START, EAGER, RESUMED, END]),
        st.sampled_from([None, None, 0, 1, 3]),  # words that an answer has ahead
        st.booleans(),  # and they are the right ones
        st.booleans(),  # the call is held
    ),
    max_size=30,
)


class Engine:
    """What a session and its clones report: `own`, the session's words; `reported`, what a reader has by now."""

    def __init__(self) -> None:
        self.own: list[Word] = []
        self.reported: list[Word] = []

    def write(self, drop: int, new: Sequence[Word]) -> Hypothesis | None:
        del self.own[max(len(self.own) - drop, 0) :]
        self.own += new
        if self.reported[: len(self.own)] == self.own and drop == 0:
            return None  # as the clone said
        return self._report(self.own, is_final=False)

    def answer(self, ahead: Sequence[Word]) -> Hypothesis:
        return self._report([*self.own, *ahead], is_final=True)

    def _report(self, now: Sequence[Word], *, is_final: bool) -> Hypothesis:
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(now, self.reported, strict=False))
        first = sum(1 for _ in same)
        self.reported = list(now)
        return Hypothesis(SESSION, first, tuple(now[first:]), is_final)


def tokens(texts: Sequence[str], at_s: float) -> list[Word]:
    return [replace(word, start=at_s + 0.04 * k, end=at_s + 0.04 * k + 0.04) for k, word in enumerate(_flat(texts))]


def _flat(texts: Sequence[str]) -> list[Word]:
    return [words(text)[0] for text in texts]


@given(STEPS)
def test_no_word_is_lost_or_doubled_by_any_order_of_events(
    steps: list[tuple[list[str], int, TurnEvent | None, int | None, bool, bool]],
) -> None:
    bench, plain, engine = Bench(), Segmenter("caller"), Engine()
    index, at_s = -1, 0.0
    said: list[Segment] = []
    for number, (texts, drop, event, ahead, right, held) in enumerate(steps):
        at_s = (number + 1) * STEP_S
        new = tokens(texts, at_s - STEP_S)
        hypotheses = [one for one in [engine.write(drop, new)] if one is not None]
        if ahead is not None and bench.asked:
            bench.asked -= 1
            following = steps[number + 1][0] if number + 1 < len(steps) and right else ["never", "said."]
            hypotheses.append(engine.answer(tokens(following, at_s)[:ahead]))
        bench.media.media_s = at_s
        bench._keep(bench.finals.update(hypotheses, at_s))
        said += plain.update([replace(one, is_final=False) for one in hypotheses], at_s)
        if event is not None and (bench.open is None) == (event is START):
            index += event is START
            bench.turn(event, at_s - 0.1, at_s, index)
        if held:
            bench._keep(bench.finals.hold())
    last = engine._report(engine.own, is_final=True)
    bench._keep(bench.finals.update([last], at_s))
    bench._keep(bench.finals.close(had_audio=True))
    said += plain.update([last], at_s) + plain.close()
    assert finals_of(bench.told) == finals_of(said)
    check_order(bench.told)


def finals_of(told: Sequence[Told]) -> list[str]:
    """All words of the last final of each segment."""
    last = {one.segment_id: one for one in told if isinstance(one, Segment) and one.is_final}
    return [word.text for _, one in sorted(last.items()) for word in one.words]


def check_order(told: Sequence[Told]) -> None:
    revisions: dict[str, int] = {}
    closed: set[str] = set()
    for one in told:
        if isinstance(one, Segment):
            assert one.revision > revisions.get(one.segment_id, -1)
            revisions[one.segment_id] = one.revision
            assert one.is_final or one.segment_id not in closed
            if one.is_final:
                closed.add(one.segment_id)
            assert not one.words or any(letter.isalnum() for letter in one.transcript.split()[0])
    bounds = [one.event for one in told if isinstance(one, Turn) and one.event in (START, END)]
    assert bounds == ([START, END] * len(bounds))[: len(bounds)]


@pytest.mark.parametrize("event", [EAGER, END])
def test_a_question_under_way_is_not_asked_again(event: TurnEvent) -> None:
    bench = Bench()
    begun(bench)
    bench.turn(EAGER, 1.4, 1.6)
    bench.turn(event, 1.4, 1.7)
    assert bench.asked == 1
