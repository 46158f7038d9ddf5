"""The shipped trees: there is a model for all that can be known, and it says what it should."""

import itertools
from dataclasses import replace

import pytest

from pipeline.turns.fusion import NO_ANSWER, Fusion, Pause, Trees, features, parse, shipped
from pipeline.turns.phrase import EMPTY, phrase
from pipeline.turns.pitch import SILENT
from tests.pipeline.scripted import words

PAUSE = Pause(0.3, 2.0, SILENT, phrase(words("I would like to return it")), 0.3)
KNOWN = [
    replace(PAUSE, contour=contour, phrase=said, smart=smart)
    for contour, said, smart in itertools.product((SILENT, None), (PAUSE.phrase, None), (None, 0.5))
    if (contour or said) and (contour or smart is None)
]


@pytest.mark.parametrize("pause", KNOWN, ids=lambda pause: f"{pause.known} {pause.smart}")
def test_an_end_is_likelier_after_a_long_pause(pause: Pause) -> None:
    early, late = (shipped()(replace(pause, silence_s=silence_s, since_word_s=silence_s)) for silence_s in (0.2, 2.0))
    assert 0 < early < late < 1


def test_an_end_is_likelier_after_a_question_than_in_a_phrase() -> None:
    done, undone = phrase(words("Where is my order?")), phrase(words("My number is 4 8 2"))
    assert shipped()(replace(PAUSE, phrase=done)) > shipped()(replace(PAUSE, phrase=undone))


def test_an_end_is_likelier_where_the_pitch_falls() -> None:
    falling = replace(SILENT, voiced=8, gap=1, run=8, last=-4.0, lowest=-5.0, slope=-1.0, long_slope=-1.0, level_db=-3)
    rising = replace(falling, last=4.0, lowest=-1.0, slope=1.0, long_slope=1.0)
    assert shipped()(replace(PAUSE, contour=falling)) > shipped()(replace(PAUSE, contour=rising))


def test_trees_are_data() -> None:
    made = parse(b'{"models": {"vad": {"bias": 1.0, "trees": [[[0, 0.5, 1, 2], -1.0, 0.5], [0.25]]}}}')
    assert made == Fusion({"vad": Trees(1.0, (((0, 0.5, 1, 2), -1.0, 0.5), (0.25,)))})
    assert made(Pause(0.5, 1.0, SILENT)) == pytest.approx(0.5621765)
    assert made(Pause(0.6, 1.0, SILENT)) == pytest.approx(0.8519528)


def test_features_are_as_many_as_the_trees_know() -> None:
    for pause in KNOWN:
        assert max(shipped().models[pause.known].used) < len(features(pause))
    assert NO_ANSWER in features(replace(PAUSE, smart=None))


def test_smart_turn_is_asked_where_its_answer_counts() -> None:
    number = features(replace(PAUSE, smart=0.77)).index(0.77)
    goes_by_it = Trees(0.0, (((number, 0.5, 1, 2), -1.0, 1.0),))
    assert Fusion({"vad": goes_by_it}).asks
    assert not Fusion({"vad": Trees(0.0, (((0, 0.5, 1, 2), -1.0, 1.0),)), "words": goes_by_it}).asks


def test_extremes_are_no_error() -> None:
    for silence_s, speech_s, smart in itertools.product((0.0, 1e9), (0.0, 1e9), (0.0, 1.0)):
        assert 0 <= shipped()(Pause(silence_s, speech_s, SILENT, EMPTY, 0.0, smart)) <= 1
