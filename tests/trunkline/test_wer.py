import random

from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.wer import Aligned, Edit, WordErrors, align, right_tags, word_errors

words = st.lists(st.sampled_from("abcd"), max_size=8)


def edit_distance(a: list[str], b: list[str]) -> int:
    """By its recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return edit_distance(a[:-1], b[:-1])
    return 1 + min(edit_distance(a[:-1], b), edit_distance(a, b[:-1]), edit_distance(a[:-1], b[:-1]))


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


def test_case_and_punctuation_count() -> None:
    assert word_errors("Hola, ¿dónde está?", "hola, ¿dónde está") == WordErrors(words=3, substitutions=2)


def test_each_kind_of_edit_is_counted() -> None:
    errors = word_errors("one two three four", "one too three four five")
    assert errors == WordErrors(words=4, substitutions=1, insertions=1)
    assert word_errors("one two three", "one three") == WordErrors(words=3, deletions=1)
    assert errors.errors == 2
    assert errors.rate == 0.5


def test_an_empty_reference_has_rate_zero_or_infinity() -> None:
    assert word_errors("", "").rate == 0
    assert word_errors("", "uh").rate == float("inf")


def test_errors_add_up() -> None:
    total = word_errors("a b", "a") + word_errors("c d", "c x y")
    assert total == WordErrors(words=4, substitutions=1, deletions=1, insertions=1)


def test_an_alignment_names_the_words_of_both_sides() -> None:
    assert align(["my", "old", "phone", "is", "here"], ["my", "phone", "is", "now", "there"]) == [
        Aligned(Edit.MATCH, 0, 0),
        Aligned(Edit.DELETION, 1, None),
        Aligned(Edit.MATCH, 2, 1),
        Aligned(Edit.MATCH, 3, 2),
        Aligned(Edit.INSERTION, None, 3),
        Aligned(Edit.SUBSTITUTION, 4, 4),
    ]


@settings(deadline=None)
@given(words, words)
def test_an_alignment_is_cheapest_and_covers_both_sides_in_order(reference: list[str], hypothesis: list[str]) -> None:
    steps = align(reference, hypothesis)
    assert [s.reference for s in steps if s.reference is not None] == list(range(len(reference)))
    assert [s.hypothesis for s in steps if s.hypothesis is not None] == list(range(len(hypothesis)))
    assert sum(step.edit is not Edit.MATCH for step in steps) == edit_distance(reference, hypothesis)
    for step in steps:
        if step.reference is not None and step.hypothesis is not None:
            same = reference[step.reference] == hypothesis[step.hypothesis]
            assert step.edit is (Edit.MATCH if same else Edit.SUBSTITUTION)


def test_tags_count_in_their_order() -> None:
    assert right_tags(["es", "en", "es"], ["es", "en", "es"]) == [True, True, True]
    assert right_tags(["es", "en", "es"], ["es", "es"]) == [True, False, True]
    assert right_tags(["es", "en"], ["fr", "en"]) == [False, True]
    assert right_tags(["es"], []) == [False]


@settings(deadline=None)
@given(words, words)
def test_right_tags_are_a_longest_common_subsequence(expected: list[str], written: list[str]) -> None:
    right = right_tags(expected, written)
    assert len(right) == len(expected)
    kept = [tag for tag, found in zip(expected, right, strict=True) if found]
    assert is_subsequence(kept, written)
    rng = random.Random(repr((expected, written)))
    for _ in range(50):
        other = [tag for tag in expected if rng.random() < 0.6]
        assert len(other) <= len(kept) or not is_subsequence(other, written)
