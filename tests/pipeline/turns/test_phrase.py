"""What the last words say about whether more will follow."""

import pytest

from pipeline.turns.phrase import EMPTY, MAX_DIGITS, phrase
from tests.pipeline.scripted import words


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("That is all.", "en-US", "terminal"),
        ("Is that all?", "en-US", "terminal"),
        ("Hello,", "en-US", "comma"),
        ("I would like to return the", "en-US", "unfinished"),
        ("I would, um,", "en-US", "filler comma"),
        ("My number is 4 8 2", "en-US", "digits"),
        ("four eight double two", "en-US", "digits"),
        ("Quiero devolver el", "es-US", "unfinished"),
        ("Ich möchte, ähm", "de-DE", "filler"),
        ("C'est le quatre", "fr-FR", "digits"),
        ("the", None, ""),
        ("the", "ja-JP", ""),
    ],
)
def test_the_last_word_is_known_by_its_language(text: str, language: str | None, expected: str) -> None:
    found = phrase(words(text, language=language))
    flags = {name for name in ("terminal", "comma", "filler", "unfinished", "digits") if getattr(found, name)}
    assert flags == set(expected.split())


def test_digits_are_counted_up_to_a_limit() -> None:
    assert phrase(words("it is 48 2")).digits == 3
    assert phrase(words("1234567890 " * 4)).digits == MAX_DIGITS
    assert phrase(words("5 o'clock")).digits == 0


def test_punctuation_by_itself_belongs_to_the_word_before() -> None:
    found = phrase(words("that is it ."))
    assert (found.terminal, found.count) == (True, 3)
    assert found.end_s == words("that is it")[-1].end
    assert phrase(words(".")) == phrase(()) == EMPTY
