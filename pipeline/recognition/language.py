"""Languages as users name them, and the recogniser's locales."""

from collections.abc import Collection

from engine.api import AUTO


def to_locale(language: str | None, locales: Collection[str]) -> str:
    """The recogniser's locale for a language: that one, else the first of the same language; None is `auto`. What it
    does not have is returned as it is, for the engine to refuse."""
    if language is None:
        return AUTO
    tag = str(language)
    if tag in locales:
        return tag
    base = tag.split("-", maxsplit=1)[0].lower()
    return next((one for one in sorted(locales) if one.split("-", maxsplit=1)[0].lower() == base), tag)
