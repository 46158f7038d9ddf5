"""Digits, yes and no, and what interrupts, in four languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_bot.phrases import PHRASES, spoken_locale
from trunkline_bot.understanding import agrees, digits, interrupts


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("My order number is 4712.", "en-US", "4712"),
        ("It's four seven, uh, oh 12-3.", "en-US", "470123"),
        ("Es el cero uno, dos y 9.", "es-US", "0129"),
        ("C'est le zéro, deux, neuf.", "fr-FR", "029"),
        ("Zwo, drei, fünf.", "de-DE", "235"),
        ("Where is my order?", "en-US", ""),
        ("It is four.", "en-US", "4"),
        ("J'ai un problème avec ma commande.", "fr-FR", ""),
        ("I want to buy this one, please.", "en-US", ""),
        ("", "en-US", ""),
        ("²½ ٣", "en-US", ""),
    ],
)
def test_digits_as_numerals_and_as_words(text: str, language: str, found: str) -> None:
    assert digits(text, PHRASES[language]) == found


@pytest.mark.parametrize(
    ("text", "language", "answer"),
    [
        ("That is correct.", "en-US", True),
        ("That is not correct.", "en-US", False),
        ("Yes.", "en-US", True),
        ("No,", "en-US", False),
        ("Where is my order?", "en-US", None),
        ("Sí, es correcto.", "es-US", True),
        ("Eso no es correcto.", "es-US", False),
        ("C'est exact.", "fr-FR", True),
        ("Oui, c'est exact.", "fr-FR", True),
        ("Ce n'est pas exact.", "fr-FR", False),
        ("Das ist richtig.", "de-DE", True),
        ("Das ist nicht richtig.", "de-DE", False),
    ],
)
def test_yes_and_no(text: str, language: str, answer: bool | None) -> None:
    assert agrees(text, PHRASES[language]) is answer


@pytest.mark.parametrize(
    ("text", "language", "stops"),
    [
        ("", "en-US", False),
        ("Mhm.", "en-US", False),
        ("Ok", "en-US", False),
        ("Okay, where", "en-US", True),
        ("Where", "en-US", True),
        ("No,", "en-US", True),
        ("Aj", "es-US", False),
        ("Ajá, no", "es-US", True),
        ("Gen", "de-DE", False),
        ("Nein", "de-DE", True),
    ],
)
def test_words_interrupt_and_back_channels_do_not(text: str, language: str, stops: bool) -> None:
    assert interrupts(text, PHRASES[language]) is stops


@given(st.text(max_size=60), st.sampled_from(sorted(PHRASES)))
def test_nothing_that_is_said_is_too_much(text: str, language: str) -> None:
    phrases = PHRASES[language]
    found = digits(text, phrases)
    assert found == "" or (found.isascii() and found.isdecimal())
    assert agrees(text, phrases) in (True, False, None)
    interrupts(text, phrases)


def test_locales_of_the_languages_that_the_bot_speaks() -> None:
    assert [spoken_locale(tag) for tag in ("es-ES", "de", "it-IT", None)] == ["es-US", "de-DE", None, None]
