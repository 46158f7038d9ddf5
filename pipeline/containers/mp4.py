"""MP4, QuickTime and 3GP: boxes with their sizes (ISO/IEC 14496-12, section 4.2). Without its `moov`, which many
recorders write last, a file cannot be decoded."""

from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part

_MOST_BOXES = 100_000


def survey_mp4(source: ByteSource, start: int) -> tuple[Part, ...]:
    """The one part of the file, with the fault that it is cut short where a box says so."""
    position, index, lacking = start, False, 0
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
        lacking = max(position + size - source.size, 0)
        index = index or head[4:8] in (b"moov", b"moof")
        position += size
    faults = []
    if lacking:
        faults.append(f"is cut short: {lacking:,} bytes that it declares are missing; copy it anew if there is more")
    elif not index:
        faults.append("was never finished: its index (moov) is missing")
    return (Part(start, source.size - start, {}, tuple(faults)),)
