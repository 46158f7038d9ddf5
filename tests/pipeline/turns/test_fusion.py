"""The shipped weights: there is a model for all that can be known, and it says what it should."""

import itertools
from dataclasses import replace

import pytest

from pipeline.turns.fusion import Fusion, Logistic, Pause, features, parse, shipped
from pipeline.turns.phrase import EMPTY, phrase
from tests.pipeline.scripted import words

PAUSE = Pause(0.3, 2.0, True, phrase(words("I would like to return it")), None)
KNOWN = [
    replace(PAUSE, vad=vad, phrase=said, smart=smart)
    for vad, said, smart in itertools.product((True, False), (PAUSE.phrase, None), (None, 0.5))
    if (vad or said is not None) and (vad or smart is None)
]


@pytest.mark.parametrize("pause", KNOWN, ids=lambda pause: pause.known)
def test_an_end_is_likelier_the_longer_the_pause(pause: Pause) -> None:
    estimates = [shipped()(replace(pause, silence_s=silence_s)) for silence_s in (0.1, 0.3, 0.6, 1.0, 2.0)]
    assert estimates == sorted(estimates)
    assert 0 < estimates[0] < estimates[-1] < 1


def test_an_end_is_likelier_after_a_full_stop_than_in_a_phrase() -> None:
    done, undone = phrase(words("That is all.")), phrase(words("It is for my"))
    assert shipped()(replace(PAUSE, phrase=done)) > shipped()(replace(PAUSE, phrase=undone))


def test_weights_are_data() -> None:
    made = parse(b'{"models": {"vad": {"bias": 1.0, "weights": [0.5, 0.25]}}}')
    assert made == Fusion({"vad": Logistic(1.0, (0.5, 0.25))})
    pause = Pause(1.0, 1.0, True, None, None)
    assert features(pause) == [0.0, 0.0]
    assert made(pause) == pytest.approx(0.7310586)


def test_extremes_are_no_error() -> None:
    for silence_s, speech_s, smart in itertools.product((0.0, 1e9), (0.0, 1e9), (0.0, 1.0)):
        assert 0 <= shipped()(Pause(silence_s, speech_s, True, EMPTY, smart)) <= 1
