"""Lengths that the headers of small formats declare, for those where libsndfile goes by the file's size in silence."""

import re
import struct

from pipeline.containers.source import ByteSource

_NIST = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)


def declared_frames(source: ByteSource, name: str) -> int | None:
    """Frames of a file of the format `name` (as `Format.name`) by its header; None where it does not say."""
    if name == "AVR":  # mono or stereo at 10, number of frames at 26
        return int(struct.unpack(">I", source.at(26, 4).ljust(4, b"\0"))[0])
    if name == "MPC 2000":
        return int(struct.unpack("<I", source.at(30, 4).ljust(4, b"\0"))[0]) + 1
    if name == "NIST Sphere":
        found = _NIST.search(source.at(0, 4096))
        return int(found[1]) if found else None
    return None
