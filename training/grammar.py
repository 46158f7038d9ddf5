"""The demo model's world: sentences of customer-service calls in four languages.

The tables are in `world/LOCALE.toml`: sentence patterns with slots, openers, and how numbers, dates and hours are said.
Drawing is deterministic given a `random.Random`.

Numbers are said and written as words; `{digits}` is said digit by digit and written as digits. A sentence is held out
when its pattern has a slot and a hash of its text says so (one in sixteen); training never sees those.
"""

import random
import re
import tomllib
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from num2words import num2words

LOCALES = ("en-US", "es-US", "de-DE", "fr-FR")

_TABLES = Path(__file__).parent / "world"
_SLOT = re.compile(r"\{(\w+)\}")
_DIGITS = re.compile(r"#(\d+)#")
_DIGIT_COUNTS = (4, 4, 5, 6, 6, 7, 8)
_OPENER_SHARE = 0.3
_TWO_DIGIT_SHARE = 0.8
_HELD_OUT_ONE_IN = 16


class Speaker(StrEnum):
    """Who says a sentence in a call."""

    AGENT = "agent"
    CALLER = "caller"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A sentence with `{slot}`s."""

    text: str
    by: Speaker

    @property
    def has_slots(self) -> bool:
        return "{" in self.text


@dataclass(frozen=True, slots=True)
class Sentence:
    """A drawn sentence. `text` is the transcript, `spoken` what a synthesiser reads (digits apart)."""

    locale: str
    pattern: Pattern
    text: str
    spoken: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """`num2words` in one language; `drop` is taken out of what it writes."""

    language: str
    drop: str = ""

    def cardinal(self, number: int) -> str:
        return self._words(number, "cardinal")

    def ordinal(self, number: int) -> str:
        return self._words(number, "ordinal")

    def _words(self, number: int, to: str) -> str:
        words = str(num2words(number, lang=self.language, to=to))
        return words.replace(self.drop, "") if self.drop else words


@dataclass(frozen=True, slots=True)
class Dates:
    """`form` holds `{day}` and `{month}`; `first` is the word for the first of a month where it is irregular."""

    form: str
    days: str
    first: str = ""


@dataclass(frozen=True, slots=True)
class Hours:
    """`forms` hold `{hour}`; hours before `earliest` are said as that one; `one` is its word for 1 where irregular."""

    forms: tuple[str, ...]
    earliest: int
    one: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """The sentences of one language."""

    locale: str
    patterns: tuple[Pattern, ...]
    openers: tuple[str, ...]
    capitalized: frozenset[str]
    slots: dict[str, tuple[str, ...]]
    numbers: Numbers
    dates: Dates
    hours: Hours

    def draw(self, rng: random.Random) -> Sentence:
        """A sentence: a pattern, at times behind an opener, its slots filled from left to right."""
        pattern = rng.choice(self.patterns)
        marked = pattern.text
        if rng.random() < _OPENER_SHARE:
            marked = f"{rng.choice(self.openers)} {self._uncapitalize(marked)}"
        marked = self._fill(marked, rng)
        return Sentence(
            locale=self.locale,
            pattern=pattern,
            text=_DIGITS.sub(r"\1", marked),
            spoken=_DIGITS.sub(lambda match: " ".join(match[1]), marked),
        )

    def draw_held_out(self, rng: random.Random) -> Sentence:
        """The next sentence drawn that is held out from training."""
        while not held_out((sentence := self.draw(rng)).text):
            pass
        return sentence

    def fixed(self, by: Speaker) -> tuple[Pattern, ...]:
        """The patterns without slots that only `by` says."""
        return tuple(pattern for pattern in self.patterns if not pattern.has_slots and pattern.by is by)

    def _uncapitalize(self, text: str) -> str:
        if text.split(" ", 1)[0] in self.capitalized:
            return text
        letter = 1 if text[0] == "¿" else 0
        return text[:letter] + text[letter].lower() + text[letter + 1 :]

    def _fill(self, text: str, rng: random.Random) -> str:
        return _SLOT.sub(lambda match: self._fill(self._value(match[1], rng), rng), text)

    def _value(self, slot: str, rng: random.Random) -> str:
        """What fills a slot, perhaps with slots of its own; digit strings stand between `#`."""
        match slot:
            case "digits":
                count = rng.choice(_DIGIT_COUNTS)
                return f"#{''.join(rng.choice('0123456789') for _ in range(count))}#"
            case "number":
                small = rng.random() < _TWO_DIGIT_SHARE
                return self.numbers.cardinal(rng.randint(2, 99) if small else rng.randint(1, 9) * 100)
            case "date":
                return self._date(rng)
            case "hour":
                return self._hour(rng)
            case _:
                return rng.choice(self.slots[slot])

    def _date(self, rng: random.Random) -> str:
        number = rng.randint(1, 28)
        month = rng.choice(self.slots["month"])
        if number == 1 and self.dates.first:
            day = self.dates.first
        else:
            day = self.numbers.ordinal(number) if self.dates.days == "ordinal" else self.numbers.cardinal(number)
        return self.dates.form.format(day=day, month=month)

    def _hour(self, rng: random.Random) -> str:
        number = max(self.hours.earliest, rng.randint(1, 12))
        hour = self.hours.one if number == 1 and self.hours.one else self.numbers.cardinal(number)
        return rng.choice(self.hours.forms).format(hour=hour)


@cache
def world(locale: str) -> World:
    """The world of `locale`, one of `LOCALES`; `ValueError` for another."""
    if locale not in LOCALES:
        raise ValueError(f"no sentences for {locale}: the world has {', '.join(LOCALES)}")
    table: dict[str, Any] = tomllib.loads((_TABLES / f"{locale}.toml").read_text(encoding="utf-8"))
    return World(
        locale=locale,
        patterns=tuple(Pattern(entry["text"], Speaker(entry["by"])) for entry in table["sentences"]),
        openers=tuple(table["openers"]),
        capitalized=frozenset(table["capitalized"]),
        slots={slot: tuple(values) for slot, values in table["slots"].items()},
        numbers=Numbers(**table["numbers"]),
        dates=Dates(**table["date"]),
        hours=Hours(**{**table["hour"], "forms": tuple(table["hour"]["forms"])}),
    )


def held_out(text: str) -> bool:
    """Whether a transcript is held out from training. Sentences without slots, with or without opener, never are."""
    if text.lower().endswith(_fixed_endings()):
        return False
    return zlib.crc32(text.encode()) % _HELD_OUT_ONE_IN == 0


@cache
def _fixed_endings() -> tuple[str, ...]:
    """Lower-case endings that mark a sentence without slots. The first letter is left out, as an opener changes it."""
    patterns = (pattern for locale in LOCALES for pattern in world(locale).patterns)
    return tuple(pattern.text.lower()[1:] for pattern in patterns if not pattern.has_slots)
