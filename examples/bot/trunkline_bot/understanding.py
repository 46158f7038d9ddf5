"""What a caller means, from the words alone. Pure; whatever does not fit is None or empty, nothing raises."""

import re

from trunkline_bot.phrases import Phrases

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

_LONGEST_AROUND_ONE = 3


def words(text: str) -> list[str]:
    """Lower-case, without punctuation."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def digits(text: str, phrases: Phrases) -> str:
    """The digits in a text, as numerals or as words of one digit, in order. One such word in a longer sentence is none:
    "this one", "un problème"."""
    said, found = words(text), list[str]()
    for word in said:
        numerals = word.replace("-", "")
        if numerals.isascii() and numerals.isdecimal():
            found.append(numerals)
        else:
            found += [str(digit) for digit, names in enumerate(phrases.numbers) if word in names]
    is_one_word = len(found) == 1 and found[0] not in said
    return "" if is_one_word and len(said) > _LONGEST_AROUND_ONE else "".join(found)


def agrees(text: str, phrases: Phrases) -> bool | None:
    """Yes or no; None: neither. A no anywhere makes it one: "that is not correct"."""
    said = set(words(text))
    if said & phrases.no:
        return False
    return True if said & phrases.yes else None


def interrupts(text: str, phrases: Phrases) -> bool:
    """Whether these words, the first of what may become more, are meant to stop who is speaking. Back-channels are not,
    and neither is what may become one with its next letters."""
    return any(not any(known.startswith(word) for known in phrases.back_channels) for word in words(text))
