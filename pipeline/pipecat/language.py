"""Languages as Pipecat and as the recogniser name them."""

from collections.abc import Collection

from pipecat.transcriptions.language import Language

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
    return next((locale for locale in sorted(locales) if locale.split("-")[0].lower() == base), tag)


def to_language(locale: str | None) -> Language | None:
    """Pipecat's language for a locale; None where it has none."""
    for tag in () if locale is None else (locale, locale.split("-")[0]):
        try:
            return Language(tag)
        except ValueError:
            continue
    return None
