"""FLAC: one stream, or several that were put together with `cat` (RFC 9639, section 8.2: STREAMINFO comes first)."""

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part, seconds

MARK = b"fLaC\x00\x00\x00\x22"
LAST_MARK = b"fLaC\x80\x00\x00\x22"
"""The marker with the header of STREAMINFO, whose length is 34: alone, or as the only block of metadata."""

_TOTAL_AT = 21  # its upper four bits belong to the sample size
_TOTAL_BITS = (1 << 36) - 1
_AUDIO_AT = 42  # at the earliest
_TAIL = 1 << 17  # longer than a frame of a recording is


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
    return tuple(_stream(source, first, end) for first, end in zip(starts, ends, strict=True))


def _stream(source: ByteSource, start: int, end: int) -> Part:
    """Decoders stop at the number of samples that STREAMINFO declares: where a frame begins behind it, it is made to
    say "unknown"."""
    info = source.at(start, _AUDIO_AT)
    declared = int.from_bytes(info[_TOTAL_AT : _TOTAL_AT + 5].ljust(5, b"\0"), "big") & _TOTAL_BITS
    last = _last_frame(source, start, end, int.from_bytes(info[8:10], "big")) if declared else None
    if last is None or last < declared:
        return Part(start, end - start)
    rate_hz = int.from_bytes(info[18:21], "big") >> 4
    fault = (
        f"has a header that declares only {seconds(declared / max(rate_hz, 1))}: it was heard to the end of the file"
    )
    patches = {_TOTAL_AT: bytes([info[_TOTAL_AT] & 0xF0, 0, 0, 0, 0])}
    return Part(start, end - start, patches, (fault,))


def _last_frame(source: ByteSource, start: int, end: int, block: int) -> int | None:
    """The first sample of the last frame, by its header (RFC 9639, section 9.1); None where none is found. A header
    counts whose check sum is right and which has rate, channels and sample size of the first."""
    first = _first_header(source, start, end)
    if first is None:
        return None
    begin = max(end - _TAIL, start + _AUDIO_AT)
    tail = source.at(begin, end - begin)
    at = tail.rfind(first[:2])
    while at >= 0:
        raw = tail[at : at + 16]
        if len(raw) == 16 and raw[2] & 15 == first[2] & 15 and raw[3] == first[3]:
            number, length = _coded_number(raw[4:11])
            length += 4 + {6: 1, 7: 2}.get(raw[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(raw[2] & 15, 0)
            if number is not None and _check_sum(raw[:length]) == raw[length]:
                return number if raw[1] & 1 else number * block
        at = tail.rfind(first[:2], 0, at)
    return None


def _first_header(source: ByteSource, start: int, end: int) -> bytes | None:
    """The first four bytes of the first frame, behind the blocks of metadata."""
    position, is_last = start + 4, False
    while not is_last and position < end:
        head = source.at(position, 4).ljust(4, b"\0")
        is_last = bool(head[0] & 0x80)
        position += 4 + int.from_bytes(head[1:], "big")
    raw = source.at(position, 4)
    return raw if len(raw) == 4 and raw[0] == 0xFF and raw[1] & 0xFE == 0xF8 else None


def _coded_number(raw: bytes) -> tuple[int | None, int]:
    """A number coded as UTF-8 codes characters, up to seven bytes, and its length in bytes."""
    length = next((bit for bit in range(8) if not raw[0] << bit & 0x80), 8)
    if length == 0:
        return raw[0], 1
    more = raw[1:length]
    if length in (1, 8) or any(byte & 0xC0 != 0x80 for byte in more):
        return None, length
    number = raw[0] & (0x7F >> length)
    for byte in more:
        number = number << 6 | byte & 0x3F
    return number, length


def _check_sum(raw: bytes) -> int:
    """CRC-8 of 0x07 (RFC 9639, section 9.1.8)."""
    value = 0
    for byte in raw:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
    return value
