"""Sun/NeXT `.au`: one header with the length of all that follows it."""

import struct

from pipeline.containers.chunks import PLACEHOLDER
from pipeline.containers.source import ByteSource
from pipeline.containers.survey import Part, continued, cut_short, seconds, unfinished

_ORDERS = {b".snd": ">", b"dns.": "<"}
_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


def survey_au(source: ByteSource, start: int) -> Part | None:
    """The file that begins at `start`; None where none does."""
    raw = source.at(start, 24)
    order = _ORDERS.get(raw[:4])
    if order is None or len(raw) < 24:
        return None
    offset, declared, encoding, rate, channels = struct.unpack(order + "IIIII", raw[4:])
    held = source.size - start - offset
    frame = _SAMPLE_BYTES.get(encoding, 0) * channels

    def length(size: int) -> str:
        return seconds(size / (frame * rate)) if frame and rate else f"{size:,} bytes"

    def to_the_end(*faults: str) -> Part:
        size = struct.pack(order + "I", min(max(held, 0), 0xFFFFFFFE))
        return Part(start, source.size - start, {8: size}, faults)

    end = start + offset + declared
    if declared > held:
        fault = cut_short(max(held, 0), declared, frame * rate)
        return to_the_end() if declared >= PLACEHOLDER else to_the_end(fault)
    if source.at(end, 4) in _ORDERS or (declared and source.is_zero(end, source.size)):
        return Part(start, end - start)
    if held - declared < max(frame, 1):
        return Part(start, source.size - start)
    return to_the_end(continued(length(declared), length(held)) if declared else unfinished(length(held)))
