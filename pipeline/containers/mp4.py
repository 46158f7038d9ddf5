"""MP4, QuickTime and 3GP: boxes with their sizes (ISO/IEC 14496-12, section 4.2). Without its `moov`, which many
recorders write last, a file cannot be decoded."""

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part

_MOST_BOXES = 100_000


def survey_mp4(source: ByteSource, start: int) -> tuple[Part, ...]:
    """A part for each of several files that were put together (FFmpeg reads the first); faults where one is cut
    short."""
    parts: list[Part] = []
    while start < source.size and (not parts or parts[-1].length):
        parts.append(_file(source, start))
        start = parts[-1].end
    return tuple(parts)


def _file(source: ByteSource, start: int) -> Part:
    """The one that begins at `start`, up to the next."""
    position, index, lacking, end = start, False, 0, source.size
    for _ in range(_MOST_BOXES):
        head = source.at(position, 16)
        if len(head) < 8:
            break
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:  # up to the end of the file
            size = source.size - position
        if size < 8:
            break
        if head[4:8] == b"ftyp" and index:
            end = position
            break
        lacking = max(position + size - source.size, 0)
        index |= head[4:8] in (b"moov", b"moof")
        position += size
    faults = []
    if lacking:
        faults.append(f"is cut short: {lacking:,} bytes that it declares are missing; copy it anew if there is more")
    elif not index:
        faults.append("was never finished: its index (moov) is missing")
    return Part(start, end - start, {}, tuple(faults))
