import pytest

from pipeline.punctuation import bare_word, ends_sentence, is_opening, may_be_abbreviation


@pytest.mark.parametrize(
    "text", ["you.", "what?", "No!", "はい。", "吗？", "行！", "well…", "كيف؟", "है।", 'so."', "so.”", "¡Sí!»", "x.)"]
)
def test_terminal_punctuation_ends_a_sentence(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text",
    [
        *("\u06c1\u06d2\u06d4", "\u1230\u120b\u121d\u1362", "\u1781\u17d2\u1798\u17c2\u179a\u17d4"),
        *("\u1010\u101a\u104b", "\u0939\u0948\u0965", "\u597d\uff61", "ja\uff0e", "what\u2047"),
        *("\u201eJa.\u201c", "\u00bbJa.\u00ab", "\u0643\u064a\u0641\u061f\u200f", "\u597d\u3002\u300b"),
    ],
)
def test_terminal_punctuation_of_every_script_and_manner_of_quoting_ends_a_sentence(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize("mark", [";", "\u037e"])
def test_a_semicolon_is_a_question_in_greek_alone(mark: str) -> None:
    assert ends_sentence("\u03b5\u03af\u03bd\u03b1\u03b9" + mark, "el-GR")
    assert not ends_sentence("and" + mark, "en-US")
    assert not ends_sentence("and" + mark)


@pytest.mark.parametrize("text", ["\u0e31", "\u0301", "$", "\u20ac", "\U0001f44d", "\u0e01\u0e31"])
def test_marks_and_signs_are_words(text: str) -> None:
    assert bare_word(text) == text


def test_marks_of_direction_are_no_part_of_a_word() -> None:
    assert bare_word("\u200f\u0643\u064a\u0641\u061f\u200f") == "\u0643\u064a\u0641"


def test_an_initial_is_one_letter_however_it_is_composed() -> None:
    assert may_be_abbreviation("E\u0301.")


@pytest.mark.parametrize("text", ["", "you", "you,", "you;", "3.5", '"', "Mr", "..a"])
def test_all_else_does_not(text: str) -> None:
    assert not ends_sentence(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Hello,", "hello"),
        ("¿Qué?", "qué"),
        ("don't", "don't"),
        ("“Twenty-one.”", "twenty-one"),
        ("10%", "10%"),
        ("$5.50.", "$5.50"),
        ("U.S.", "u.s"),
        ("¡¡", ""),
        ("…", ""),
        ("", ""),
        ("はい。", "はい"),
    ],
)
def test_the_bare_word_is_lower_case_without_punctuation_at_its_ends(text: str, word: str) -> None:
    assert bare_word(text) == word


def test_titles_and_initials_may_be_abbreviations() -> None:
    assert all(may_be_abbreviation(text) for text in ("Dr.", "Sra.", "J.", "U.S.", "p.m."))
    assert not any(may_be_abbreviation(text) for text in ("no.", "five.", "1.", "Dr", "", "what?", "J?"))


def test_opening_punctuation_is_told_from_closing() -> None:
    assert is_opening("¿")
    assert is_opening("(“")
    assert not is_opening(".")
    assert not is_opening("")
    assert not is_opening("¿Qué")
