"""RTP packets (RFC 3550, section 5): fixed header, contributing sources, extension, padding.

First stage of a leg: datagram -> [SRTP] -> this -> source -> sequence -> jitter buffer. Packets in
order with a bare header of 12 octets do not come here (`in_order.InOrderState.receive_next`).
"""

import struct
from dataclasses import dataclass

from connectors.rtp.errors import MalformedRtp

HEADER = struct.Struct("!BBHII")
"""Flags, marker and payload type, sequence number, timestamp, SSRC."""

HEADER_SIZE = HEADER.size
PLAIN = 0x80
"""First octet of a packet of version 2 without padding, extension and contributing sources."""

_EXTENSION = struct.Struct("!HH")
_PADDING, _EXTENDED = 0x20, 0x10


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram on a shared port is RTCP: its type lies in 192-223 (RFC 5761, section 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


@dataclass(frozen=True, slots=True)
class Extension:
    """Header extension (section 5.3.1). `data`: whole 32-bit words."""

    profile: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """`timestamp`: in the clock of the payload type. `padding`: octets of padding, their count octet included."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    csrc: tuple[int, ...] = ()
    extension: Extension | None = None
    padding: int = 0

    @classmethod
    def parse(cls, data: bytes) -> "RtpPacket":
        """Raises `MalformedRtp`."""
        size = len(data)
        if size < HEADER_SIZE:
            raise MalformedRtp(f"{size} octets are shorter than the RTP header")
        flags, kind, sequence, timestamp, ssrc = HEADER.unpack_from(data)
        if flags >> 6 != 2:
            raise MalformedRtp(f"RTP version {flags >> 6}")
        at = HEADER_SIZE
        csrc: tuple[int, ...] = ()
        if count := flags & 0x0F:
            if at + 4 * count > size:
                raise MalformedRtp("contributing sources reach past the end")
            csrc = struct.unpack_from(f"!{count}I", data, at)
            at += 4 * count
        extension = None
        if flags & _EXTENDED:
            if at + 4 > size:
                raise MalformedRtp("header extension is cut off")
            profile, words = _EXTENSION.unpack_from(data, at)
            at += 4
            if at + 4 * words > size:
                raise MalformedRtp("header extension reaches past the end")
            extension = Extension(profile, data[at : at + 4 * words])
            at += 4 * words
        padding = 0
        if flags & _PADDING:
            padding = data[-1] if at < size else 0
            if not 0 < padding <= size - at:
                raise MalformedRtp("padding does not fit the packet")
        payload = data[at : size - padding]
        return cls(kind & 0x7F, sequence, timestamp, ssrc, payload, kind >= 0x80, csrc, extension, padding)

    def encode(self) -> bytes:
        """The packet on the wire. Raises `ValueError` where a field does not fit its header."""
        flags = PLAIN | len(self.csrc)
        tail = b""
        if self.extension is not None:
            words, remainder = divmod(len(self.extension.data), 4)
            if remainder or words > 0xFFFF:
                raise ValueError("an extension has whole words, 65,535 at most")
            flags |= _EXTENDED
            tail = _EXTENSION.pack(self.extension.profile, words) + self.extension.data
        padding = b""
        if self.padding:
            flags |= _PADDING
            padding = bytes(self.padding - 1) + bytes([self.padding])
        if len(self.csrc) > 15 or not 0 <= self.payload_type <= 127:
            raise ValueError("at most 15 contributing sources, payload types 0-127")
        kind = self.payload_type | (0x80 if self.marker else 0)
        header = HEADER.pack(flags, kind, self.sequence, self.timestamp, self.ssrc)
        return header + struct.pack(f"!{len(self.csrc)}I", *self.csrc) + tail + self.payload + padding
