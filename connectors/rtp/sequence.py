"""Sequence numbers without their wrap, and which of them cannot belong to a running stream (RFC 3550, appendix A.1)."""

MAX_DROPOUT = 3_000
"""A larger step forward is another stream, not a gap: a minute of 20 ms packets."""

MAX_MISORDER = 100
"""A packet this far behind is another stream, not a late one: two seconds of 20 ms packets."""

_CYCLE = 0x10000


def extend(sequence: int, highest: int) -> int | None:
    """The extended number of `sequence`, given the highest extended one so far; None where it is out of reach, which
    a source that began anew shows (`latching.Probation` waits for a second such packet)."""
    ahead = (sequence - highest) % _CYCLE
    if ahead < MAX_DROPOUT:
        return highest + ahead
    if ahead > _CYCLE - MAX_MISORDER:
        return highest + ahead - _CYCLE
    return None


def first_extended(sequence: int, highest: int | None) -> int:
    """The extended number with which a stream begins, above all of the stream before it (`highest`). One cycle up, so
    that a packet of before the first one has a number too."""
    cycles = 1 if highest is None else (highest >> 16) + 1
    return cycles * _CYCLE + sequence


def step(earlier: int, later: int) -> int:
    """Signed distance between two 32-bit timestamps or, scaled, anything else that wraps there."""
    return (later - earlier + 0x80000000) % 0x100000000 - 0x80000000
