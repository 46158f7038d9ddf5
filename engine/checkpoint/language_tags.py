"""Language tags as they are written: which text is one, which may become one, and what locale it names.

A tag stands in the text as `<xx-YY>`, whether the vocabulary has a piece for it or the model spells it out. It is named
as the prompt dictionary names the locale: another case, an underscore, a bare code, a region that the dictionary does
not have (`sl-SL` for `sl-SI`) are the same language. Symbols of training and of other tokenizers (`<unk>`, `</s>`,
`<|...|>`) are no text either, and name nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

OPENING = "<"

UNKNOWN = "\0"
"""What an unknown piece writes. It stands for a bracket that the vocabulary does not have."""

_LOCALE = re.compile(r"([a-z]{2,3})-([A-Z]{2,4})")
_WRITTEN = re.compile(r"([A-Za-z]{2,3})[-_](?:[A-Za-z]{4}[-_])?([A-Za-z]{2,4}|[0-9]{3})")
_UNFINISHED = re.compile(
    r"[A-Za-z]{0,3}|[A-Za-z]{2,3}[-_](?:[A-Za-z]{4}[-_])?(?:[A-Za-z]{0,4}|[0-9]{0,3})|\|[A-Za-z0-9_.:/+-]{0,32}\|?"
)
_BARRED = re.compile(r"\|([A-Za-z0-9_.:/+-]{1,32})\|")

_SYMBOLS = frozenset(
    [
        "s",
        "/s",
        "unk",
        "pad",
        "blank",
        "blk",
        "bos",
        "/bos",
        "eos",
        "/eos",
        "sos",
        "/sos",
        "mask",
        "cls",
        "sep",
        "auto",
        "eou",
        "eob",
        "nospeech",
        "unklang",
    ]
)

_MISNAMED = frozenset(["cs", "da", "el", "en", "et", "he", "hi", "ja", "ko", "nb", "nn", "sl", "sv", "uk", "vi", "zh"])
"""Languages whose code is not that of a country of theirs: `ja-JA` is a slip for `ja-JP`, while `fr-FR` is none."""


@cache
def released_prompts() -> Mapping[str, int]:
    """The prompt dictionary of the released checkpoint: name of a locale, or `auto`, to its index."""
    names: dict[str, int] = json.loads(
        resources.files("engine.checkpoint").joinpath("released_prompts.json").read_bytes()
    )
    return names


@dataclass(frozen=True, slots=True)
class TagText:
    """What a complete tag says: `locale` is None for a symbol that names no language."""

    locale: str | None


class LanguageTags:
    """Reads tags by the names of a prompt dictionary; None: by those of the released one."""

    def __init__(self, dictionary: Mapping[str, int] | None = None) -> None:
        names = released_prompts() if dictionary is None else dictionary
        self._locales = {_key(name): _canonical(name, names) for name in names if _key(name) not in _SYMBOLS}
        self._languages: dict[str, str] = {}
        for name, locale in self._locales.items():
            self._languages.setdefault(name.partition("-")[0], locale)
        # A language's bare code says which of its locales is meant where no region does.
        self._languages.update({name: locale for name, locale in self._locales.items() if name.isalpha()})
        symbols = {*self._locales, *_SYMBOLS}
        self._beginnings = {name[:length] for name in symbols for length in range(len(name) + 1)}

    def locale(self, name: str) -> str | None:
        """The locale that a tag with this name between its brackets stands for; None where the name is none.

        A language that the dictionary does not have keeps its own name, written as locales are.
        """
        if (known := self._locales.get(_key(name))) is not None:
            return known
        if (written := _WRITTEN.fullmatch(name)) is None:
            return self._languages.get(name.lower())
        language, region = written.group(1).lower(), written.group(2).upper()
        return self._languages.get(language, f"{language}-{region}")

    def read(self, text: str) -> TagText | None:
        """What `text`, brackets included, says as a tag; None where it is not one."""
        if UNKNOWN in text:
            return self._unbracketed(text)
        if len(text) < 3 or text[0] != OPENING or text[-1] != ">":
            return None
        name = text[1:-1]
        if (barred := _BARRED.fullmatch(name)) is not None:
            return TagText(self.locale(barred.group(1)))
        if name.lower() in _SYMBOLS:
            return TagText(None)
        locale = self.locale(name)
        return None if locale is None else TagText(locale)

    def may_become(self, text: str) -> bool:
        """Whether more text could make a tag of `text`, which begins with an opening bracket."""
        if text[0] == UNKNOWN:
            return len(text) <= len(UNKNOWN) + _LONGEST_LOCALE and _UNFINISHED.fullmatch(text[1:]) is not None
        name = text[1:]
        return _UNFINISHED.fullmatch(name) is not None or _key(name) in self._beginnings

    def _unbracketed(self, text: str) -> TagText | None:
        """A tag whose brackets the vocabulary does not have: only a locale of the dictionary, written out, is one."""
        name = text[1:-1]
        known = text[0] in OPENING + UNKNOWN and text[-1] in ">" + UNKNOWN and _LOCALE.fullmatch(name) is not None
        return TagText(self._locales[_key(name)]) if known and _key(name) in self._locales else None


_LONGEST_LOCALE = len("xxx-YYYY")


def _key(name: str) -> str:
    return name.replace("_", "-").lower()


def _canonical(name: str, names: Mapping[str, int]) -> str:
    """The locale that a name of the dictionary means: itself, or where it is a code or a slip, the one of its index."""
    language = re.split(r"[-_]|(?<=[a-z])(?=[A-Z])", name)[0]
    if (own := _LOCALE.fullmatch(name)) is not None and not _is_slip(*own.groups()):
        return name
    found = [other for other, index in names.items() if index == names[name] and _LOCALE.fullmatch(other)]
    found = [other for other in found if other.startswith(f"{language}-")] or found
    return min(found, key=lambda other: _is_slip(*other.split("-")), default=name)


def _is_slip(language: str, region: str) -> bool:
    return language in _MISNAMED and region == language.upper()
