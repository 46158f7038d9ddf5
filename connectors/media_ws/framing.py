"""Frames of RFC 6455, section 5.2, as bytes."""

TEXT, CLOSE = 0x81, 8
"""First byte of a whole text message without extensions; opcode of the end."""

MASKED_16, HEAD_16 = 0x80 | 126, 8
"""Second byte of a masked frame whose length has 16 bits; size of its header."""


def frame_length(data: bytes, at: int) -> int | None:
    """Of a frame with its header, which begins at `at`; None where that is not whole."""
    available = len(data) - at
    if available < 2:
        return None
    short = data[at + 1] & 0x7F
    extended = {126: 2, 127: 8}.get(short, 0)
    head = 2 + extended + (4 if data[at + 1] & 0x80 else 0)
    if available < head:
        return None
    return head + (int.from_bytes(data[at + 2 : at + 2 + extended], "big") if extended else short)


def text_frame(text: bytes) -> bytes:
    """Of a server: a whole message, not masked."""
    size = len(text)
    if size < 126:
        return bytes((TEXT, size)) + text
    if size < 0x10000:
        return bytes((TEXT, 126)) + size.to_bytes(2, "big") + text
    return bytes((TEXT, 127)) + size.to_bytes(8, "big") + text
