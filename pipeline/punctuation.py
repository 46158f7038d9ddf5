"""Where a sentence ends, and what of a written word is the word itself. Pure functions on strings."""

import unicodedata

TERMINAL = frozenset(".?!…‥‼⁇⁈⁉。．？！｡؟۔।॥።፧፨។៕။։")
"""Of all scripts: Latin, East Asian, Arabic and Urdu, Devanagari, Ethiopic, Khmer, Burmese, Armenian."""

_GREEK_QUESTION = frozenset(";\u037e")
_CLOSING = frozenset("\"'”’»›)]}」』）】》〉〕］｝｣")
_REVERSED = frozenset("“‘«‹")
"""Closing where „German“ and »Danish« quote, opening elsewhere."""

_OPENING = frozenset("¿¡“‘«‹‚„([{「『（【《〈〔［｛｢")
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_AFTER_END = "".join(_CLOSING | _REVERSED | _DIRECTION)
_KEPT = frozenset("%&@#+°")  # punctuation by Unicode's classes, yet spoken
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "sr", "sra", "srta", "mme", "hr", "dott", "sig"})


def ends_sentence(text: str, language: str | None = None) -> bool:
    """True where the text ends in terminal punctuation, closing quotes, brackets and marks of direction after it aside.
    A semicolon asks a question in Greek."""
    bare = text.rstrip(_AFTER_END)
    return bare[-1:] in TERMINAL or (bare[-1:] in _GREEK_QUESTION and language is not None and language[:2] == "el")


def may_be_abbreviation(text: str) -> bool:
    """True for a title ("Dr.") or an initial ("J.", "U.S."), whose full stop does not end a sentence by itself."""
    if not text.endswith("."):
        return False
    parts = unicodedata.normalize("NFC", text[:-1]).lower().split(".")
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
    if character in _KEPT:
        return False
    return character.isspace() or character in _DIRECTION or unicodedata.category(character)[0] == "P"
