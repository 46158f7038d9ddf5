"""Ogg: pages of logical streams. A file may hold several streams one after the other ("links" of a chain, RFC 3533,
section 4): what two recordings are that were put together with `cat`, and what a stream becomes that changes its title.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part

_HEADER = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_FLAGS_AT, _CHECK_AT = 5, 22
_HEADER_PAGES = 4


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
    clock = _Clock()
    for page in _pages(source, start, gaps):
        begins = page.flags & _FIRST and not (links and links[-1][-1].flags & _FIRST)
        if begins or not links or clock.begins_anew(page):
            links.append([])
        clock.see(page)
        links[-1].append(page)
    parts: list[Part] = []
    header = b""
    for number, link in enumerate(links):
        following = links[number + 1][0].start if number + 1 < len(links) else None
        length = (following or link[-1].end) - link[0].start
        goes_on = bool(parts) and not link[0].flags & _FIRST
        is_over = following is None or bool(links[number + 1][0].flags & _FIRST)
        if not goes_on:
            header = _header(source, link)
        faults = tuple(_faults(link, is_over=is_over))
        if goes_on:
            faults = ("ends or begins anew in its middle: both sides of that were heard, one after the other", *faults)
        parts.append(Part(link[0].start, length, _ended(source, link), faults, header if goes_on else b""))
    if parts and sum(gaps):
        damage = f"has {sum(gaps):,} bytes that are no Ogg pages: they were skipped"
        parts[-1] = replace(parts[-1], faults=(*parts[-1].faults, damage))
    return tuple(parts)


def _ended(source: ByteSource, link: list[Page]) -> dict[int, bytes]:
    """Its last page with the mark of the end, where it has none: libopusfile takes an end that is not marked, and lies
    within its page, for damage, and gives nothing of that page."""
    last = link[-1]
    if last.flags & (_LAST | _FIRST) or last.granule <= 0:
        return {}
    flags = bytes([last.flags | _LAST])
    raw = source.at(last.start, last.end - last.start)
    marked = raw[:_FLAGS_AT] + flags + raw[_FLAGS_AT + 1 : _CHECK_AT] + bytes(4) + raw[_CHECK_AT + 4 :]
    if _check_sum(raw[:_CHECK_AT] + bytes(4) + raw[_CHECK_AT + 4 :]) != raw[_CHECK_AT : _CHECK_AT + 4]:
        return {}  # it is damaged, and stays so
    at = last.start - link[0].start
    return {at + _FLAGS_AT: flags, at + _CHECK_AT: _check_sum(marked)}


def _check_sum(page: bytes) -> bytes:
    """Of a page whose field for it is zero (RFC 3533, section 6): CRC-32 of 0x04C11DB7, neither reflected nor
    inverted."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
    return struct.pack("<I", value)


def _crc_of(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = value << 1 ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return value


_CRC = tuple(map(_crc_of, range(256)))


class _Clock:
    """Where a stream goes on behind its end, or its positions begin anew, as in recordings that were paused: decoders
    stop there, so it is a link of its own."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._over: set[int] = set()

    def begins_anew(self, page: Page) -> bool:
        if page.flags & _FIRST:
            return False
        return page.serial in self._over or 0 <= page.granule < self._last.get(page.serial, 0)

    def see(self, page: Page) -> None:
        if page.granule >= 0:
            self._last[page.serial] = page.granule
        self._over.discard(page.serial)
        if page.flags & _LAST:
            self._over.add(page.serial)


def _header(source: ByteSource, link: list[Page]) -> bytes:
    """The pages before the first with audio: their position is 0 (RFC 7845, section 3), or none where a packet is
    longer than its page."""
    first = next((page for page in link if page.granule > 0), link[-1])
    return source.at(link[0].start, first.start - link[0].start)


def _faults(link: list[Page], *, is_over: bool) -> Iterator[str]:
    """`is_over`: it does not go on behind these pages."""
    following: dict[int, int] = {}
    lost, over = 0, set()
    for page in link:
        expected = following.get(page.serial, page.sequence)
        lost += max(page.sequence - expected, 0)
        following[page.serial] = page.sequence + 1
        if page.flags & _LAST:
            over.add(page.serial)
    if len(link) > _HEADER_PAGES and all(page.granule <= 0 for page in link):
        yield "has no positions in its pages: its end may not have been heard"
    if lost:
        yield f"lacks {lost} pages in the middle: what they held is lost"
    if is_over and set(following) - over:
        yield "is cut short or was never finished: its last page is missing; copy it anew if there is more"
