"""Ogg: pages of logical streams. A file may hold several streams one after the other ("links" of a chain, RFC 3533,
section 4): what two recordings are that were put together with `cat`, and what a stream becomes that changes its title.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part

_HEADER = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Page:
    """`granule`: position of its last sample by the codec's clock, -1 where no packet ends in it."""

    start: int
    end: int
    flags: int
    granule: int
    serial: int
    sequence: int


def _pages(source: ByteSource, start: int, gaps: list[int]) -> Iterator[Page]:
    """All whole pages; the sizes of what lies between them and is none are appended to `gaps`."""
    position = start
    while position < source.size:
        page = _page(source, position)
        if page is None:
            following = source.find(b"OggS", position + 1, source.size)
            if following < 0:
                if source.at(position, 4) != b"OggS":  # else the last page, of which a piece is missing
                    gaps.append(source.size - position)
                return
            gaps.append(following - position)
            position = following
            continue
        yield page
        position = page.end


def _page(source: ByteSource, start: int) -> Page | None:
    raw = source.at(start, _HEADER.size + 255)
    if len(raw) < _HEADER.size:
        return None
    magic, version, flags, granule, serial, sequence, _, segments = _HEADER.unpack_from(raw)
    end = start + _HEADER.size + segments + sum(raw[_HEADER.size : _HEADER.size + segments])
    if magic != b"OggS" or version or end > source.size:
        return None
    return Page(start, end, flags, granule, serial, sequence)


def survey_ogg(source: ByteSource, start: int) -> tuple[Part, ...]:
    """A part for each link; faults say where pages are missing, damaged or the last one never came."""
    gaps: list[int] = []
    links: list[list[Page]] = []
    for page in _pages(source, start, gaps):
        begins = page.flags & _FIRST and not (links and links[-1][-1].flags & _FIRST)
        if begins or not links:
            links.append([])
        links[-1].append(page)
    parts = []
    for number, link in enumerate(links):
        following = links[number + 1][0].start if number + 1 < len(links) else None
        parts.append(Part(link[0].start, (following or link[-1].end) - link[0].start, {}, tuple(_faults(link))))
    if parts and sum(gaps):
        damage = f"has {sum(gaps):,} bytes that are no Ogg pages: they were skipped"
        parts[-1] = Part(parts[-1].start, parts[-1].length, {}, (*parts[-1].faults, damage))
    return tuple(parts)


def _faults(link: list[Page]) -> Iterator[str]:
    following: dict[int, int] = {}
    lost, over = 0, set()
    for page in link:
        expected = following.get(page.serial, page.sequence)
        lost += max(page.sequence - expected, 0)
        following[page.serial] = page.sequence + 1
        if page.flags & _LAST:
            over.add(page.serial)
    if lost:
        yield f"lacks {lost} pages in the middle: what they held is lost"
    if set(following) - over:
        yield "is cut short or was never finished: its last page is missing; copy it anew if there is more"
