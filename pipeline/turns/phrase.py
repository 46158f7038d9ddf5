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
"""By language: `fillers`, `unfinished` (after which more must come), `numbers`, `asking` (that begin a question)."""

_NONE: Mapping[str, frozenset[str]] = {}
MAX_DIGITS = 16
_KINDS = ("fillers", "unfinished", "numbers", "asking")


@dataclass(frozen=True, slots=True)
class Phrase:
    """The end of what was said in a turn. `count`: words. `end_s`: of the last word, media time. `terminal`: it ends a
    sentence. `comma`: other punctuation stands there. `digits`: of the number that it ends in, 0 where it ends in none.
    `question`: it ends with a question mark; `asks`: its last sentence begins as questions do. `in_sentence`: words of
    that sentence. `confidence`: mean of the last four words. `rate`: words a second.
    """

    count: int
    end_s: float
    terminal: bool
    comma: bool
    filler: bool
    unfinished: bool
    digits: int
    question: bool = False
    asks: bool = False
    in_sentence: int = 0
    confidence: float = 0.0
    rate: float = 0.0


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
    fillers, unfinished, numbers, asking = (table.get(kind, frozenset()) for kind in _KINDS)
    bare = bare_word(last.text)
    stops = [index for index, word in enumerate(spoken[:-1]) if ends_sentence(word.text, word.language)]
    sentence = spoken[stops[-1] + 1 :] if stops else spoken
    recent = spoken[-4:]
    return Phrase(
        count=len(spoken),
        end_s=last.end,
        terminal=ends_sentence(after, last.language),
        comma=not after[-1:].isalnum() and not ends_sentence(after, last.language),
        filler=bare in fillers,
        unfinished=bare in unfinished or bare.endswith("'"),
        digits=_digits(spoken, numbers),
        question=after.endswith("?"),
        asks=bare_word(sentence[0].text) in asking,
        in_sentence=len(sentence),
        confidence=sum(word.confidence for word in recent) / len(recent),
        rate=len(spoken) / max(last.end - spoken[0].start, 0.2),
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
