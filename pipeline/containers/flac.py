"""FLAC: one stream, or several that were put together with `cat` (RFC 9639, section 8.2: STREAMINFO comes first)."""

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part

MARK = b"fLaC\x00\x00\x00\x22"
LAST_MARK = b"fLaC\x80\x00\x00\x22"
"""The marker with the header of STREAMINFO, whose length is 34: alone, or as the only block of metadata."""


def survey_flac(source: ByteSource, start: int) -> tuple[Part, ...]:
    """A part for each stream."""
    starts = [start]
    for mark in (MARK, LAST_MARK):
        position = source.find(mark, start + 4, source.size)
        while position >= 0:
            starts.append(position)
            position = source.find(mark, position + 4, source.size)
    starts.sort()
    ends = [*starts[1:], source.size]
    return tuple(Part(first, end - first) for first, end in zip(starts, ends, strict=True))
