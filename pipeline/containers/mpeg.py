"""MPEG audio, layers I to III: frames without a container (ISO/IEC 11172-3 and 13818-3, section 2.4).

A frame begins with eleven set bits, which silence and noise have as well. Decoders look for the next such place without
a word, so a file counts as MPEG only where several frames follow each other without a gap, and what lies between frames
further on is counted here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part, cut_short

_BIT_RATES = {  # kbit/s by (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_IN_A_ROW = 4
_LEAST = 2  # a file may be one that holds no more
_ID3V1_BYTES = 128
_COUNTS = 3  # flags of a Xing header: it has a number of frames, and of bytes
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """`size`: bytes of the frame; `samples`: of each channel."""

    size: int
    samples: int
    rate_hz: int
    channels: int
    layer: int


def frame_header(raw: bytes | memoryview) -> FrameHeader | None:
    """That of a frame that begins with these four bytes; None where none can (free format is not known here)."""
    if len(raw) < 4 or raw[0] != 0xFF or raw[1] & 0xE0 != 0xE0:
        return None
    version, layer = raw[1] >> 3 & 3, 4 - (raw[1] >> 1 & 3)
    bit_rate, rate = raw[2] >> 4, raw[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3 or raw[3] & 3 == 2:
        return None
    first = version == 3
    rate_hz = _RATES_HZ[version][rate]
    bits = _BIT_RATES[first, min(layer, 3) if first else min(layer, 2)][bit_rate] * 1000
    samples = {1: 384, 2: 1152, 3: 1152 if first else 576}[layer]
    padding = raw[2] >> 1 & 1
    size = (12 * bits // rate_hz + padding) * 4 if layer == 1 else samples // 8 * bits // rate_hz + padding
    return FrameHeader(size, samples, rate_hz, 1 if raw[3] >> 6 == 3 else 2, layer)


def id3_bytes(source: ByteSource, start: int) -> int:
    """Bytes of the ID3v2 tags that begin at `start`."""
    position = start
    while True:
        raw = source.at(position, 10)
        if len(raw) < 10 or raw[:3] != b"ID3" or any(byte & 0x80 for byte in raw[6:10]):
            return position - start
        size = raw[6] << 21 | raw[7] << 14 | raw[8] << 7 | raw[9]
        position += 10 + size + (10 if raw[5] & 0x10 else 0)


def is_mpeg(source: ByteSource, start: int) -> bool:
    """Whether frames of one kind follow each other from `start` on (zeros behind a tag are passed over)."""
    found, end = _in_a_row(source, _first_frame(source, start))
    return found == _IN_A_ROW or (found >= _LEAST and end >= source.size)


def _in_a_row(source: ByteSource, position: int) -> tuple[int, int]:
    """Frames of one kind from here on, four at most, and where the last one ends."""
    found, kind = 0, None
    while found < _IN_A_ROW:
        header = frame_header(source.at(position, 4))
        if header is None or kind not in (None, (header.rate_hz, header.layer)):
            break
        kind = header.rate_hz, header.layer
        position += header.size
        found += 1
    return found, position


def find_frames(source: ByteSource, start: int, end: int) -> int | None:
    """Where in [start, end) frames of one kind begin to follow each other; None where they do not."""
    for offset in range(start, min(end, source.size), _PIECE):
        piece = source.at(offset, _PIECE)
        at = piece.find(b"\xff")
        while at >= 0:
            if offset + at < end and _in_a_row(source, offset + at)[0] == _IN_A_ROW:
                return offset + at
            at = piece.find(b"\xff", at + 1)
    return None


def _first_frame(source: ByteSource, start: int) -> int:
    raw = source.at(start, 1 << 16)
    return start + len(raw) - len(raw.lstrip(b"\0"))


class _Walk:
    """All frames of a file, counted: one pass, a megabyte at a time."""

    def __init__(self, source: ByteSource, start: int) -> None:
        self.skipped = 0
        self.lacking = 0  # bytes of the last frame
        self._source = source
        self._position = start
        self._piece = b""
        self._at = start

    def __iter__(self) -> Iterator[tuple[int, FrameHeader]]:
        size = self._source.size
        while (position := self._position) < size:
            header = frame_header(self.bytes(position, 4))
            if header is None:
                self._position += self._tag_bytes(position)
                if self._position == position:
                    if self._source.is_zero(position, size):
                        return
                    self._resynchronise()
            elif position + header.size > size:
                self.lacking = position + header.size - size
                return
            else:
                yield position, header
                self._position += header.size

    def bytes(self, offset: int, length: int) -> bytes:
        """As the source has them."""
        if not (self._at <= offset and offset + length <= self._at + len(self._piece)):
            self._piece, self._at = self._source.at(offset, _PIECE), offset
        return self._piece[offset - self._at : offset - self._at + length]

    def _tag_bytes(self, position: int) -> int:
        """Bytes of the tag that begins here, 0 where none does."""
        raw = self.bytes(position, 16)
        if raw.startswith(b"ID3"):
            return id3_bytes(self._source, position)
        if raw.startswith(b"TAG"):
            return min(_ID3V1_BYTES, self._source.size - position)
        if raw.startswith(b"APETAGEX") and len(raw) == 16:
            return min(32 + int.from_bytes(raw[12:16], "little"), self._source.size - position)
        if raw.startswith(b"LYRICSBEGIN"):
            end = self._source.find(b"LYRICS200", position, self._source.size)
            return end + 9 - position if end > 0 else 0
        return 0

    def _resynchronise(self) -> None:
        """To the next two frames in a row."""
        begin = self._position
        while True:
            self._position = self._source.find(b"\xff", self._position + 1, self._source.size)
            if self._position < 0:
                self._position = self._source.size
                break
            header = frame_header(self.bytes(self._position, 4))
            if header is not None and frame_header(self.bytes(self._position + header.size, 4)) is not None:
                break
        self.skipped += self._position - begin


class _Stretch:
    """Frames of one kind, behind at most one frame that declares how many they are."""

    def __init__(self, start: int, header: FrameHeader, declared: int | None) -> None:
        self.start = start
        self.end = start
        self.header = header
        self.declared = declared
        self.frames = 0
        self.held = 0  # frames up to the next declaration

    def goes_on(self, position: int, header: FrameHeader) -> bool:
        """Whether the frame at `position` is the next one of this stretch."""
        return position == self.end and (header.rate_hz, header.channels) == (self.header.rate_hz, self.header.channels)

    def faults(self) -> Iterator[str]:
        header = self.header
        if self.declared is not None and (self.declared - self.held) * header.samples > header.rate_hz:
            yield cut_short(self.held, self.declared, header.rate_hz / header.samples, "frames")

    def part(self, source: ByteSource) -> Part:
        """Libsndfile stops at the number of frames that is declared, and estimates it where none is: so the right one
        is put in."""
        faults, length = tuple(self.faults()), self.end - self.start
        if self.header.layer != 3 or (self.declared is not None and abs(self.declared - self.frames) <= 1):
            return Part(self.start, length, {}, faults)
        at = _declaration_offset(self.header)
        if self.declared is not None:
            counts = {at + 4: struct.pack(">I", _COUNTS | source.at(self.start + at + 7, 1)[0])}
            counts[at + 8] = struct.pack(">II", self.frames, length)
            return Part(self.start, length, counts, faults)
        raw = bytearray(source.at(self.start, 4).ljust(self.header.size, b"\0"))
        raw[1] |= 1  # without a check sum
        raw[at : at + 16] = b"Info" + struct.pack(">III", _COUNTS, self.frames, length + len(raw))
        return Part(self.start, length, {}, faults, bytes(raw))


def survey_mpeg(source: ByteSource, start: int) -> tuple[Part, ...]:
    """A part for each stretch of one rate and number of channels without a gap, and for each of several files that were
    put together."""
    walk = _Walk(source, _first_frame(source, start))
    found: list[_Stretch] = []
    head: _Stretch | None = None
    for position, header in walk:
        declared = _declared_frames(walk.bytes(position, min(header.size, 192)), header)
        if declared is not None or not (found and found[-1].goes_on(position, header)):
            found.append(_Stretch(position, header, declared))
        if declared is not None or head is None:
            head = found[-1]
        head.held += declared is None
        found[-1].frames += declared is None
        found[-1].end = position + header.size
    more = []
    if walk.lacking and not (head is not None and any(head.faults())):
        more.append(f"is cut short: its last frame lacks {walk.lacking:,} bytes; copy it anew if there is more")
    if walk.skipped:
        more.append(f"is damaged: {walk.skipped:,} bytes between its frames are no MPEG audio and were skipped")
    parts = [one.part(source) for one in found if one.frames]
    if parts:
        parts[-1] = replace(parts[-1], faults=(*parts[-1].faults, *more))
    return tuple(parts)


def _declaration_offset(header: FrameHeader) -> int:
    """Of a Xing or Info header in its frame: behind the side information."""
    return 4 + ((17, 32) if header.samples == 1152 else (9, 17))[header.channels - 1]


def _declared_frames(frame: bytes, header: FrameHeader) -> int | None:
    """Frames that follow, as a Xing or Info header says; None where the frame is none or does not say."""
    at = _declaration_offset(header)
    if header.layer != 3 or frame[at : at + 4] not in (b"Xing", b"Info") or len(frame) < at + 16:
        return None
    flags, count = struct.unpack(">II", frame[at + 4 : at + 12])
    return int(count) if flags & _COUNTS == _COUNTS else None
