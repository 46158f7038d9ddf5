"""Generated turns: the splits share nothing that would tell a test's answers."""

import random
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.grammar import LOCALES, held_out, world
from training.turn_dialogues import Split, draw, patterns, speaker, turn
from training.turn_legs import Line
from training.voices import HELD_OUT_VARIANTS, SAMPLE_RATE_HZ, Voice


@pytest.mark.parametrize("locale", LOCALES)
def test_splits_share_no_patterns_and_each_has_questions(locale: str) -> None:
    of_split = [patterns(split, locale) for split in Split]
    assert all(not one & other for one, other in combinations(of_split, 2))
    assert sum(map(len, of_split)) == len(world(locale).patterns)
    assert all(any(text.endswith("?") for text in one) for one in of_split)


@pytest.mark.parametrize("locale", LOCALES)
def test_splits_share_no_speakers(locale: str) -> None:
    heard = [
        {(v.program, v.variant) for v in (speaker(split, locale, random.Random(k)) for k in range(200))}
        for split in Split
    ]
    assert all(not one & other for one, other in combinations(heard, 2))
    assert {variant for _, variant in heard[0]}.isdisjoint(HELD_OUT_VARIANTS)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_turn_goes_on_with_a_comma_and_most_end_with_a_stop(locale: str) -> None:
    rng = random.Random(5)
    turns = [turn(Split.TEST, locale, rng) for _ in range(60)]
    assert all(text.rstrip()[-1] in ".?!" for *_, text in turns)
    inner = [text for texts in turns for text in texts[:-1]]
    assert {text[-1] for text in inner} <= {",", "."}
    assert 0.6 < sum(text[-1] == "," for text in inner) / len(inner) < 1.0
    assert max(map(len, turns)) > 2


def test_sentences_of_the_evaluation_were_held_out_from_the_demo_model() -> None:
    rng = random.Random(5)
    fixed = {pattern.text.lower()[1:] for pattern in world("de-DE").patterns if not pattern.has_slots}
    whole = [texts[0] for texts in (turn(Split.TEST, "de-DE", rng) for _ in range(80)) if len(texts) == 1]
    long = [text for text in whole if len(text.split()) > 4 and not text.lower().endswith(tuple(fixed))]
    assert long
    assert all(held_out(text) for text in long if not any(letter.isdigit() for letter in text))


def test_a_leg_has_its_turns_and_is_the_same_again() -> None:
    def say(voice: Voice, locale: str, text: str) -> NDArray[np.float32]:
        time = np.arange(int(0.06 * len(text) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        return np.sin(2 * np.pi * 500 * time).astype(np.float32)

    first, again = (draw(Split.TEST, "fr-FR", Line.CLEAN, random.Random(3), say) for _ in range(2))
    assert sum(one.ends_turn for one in first.speech) == 8
    assert first.speech == again.speech
    assert (first.pcm == again.pcm).all()
