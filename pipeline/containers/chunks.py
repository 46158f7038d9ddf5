"""Files made of chunks, each with an id and its size: WAV (RIFF, RIFX, RF64, BW64), Wave64, AIFF and CAF.

A recorder writes the sizes when it stops. One that was killed, or that writes into a pipe, leaves a placeholder,
nothing or the state of some minutes ago, and a copy that broke off leaves sizes that are too large. So three lengths
are compared: what the audio chunk declares, what the file holds after it, and whether what follows the declared end is
chunks (then the header is right) or not (then it is audio that the header does not know of yet).

Sources: Multimedia Programming Interface 1.0 (RIFF), EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), Sony's Wave64, Apple's
AIFF-C and Core Audio Format specifications.
"""

import struct
from dataclasses import dataclass, replace

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part, continued, cut_short, seconds, unfinished

PLACEHOLDER = 0x7FFF_0000
"""Sizes from here on, where the file is smaller, say "until the end": 0xFFFFFFFF (ffmpeg), 0x7FFFF000 (sox), 0x80000000
(arecord). Of real recordings only those within 64 kB of 2 GiB, and beyond it, are this large."""

_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_TAGS = b"TAG", b"ID3", b"APET", b"LYRI", b"3DI"
_SMALL = 4  # bytes behind the end: a pad byte or two written wrongly are no audio
_MOST_CHUNKS = 10_000
_LARGEST_FORMAT = 1024
_SEARCHED = 4 << 20


@dataclass(frozen=True, slots=True)
class Dialect:
    """How chunks are written. `size`: struct format of the size; `counts_header`: it includes id and size; `multiple`:
    chunks begin at multiples of it; `first`: offset of the first chunk; `preface`: bytes of the audio chunk before the
    audio; `id_bytes`."""

    audio: bytes
    size: str
    first: int
    id_bytes: int = 4
    counts_header: bool = False
    multiple: int = 2
    preface: int = 0

    @property
    def header(self) -> int:
        return self.id_bytes + struct.calcsize(self.size)


_RIFF = Dialect(b"data", "<I", 12)
_RIFX = Dialect(b"data", ">I", 12)
_AIFF = Dialect(b"SSND", ">I", 12, preface=8)
_CAF = Dialect(b"data", ">q", 8, multiple=1, preface=4)
_W64 = Dialect(b"data" + _W64_TAIL, "<Q", 40, id_bytes=16, counts_header=True, multiple=8)


def dialect_of(head: bytes) -> Dialect | None:
    """That of a file which begins with `head` (40 bytes); None for every other file."""
    if head[8:12] == b"WAVE":
        if head[:4] in (b"RIFF", b"RF64", b"BW64"):
            return _RIFF
        return _RIFX if head[:4] == b"RIFX" else None
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _AIFF
    if head[:4] == b"caff":
        return _CAF
    return _W64 if head[:4] == b"riff" and head[24:28] == b"wave" and head[28:40] == _W64_TAIL else None


@dataclass(frozen=True, slots=True)
class Chunk:
    """`start`: of its id; `body`: of its content; `size`: of its content as declared."""

    id: bytes
    start: int
    body: int
    size: int

    def next(self, dialect: Dialect, origin: int) -> int:
        end = self.body + self.size - origin
        return origin + end + -end % dialect.multiple


def _chunk(source: ByteSource, dialect: Dialect, start: int) -> Chunk | None:
    raw = source.at(start, dialect.header)
    if len(raw) < dialect.header:
        return None
    size = struct.unpack(dialect.size, raw[dialect.id_bytes :])[0]
    if dialect.counts_header:
        size -= dialect.header
    return Chunk(raw[: dialect.id_bytes], start, start + dialect.header, size)


def _printable(chunk_id: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in chunk_id[:4])


class _Layout:
    """The chunks of the file that begins at `start`, up to and with the audio's."""

    def __init__(self, source: ByteSource, dialect: Dialect, start: int) -> None:
        self.chunks: dict[bytes, Chunk] = {}
        self.audio: Chunk | None = None
        position = start + dialect.first
        for _ in range(_MOST_CHUNKS):
            chunk = _chunk(source, dialect, position)
            if chunk is None:
                return
            if chunk.id == dialect.audio:
                self.audio = chunk
                return
            if not _printable(chunk.id) or chunk.size < 0:
                return
            self.chunks.setdefault(chunk.id[:4], chunk)
            position = chunk.next(dialect, start)


def survey_chunks(source: ByteSource, start: int) -> tuple[Part, ...]:
    """The file that begins at `start`, up to where it ends by its own account: a part for each chunk of audio, of which
    files have one by all specifications. Nothing where it is not one of these or no audio is found, which is left to
    the decoder."""
    dialect = dialect_of(source.at(start, 40))
    if dialect is None:
        return ()
    layout = _Layout(source, dialect, start)
    if layout.audio is None:
        lost = _lost_audio(source, dialect, start, layout) if dialect in (_RIFF, _RIFX) else None
        return (lost,) if lost is not None else ()
    return _Comparison(source, dialect, start, layout).parts()


def _lost_audio(source: ByteSource, dialect: Dialect, start: int, layout: _Layout) -> Part | None:
    """The audio of a WAV file in which a chunk before it has another size than it says, or an odd one no pad byte: by
    the name of its chunk, behind that of the format."""
    fmt = layout.chunks.get(b"fmt ")
    if fmt is None or not 16 <= fmt.size <= _LARGEST_FORMAT:
        return None
    end = min(source.size, start + _SEARCHED)
    position = source.find(dialect.audio, fmt.body + fmt.size, end)
    while position >= 0:
        chunk = _chunk(source, dialect, position)
        if chunk is not None and (chunk.body + chunk.size <= source.size or chunk.size >= PLACEHOLDER):
            length = min(chunk.size, source.size - chunk.body)
            header = source.at(start, 12) + source.at(fmt.start, fmt.body + fmt.size - fmt.start)
            header += bytes(len(header) % 2) + dialect.audio + struct.pack(dialect.size, length)
            fault = f"has a damaged header: what was taken for its audio begins at byte {chunk.body:,}"
            return Part(chunk.body, length, {}, (fault,), header)
        position = source.find(dialect.audio, position + 1, end)
    return None


class _Comparison:
    """Of the audio chunk's declared size with what the file holds."""

    def __init__(self, source: ByteSource, dialect: Dialect, start: int, layout: _Layout) -> None:
        assert layout.audio is not None
        self._source = source
        self._dialect = dialect
        self._start = start
        self._layout = layout
        self._chunk = layout.audio
        self._audio = layout.audio.body + dialect.preface
        self._ds64 = layout.chunks.get(b"ds64") if dialect is _RIFF else None
        self._held = max(source.size - self._audio, 0)
        self._others: list[Chunk] = []  # of audio, behind the first

    def parts(self) -> tuple[Part, ...]:
        """More than one where the file has several chunks of audio: decoders stop at the end of the first."""
        whole = self._part()
        if not self._others:
            return (whole,)
        found = []
        if self._declared():
            found.append(replace(whole, length=self._others[0].start - self._start))
        header = bytearray(self._source.at(self._start, self._audio - self._start))
        field = self._chunk.start + self._dialect.id_bytes - self._start
        ends = [*(chunk.start for chunk in self._others[1:]), whole.end]
        for chunk, end in zip(self._others, ends, strict=True):
            header[field : self._chunk.body - self._start] = struct.pack(self._dialect.size, chunk.size)
            found.append(Part(chunk.body, end - chunk.body, {}, (), bytes(header)))
        return tuple(found)

    def _part(self) -> Part:
        declared, held = self._declared(), self._held
        if declared is None or (declared >= PLACEHOLDER and declared > held):
            return self._to_the_end(())
        if declared > held:
            missing = declared - held >= max(self._frame_bytes(), 2)
            fault = cut_short(held, declared, self._format()[1])
            return self._to_the_end((fault,) if missing else ())
        end = self._audio + declared
        rest = self._remainder(end)
        if rest is not None:
            return Part(self._start, rest - self._start)
        if declared <= 0:
            return self._to_the_end((unfinished(self._length(held)),))
        return self._to_the_end((continued(self._length(declared), self._length(held)),))

    def _declared(self) -> int | None:
        """Bytes of audio; None: until the end."""
        size = self._chunk.size
        if self._dialect is _CAF and size < 0:
            return None
        if self._ds64 is not None and size == 0xFFFFFFFF:
            size = struct.unpack("<Q", self._source.at(self._ds64.body + 8, 8).ljust(8, b"\0"))[0]
        return max(size - self._dialect.preface, 0)

    def _remainder(self, end: int) -> int | None:
        """Where the file that has its audio up to `end` stops, all its chunks behind it included; None where what
        follows is no chunk, and so may be audio."""
        source, dialect = self._source, self._dialect
        for position in dict.fromkeys((end + (self._start - end) % dialect.multiple, end)):
            at = position
            self._others.clear()
            while True:
                if source.size - at <= _SMALL:
                    return source.size
                head = source.at(at, 40)
                if dialect_of(head) is not None:
                    return at
                if head.startswith(_TAGS):
                    return source.size
                chunk = _chunk(source, dialect, at)
                if chunk is None or not _printable(chunk.id) or chunk.size < 0 or chunk.body + chunk.size > source.size:
                    break
                if chunk.id == dialect.audio and chunk.size and dialect in (_RIFF, _RIFX):
                    self._others.append(chunk)
                at = chunk.next(dialect, self._start)
        self._others.clear()
        if end > self._audio and source.is_zero(end, source.size):
            return source.size
        return None

    def _to_the_end(self, faults: tuple[str, ...]) -> Part:
        """All that the file holds is audio, and the header is made to say so."""
        patches: dict[int, bytes] = {}
        held = self._held
        size = held + self._dialect.preface + (self._dialect.header if self._dialect.counts_header else 0)
        narrow = self._dialect.size in ("<I", ">I")
        field = self._chunk.start + self._dialect.id_bytes - self._start
        if self._ds64 is not None and self._chunk.size == 0xFFFFFFFF:
            patches[self._ds64.body + 8 - self._start] = struct.pack("<Q", held)
        else:
            patches[field] = struct.pack(self._dialect.size, min(size, 0xFFFFFFFF) if narrow else size)
        common = self._layout.chunks.get(b"COMM")
        if common is not None and (frame := self._frame_bytes()):
            patches[common.body + 2 - self._start] = struct.pack(">I", min(held // frame, 0xFFFFFFFF))
        return Part(self._start, self._source.size - self._start, patches, faults)

    def _frame_bytes(self) -> int:
        """Bytes of a frame (of a block, for codecs that have some)."""
        return self._format()[0]

    def _length(self, size: int) -> str:
        rate = self._format()[1]
        return seconds(size / rate) if rate else f"{size:,} bytes"

    def _format(self) -> tuple[int, float]:
        """(bytes of a frame or block, bytes a second); zeros where they are unknown."""
        chunks, source = self._layout.chunks, self._source
        if (common := chunks.get(b"COMM")) is not None and self._dialect is _AIFF:
            return _aiff_format(source.at(common.body, min(common.size, 26)))
        if (desc := chunks.get(b"desc")) is not None and self._dialect is _CAF:
            return _caf_format(source.at(desc.body, 32))
        raw = source.at(chunk.body, 16) if (chunk := chunks.get(b"fmt ")) is not None else b""
        if len(raw) < 16:
            return 0, 0.0
        order = ">" if self._dialect is _RIFX else "<"
        tag, channels, rate, byte_rate, block, bits = struct.unpack(order + "HHIIHH", raw)
        if tag in (1, 3, 6, 7, 0xFFFE) and bits:  # each frame stands by itself: its own fields say more than the sum
            block = block or channels * ((bits + 7) // 8)
            byte_rate = rate * block
        return block, float(byte_rate)


def _aiff_format(raw: bytes) -> tuple[int, float]:
    if len(raw) < 18:
        return 0, 0.0
    channels, _, bits, exponent, mantissa = struct.unpack(">HIHHQ", raw[:18])
    if len(raw) >= 22 and raw[18:22] not in (b"NONE", b"twos", b"sowt", b"raw ", b"fl32", b"FL32", b"in24", b"in32"):
        if raw[18:22].lower() not in (b"ulaw", b"alaw"):
            return 0, 0.0
        bits = 8
    rate = mantissa / 2.0 ** (16383 + 63 - (exponent & 0x7FFF)) if exponent else 0.0  # IEEE 754 extended
    frame = channels * ((bits + 7) // 8)
    return frame, frame * rate


def _caf_format(raw: bytes) -> tuple[int, float]:
    if len(raw) < 32:
        return 0, 0.0
    rate, _, _, packet, frames, _, _ = struct.unpack(">d4sIIIII", raw)
    return packet, packet * rate / frames if frames else 0.0
