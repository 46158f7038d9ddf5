"""What the last words say about whether more will follow: punctuation, an unfinished phrase, a filler, a number that is
being dictated. Pure functions on the recogniser's words."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from engine.api import Word
from pipeline.punctuation import bare_word, ends_sentence

_TABLES: Mapping[str, Mapping[str, frozenset[str]]] = {
    language: {kind: frozenset(words.split()) for kind, words in kinds.items()}
    for language, kinds in tomllib.loads((files("pipeline.turns") / "words.toml").read_text("utf-8")).items()
}
"""By language: `fillers`, `unfinished` (after which more must come), `numbers`."""

_NONE: Mapping[str, frozenset[str]] = {}
MAX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Phrase:
    """The end of what was said in a turn. `count`: words. `end_s`: of the last word, media time. `terminal`: it ends a
    sentence. `comma`: other punctuation stands there. `digits`: of the number that it ends in, 0 where it ends in none.
    """

    count: int
    end_s: float
    terminal: bool
    comma: bool
    filler: bool
    unfinished: bool
    digits: int


def unfinished_words(language: str) -> frozenset[str]:
    """Words after which more must come, bare and in lower case; none where the language has no table."""
    return _TABLES.get(language, _NONE).get("unfinished", frozenset())


EMPTY = Phrase(0, 0.0, terminal=False, comma=False, filler=False, unfinished=False, digits=0)


def phrase(words: Sequence[Word]) -> Phrase:
    """Of the words of a turn so far, the last ones of them at least; punctuation may stand as a word by itself."""
    spoken = [word for word in words if bare_word(word.text)]
    if not spoken:
        return EMPTY
    last = spoken[-1]
    after = words[-1].text
    table = _TABLES.get((last.language or "")[:2], _NONE)
    fillers, unfinished, numbers = (table.get(kind, frozenset()) for kind in ("fillers", "unfinished", "numbers"))
    bare = bare_word(last.text)
    return Phrase(
        count=len(spoken),
        end_s=last.end,
        terminal=ends_sentence(after, last.language),
        comma=not after[-1:].isalnum() and not ends_sentence(after, last.language),
        filler=bare in fillers,
        unfinished=bare in unfinished or bare.endswith("'"),
        digits=_digits(spoken, numbers),
    )


def _digits(words: Sequence[Word], numbers: frozenset[str]) -> int:
    """How many digits or number words the last words are, up to `MAX_DIGITS`."""
    count = 0
    for word in reversed(words):
        bare = bare_word(word.text).replace("-", "")
        if bare.isdigit():
            count += len(bare)
        elif bare in numbers:
            count += 1
        else:
            break
        if count >= MAX_DIGITS:
            return MAX_DIGITS
    return count
