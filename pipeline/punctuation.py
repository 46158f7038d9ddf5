"""Where a sentence ends, and what of a written word is the word itself. Pure functions on strings."""

import unicodedata

TERMINAL = frozenset(".?!。？！…؟।")
_CLOSING = frozenset("\"'”’»›)]}」』）】")
_OPENING = frozenset("¿¡“‘«‹([{「『（【")
_KEPT = frozenset("%&@#+°")  # punctuation by Unicode's classes, yet spoken
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "sr", "sra", "srta", "mme", "hr", "dott", "sig"})


def ends_sentence(text: str) -> bool:
    """True where the text ends in terminal punctuation, closing quotes and brackets after it aside."""
    bare = text.rstrip("".join(_CLOSING))
    return bare[-1:] in TERMINAL


def may_be_abbreviation(text: str) -> bool:
    """True for a title ("Dr.") or an initial ("J.", "U.S."), whose full stop does not end a sentence by itself."""
    if not text.endswith("."):
        return False
    parts = text[:-1].lower().split(".")
    return parts[-1] in _TITLES or all(len(part) == 1 and part.isalpha() for part in parts)


def bare_word(text: str) -> str:
    """Lower case, punctuation at either end taken off; empty where there is nothing but punctuation."""
    if text.isalnum():
        return text.lower()
    first, last = 0, len(text)
    while first < last and _is_punctuation(text[first]):
        first += 1
    while first < last and _is_punctuation(text[last - 1]):
        last -= 1
    return text[first:last].lower()


def is_opening(text: str) -> bool:
    """True for punctuation that belongs to the word after it."""
    return text != "" and all(character in _OPENING for character in text)


def _is_punctuation(character: str) -> bool:
    return character not in _KEPT and (character.isspace() or unicodedata.category(character)[0] == "P")
