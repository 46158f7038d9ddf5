"""The recogniser's locales as Pipecat's languages."""

from pipecat.transcriptions.language import Language


def to_language(locale: str | None) -> Language | None:
    """Pipecat's language for a locale; None where it has none."""
    for tag in () if locale is None else (locale, locale.split("-", maxsplit=1)[0]):
        try:
            return Language(tag)
        except ValueError:
            continue
    return None
