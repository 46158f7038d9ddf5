"""Word errors and language-tag accuracy of a transcript against its reference.

Words are what white space separates; case and punctuation count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Edit(StrEnum):
    """What happened to a word."""

    MATCH = "match"
    SUBSTITUTION = "substitution"
    DELETION = "deletion"
    INSERTION = "insertion"


@dataclass(frozen=True, slots=True)
class Aligned:
    """One step of an alignment: indices into reference and hypothesis, None where the side has no word."""

    edit: Edit
    reference: int | None
    hypothesis: int | None


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts of edits against `words` reference words; they add up over utterances."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word: 0 without words and errors, infinite with errors alone."""
        if self.words:
            return self.errors / self.words
        return float("inf") if self.errors else 0.0

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Aligned]:
    """A cheapest alignment, all three edits costing one; matches and substitutions come before gaps where costs tie."""
    costs = _costs(reference, hypothesis)
    return list(_backtrack(costs, reference, hypothesis))[::-1]


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """The word errors of `hypothesis`."""
    words = reference.split()
    edits = [step.edit for step in align(words, hypothesis.split())]
    return WordErrors(
        words=len(words),
        substitutions=edits.count(Edit.SUBSTITUTION),
        deletions=edits.count(Edit.DELETION),
        insertions=edits.count(Edit.INSERTION),
    )


def right_tags(expected: Sequence[str], written: Sequence[str]) -> list[bool]:
    """For each of the `expected` language tags whether it was written, in their order (longest common subsequence)."""
    longest = [[0] * (len(written) + 1) for _ in range(len(expected) + 1)]
    for i in reversed(range(len(expected))):
        for j in reversed(range(len(written))):
            same = expected[i] == written[j]
            longest[i][j] = 1 + longest[i + 1][j + 1] if same else max(longest[i + 1][j], longest[i][j + 1])
    right = []
    j = 0
    for i, tag in enumerate(expected):
        while j < len(written) and written[j] != tag and longest[i][j + 1] == longest[i][j]:
            j += 1
        found = j < len(written) and written[j] == tag
        right.append(found)
        j += found
    return right


def _costs(reference: Sequence[str], hypothesis: Sequence[str]) -> list[list[int]]:
    """costs[i][j]: edits between the first i words of the reference and the first j of the hypothesis."""
    costs = [list(range(len(hypothesis) + 1))]
    for i, word in enumerate(reference, 1):
        above = costs[-1]
        row = [i]
        for j, other in enumerate(hypothesis, 1):
            row.append(min(above[j - 1] + (word != other), above[j] + 1, row[-1] + 1))
        costs.append(row)
    return costs


def _backtrack(costs: list[list[int]], reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[Aligned]:
    """The steps from the end to the beginning."""
    i, j = len(reference), len(hypothesis)
    while i or j:
        differ = i > 0 and j > 0 and reference[i - 1] != hypothesis[j - 1]
        if i and j and costs[i][j] == costs[i - 1][j - 1] + differ:
            i, j = i - 1, j - 1
            yield Aligned(Edit.SUBSTITUTION if differ else Edit.MATCH, i, j)
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            yield Aligned(Edit.DELETION, i, None)
        else:
            j -= 1
            yield Aligned(Edit.INSERTION, None, j)
