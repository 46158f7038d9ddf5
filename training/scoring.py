"""Scores of recognised calls: word errors and language tags, by the language of what was said."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from engine import Word
from training.grammar import Sentence
from training.recognize import text_of, written_tags
from trunkline.wer import Edit, WordErrors, align, right_tags


@dataclass(frozen=True, slots=True)
class Score:
    """Adds up over sentences. `tags_right` of `sentences` were followed by their language's tag."""

    errors: WordErrors = field(default_factory=WordErrors)
    sentences: int = 0
    tags_right: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(self.errors + other.errors, self.sentences + other.sentences, self.tags_right + other.tags_right)

    @property
    def wer_percent(self) -> float:
        return 100 * self.errors.rate

    @property
    def tags_percent(self) -> float:
        return 100 * self.tags_right / self.sentences if self.sentences else 0.0


def score(segments: Sequence[Sentence], words: Sequence[Word]) -> list[Score]:
    """One score per segment of a call.

    A single sentence has its tag right when the last tag is that and nothing follows it. In a call of several that
    switches language, tags count that come in the order of the segments; in one that does not, a segment's tag is that
    of the last word heard in it.
    """
    tags = _tags_right(segments, words)
    errors = _errors(segments, text_of(words).split())
    return [Score(error, 1, int(tag)) for error, tag in zip(errors, tags, strict=True)]


def _tags_right(segments: Sequence[Sentence], words: Sequence[Word]) -> list[bool]:
    expected = [segment.locale for segment in segments]
    if len(segments) == 1:
        return [written_tags(words[-1:]) == expected]
    if any(before == after for before, after in pairwise(expected)):
        return [
            written_tags(last) == [locale] for last, locale in zip(_last_words(segments, words), expected, strict=True)
        ]
    return right_tags(expected, written_tags(words))


def _last_words(segments: Sequence[Sentence], words: Sequence[Word]) -> list[list[Word]]:
    """The last word heard in each segment, none where nothing was."""
    owners = [index for index, segment in enumerate(segments) for _ in segment.text.split()]
    last: list[list[Word]] = [[] for _ in segments]
    owner = 0
    for step in align(" ".join(segment.text for segment in segments).split(), [word.text for word in words]):
        if step.reference is not None:
            owner = owners[step.reference]
        if step.hypothesis is not None:
            last[owner] = [words[step.hypothesis]]
    return last


def _errors(segments: Sequence[Sentence], hypothesis: Sequence[str]) -> list[WordErrors]:
    """Word errors by segment; a word too many counts against the segment of the reference word before it."""
    reference = [word for segment in segments for word in segment.text.split()]
    owners = [index for index, segment in enumerate(segments) for _ in segment.text.split()]
    errors = [WordErrors(words=owners.count(index)) for index in range(len(segments))]
    owner = 0
    for step in align(reference, hypothesis):
        if step.reference is not None:
            owner = owners[step.reference]
        errors[owner] += _one(step.edit)
    return errors


def _one(edit: Edit) -> WordErrors:
    return WordErrors(
        substitutions=int(edit is Edit.SUBSTITUTION),
        deletions=int(edit is Edit.DELETION),
        insertions=int(edit is Edit.INSERTION),
    )
