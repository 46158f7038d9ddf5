"""Where words begin in text that is written without spaces, and what never stands alone. By characters' properties.

Thai, Lao, Burmese, Khmer, kana and Han have no spaces between words: there every piece is a word, as long as it begins
with a letter or a digit. A combining mark, a joiner, and the letter after a stacker or after a vowel sign that is
written before its consonant belong to the character before (Unicode Standard Annex 29, grapheme clusters).
"""

import re
import unicodedata
from functools import lru_cache

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Burmese, Khmer, kana, Han: written without spaces between words."""

_WIDE_OPENING = frozenset("「『（【《〈〔〖｛［｢")

_OPENING = _WIDE_OPENING | frozenset("¿¡“‘«‹„‚([{")

_REPEATING = frozenset("ฯๆໆ々〻ーｰ")
"""Letters by their class that lengthen, repeat or shorten what stands before them."""

_FOLLOWING = frozenset("ะาำๅະາຳ") | frozenset("ぁぃぅぇぉゃゅょゎァィゥェォャュョヮｧｨｩｪｫｬｭｮ")
"""Letters by their class that are a vowel sign of the consonant before them, or a small kana of the one before."""

_JOINING = frozenset("\u200d\u2060\u1039\u17d2") | frozenset("เแโใไ\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4")
"""Zero-width and word joiner, the stackers of Burmese and Khmer, the vowels of Thai and Lao before their consonant."""

_TERMINAL = frozenset(".,;:!?…‥·‼⁇⁈⁉\u037e\u0387՝՜՞։׃،؛؟۔।॥။၊።፣፤፥፦፧፨។៕៖๚๛།༎、。，．：；！？｡､・･")
"""Punctuation that ends a sentence or a clause, in all scripts (Unicode's property Terminal_Punctuation)."""

_CLOSING = frozenset(")]}」』）】》〉〕〗｝］｣\"'”’»›")


@lru_cache(4096)
def starts_word(text: str) -> bool:
    """True where text that no space precedes begins a word all the same."""
    first = text[:1]
    if first in _WIDE_OPENING:
        return first != ""
    if _UNSPACED.match(first) is None or unicodedata.category(first)[0] not in "LN":
        return False
    return first not in _REPEATING and first not in _FOLLOWING


@lru_cache(4096)
def continues_word(text: str) -> bool:
    """True for text that begins with a combining mark, a vowel sign, a joiner or a variation selector."""
    if text == "":
        return False
    category = unicodedata.category(text[0])
    return category[0] == "M" or category == "Cf" or text[0] in _FOLLOWING


def joins_next(text: str) -> bool:
    """True where what follows belongs to the same word, in scripts without spaces too."""
    return text[-1:] in _JOINING or (text != "" and text[-1] in _OPENING)


def is_leaked_punctuation(text: str) -> bool:
    """True for what can only end a sentence: right after a language tag it is that of the sentence before, again."""
    return text[:1] in _TERMINAL | frozenset(")]}」』）】》〉〕〗｝］｣") and all(
        character in _TERMINAL or character in _CLOSING for character in text
    )
