"""How long a packet's audio is, in units of its RTP timestamp, without decoding it."""

from connectors.sdp.rtp_codec import RtpCodec

BYTEWISE = frozenset({"PCMU", "PCMA", "G722"})
"""One octet is one unit of the clock; with G.722 this is two samples (RFC 3551, section 4.5.2)."""

_MAX_OPUS = 5_760  # 120 ms (RFC 6716, section 3.2.5)


def duration(codec: RtpCodec, payload: bytes) -> int:
    """0 for a payload that holds no audio of this codec."""
    if codec.name in BYTEWISE:
        return len(payload)
    if codec.name == "OPUS":
        return _opus(payload)
    return len(payload) // (2 * codec.channels)


def _opus(payload: bytes) -> int:
    """From the table-of-contents octet (RFC 6716, section 3.1); the clock is always 48 kHz."""
    if not payload:
        return 0
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]  # SILK
    elif config < 16:
        frame = (480, 960)[config & 1]  # hybrid
    else:
        frame = (120, 240, 480, 960)[config & 3]  # CELT
    counted = payload[1] & 0x3F if len(payload) > 1 else 0
    total = frame * (1, 2, 2, counted)[code]
    return total if total <= _MAX_OPUS else 0
