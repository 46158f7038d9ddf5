import pytest

from engine.api import Hypothesis, LanguageSource, Session, Word
from pipeline.timeline import MAX_ARRIVALS, MAX_JUMPS, Timeline

SESSION = Session(0, 0, 0, 160)


def test_without_jumps_session_time_is_leg_time() -> None:
    timeline = Timeline()
    hypotheses = [Hypothesis(SESSION, 0, (), False)]
    assert timeline.leg_time(12.3) == 12.3
    assert timeline.place(hypotheses) is hypotheses


def test_words_after_a_jump_are_moved_whole() -> None:
    timeline = Timeline()
    timeline.jump(1.0, 60.0)
    before = Word("one", 0.6, 1.0, 0.9, "en-US", LanguageSource.DETECTED)
    across = Word("two", 0.96, 1.2, 0.9, "en-US", LanguageSource.DETECTED)
    (placed,) = timeline.place([Hypothesis(SESSION, 0, (before, across), False)])
    assert (placed.words[0].start, placed.words[0].end) == (0.6, 1.0)
    assert (placed.words[1].start, placed.words[1].end) == pytest.approx((60.96, 61.2))


def test_jumps_add_up_and_the_oldest_are_forgotten_first() -> None:
    timeline = Timeline()
    for k in range(3 * MAX_JUMPS):
        timeline.jump(float(k), 1.0)
    assert timeline.leg_time(3 * MAX_JUMPS) == 6 * MAX_JUMPS
    assert timeline.leg_time(2.5 * MAX_JUMPS + 0.5) == pytest.approx(5 * MAX_JUMPS + 1.5)


def test_leg_time_goes_back_to_session_time() -> None:
    timeline = Timeline()
    assert timeline.session_time(2.0) == 2.0
    timeline.jump(1.0, 60.0)
    timeline.jump(2.0, 5.0)
    for session_s in (0.4, 1.0, 1.2, 2.0, 2.2, 9.0):
        assert timeline.session_time(timeline.leg_time(session_s)) == pytest.approx(session_s)
    assert timeline.session_time(30.0) == 1.0  # was left out
    assert timeline.session_time(64.0) == 2.0


def test_arrivals_are_bounded() -> None:
    timeline = Timeline()
    for k in range(2 * MAX_ARRIVALS):
        timeline.add(float(k), float(k))
    assert timeline.arrival_of(0.0) == MAX_ARRIVALS


def test_without_audio_there_is_an_arrival_all_the_same() -> None:
    assert Timeline().arrival_of(1.0) == 0.0
