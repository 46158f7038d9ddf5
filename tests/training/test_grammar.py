import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.grammar import LOCALES, Speaker, held_out, world

seeds = st.integers(0, 2**32)
locales = st.sampled_from(LOCALES)

DRAWN_AT_TRAINING = {
    "en-US": "1771c75836204662",
    "es-US": "e8b906dbf6fcd501",
    "de-DE": "e978e083376715cc",
    "fr-FR": "7bb8830b5427ce03",
}


@pytest.mark.parametrize("locale", LOCALES)
def test_a_seed_draws_the_sentences_it_drew_for_training(locale: str) -> None:
    rng = random.Random(2024)
    digest = hashlib.blake2b(digest_size=8)
    for _ in range(2000):
        sentence = world(locale).draw(rng)
        digest.update(f"{sentence.spoken}\n{sentence.text}\n".encode())
    assert digest.hexdigest() == DRAWN_AT_TRAINING[locale]


@pytest.mark.parametrize("locale", LOCALES)
def test_every_language_has_55_patterns_with_the_same_speakers(locale: str) -> None:
    speakers = [pattern.by for pattern in world(locale).patterns]
    assert len(speakers) == 55
    assert speakers == [pattern.by for pattern in world("en-US").patterns]


@settings(deadline=None)
@given(locales, seeds)
def test_a_drawn_sentence_is_complete(locale: str, seed: int) -> None:
    sentence = world(locale).draw(random.Random(seed))
    assert not set("{}#") & set(sentence.text + sentence.spoken)
    assert sentence.text[-1] in ".?"
    assert sentence.text == sentence.text.strip()
    assert "  " not in sentence.text
    assert sentence.text[0].isupper() or sentence.text.startswith("¿")


@settings(deadline=None)
@given(locales, seeds)
def test_digits_are_written_together_and_spoken_apart(locale: str, seed: int) -> None:
    sentence = world(locale).draw(random.Random(seed))
    written = "".join(filter(str.isdigit, sentence.text))
    assert written in sentence.text
    assert " ".join(written) in sentence.spoken
    assert bool(written) == ("{digits}" in sentence.pattern.text)
    assert not written or 4 <= len(written) <= 8


def test_an_opener_takes_the_capital_letter() -> None:
    rng = random.Random(5)
    texts = {world("en-US").draw(rng).text for _ in range(5000)}
    assert "Well, that is correct." in texts
    assert "Well, I cannot log in to my account." in texts
    assert "Hola, ¿dónde está mi pedido?" in {world("es-US").draw(rng).text for _ in range(5000)}


def test_and_is_dropped_from_english_numbers_alone() -> None:
    assert world("en-US").numbers.cardinal(101) == "one hundred one"
    assert world("de-DE").numbers.ordinal(1) == "erste"


def test_one_slotted_sentence_in_sixteen_is_held_out() -> None:
    rng = random.Random(6)
    slotted = {s.text for s in (world("en-US").draw(rng) for _ in range(20_000)) if s.pattern.has_slots}
    share = sum(map(held_out, slotted)) / len(slotted)
    assert 1 / 20 < share < 1 / 13


@settings(deadline=None)
@given(locales, seeds)
def test_a_held_out_sentence_has_a_slot(locale: str, seed: int) -> None:
    sentence = world(locale).draw_held_out(random.Random(seed))
    assert held_out(sentence.text)
    assert sentence.pattern.has_slots


@pytest.mark.parametrize("locale", LOCALES)
def test_fixed_patterns_are_the_speakers_own(locale: str) -> None:
    fixed = world(locale).fixed(Speaker.AGENT)
    assert fixed
    assert all(pattern.by is Speaker.AGENT and not pattern.has_slots for pattern in fixed)


def test_another_language_is_an_error_that_lists_the_languages() -> None:
    with pytest.raises(ValueError, match="no sentences for it-IT: the world has en-US, es-US, de-DE, fr-FR"):
        world("it-IT")
