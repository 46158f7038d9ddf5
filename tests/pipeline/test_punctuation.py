import pytest

from pipeline.punctuation import bare_word, ends_sentence, is_opening, may_be_abbreviation


@pytest.mark.parametrize(
    "text", ["you.", "what?", "No!", "はい。", "吗？", "行！", "well…", "كيف؟", "है।", 'so."', "so.”", "¡Sí!»", "x.)"]
)
def test_terminal_punctuation_ends_a_sentence(text: str) -> None:
    assert ends_sentence(text)


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
