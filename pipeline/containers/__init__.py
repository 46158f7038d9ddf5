"""What audio files say of themselves, compared with what they hold. Nothing is decoded here.

Chain: descriptor -> `ByteSource` -> `format_of` (first bytes) -> `survey` (headers, parts, disagreements) -> a `Window`
for each part, with the header fields that were wrong corrected -> a decoder.
"""

from collections.abc import Callable
from dataclasses import replace

from pipeline.containers.au import survey_au
from pipeline.containers.chunks import survey_chunks
from pipeline.containers.flac import survey_flac
from pipeline.containers.foreign import not_audio
from pipeline.containers.mp4 import survey_mp4
from pipeline.containers.mpeg import survey_mpeg
from pipeline.containers.ogg import survey_ogg
from pipeline.containers.sniff import Format, format_of, is_apple_double
from pipeline.containers.source import ByteSource, Window
from pipeline.containers.survey import Part, cut_short, seconds

__all__ = [
    "ByteSource",
    "Format",
    "Part",
    "Window",
    "cut_short",
    "format_of",
    "is_apple_double",
    "is_surveyed",
    "not_audio",
    "seconds",
    "survey",
]


def survey(source: ByteSource, found: Format) -> tuple[Part, ...]:
    """The parts of a file, each to be decoded as a file of its own; at least one."""
    look = _SURVEYS.get(found.name)
    parts = look(source, found.start) if look is not None else ()
    parts = parts or (Part(found.start, source.size - found.start),)
    if not found.skipped:
        return parts
    fault = f"begins with {found.skipped:,} bytes that are no {found.name}: they were skipped"
    return (replace(parts[0], faults=(fault, *parts[0].faults)), *parts[1:])


def is_surveyed(found: Format) -> bool:
    """Whether headers of this format are compared with the file's size here."""
    return found.name in _SURVEYS


def _one_after_the_other(
    source: ByteSource, start: int, look: Callable[[ByteSource, int], tuple[Part, ...]]
) -> tuple[Part, ...]:
    """Files that were put together with `cat`."""
    parts: list[Part] = []
    while start < source.size and (found := look(source, start)) and found[-1].end > start:
        parts += found
        start = found[-1].end
    return tuple(parts)


def _chunks(source: ByteSource, start: int) -> tuple[Part, ...]:
    return _one_after_the_other(source, start, survey_chunks)


def _au(source: ByteSource, start: int) -> tuple[Part, ...]:
    return _one_after_the_other(source, start, lambda *where: (part,) if (part := survey_au(*where)) else ())


_SURVEYS: dict[str, Callable[[ByteSource, int], tuple[Part, ...]]] = {
    **dict.fromkeys(("WAV", "RF64", "BW64", "Wave64", "AIFF", "AIFF-C", "CAF"), _chunks),
    **dict.fromkeys(("MP4", "QuickTime"), survey_mp4),
    "AU": _au,
    "Ogg": survey_ogg,
    "FLAC": survey_flac,
    "MPEG audio": survey_mpeg,
}
