"""RTCP (RFC 3550, section 6): sender and receiver reports, descriptions, goodbye.

Reading is tolerant: what a compound packet holds up to its first error is used, other packet types are skipped, the
error is counted. Writing follows section 6.1: a report first, then the description with the CNAME.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from connectors.rtp.errors import MalformedRtcp

CNAME = 1
_HEADER = struct.Struct("!BBH")
_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")
_LOST_LIMIT = 0x7FFFFF


class RtcpType(IntEnum):
    SENDER_REPORT = 200
    RECEIVER_REPORT = 201
    SOURCE_DESCRIPTION = 202
    GOODBYE = 203


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """Reception of one source (section 6.4.1). `fraction_lost`: of 256. `lost`: 24 bits, negative with duplicates.
    `jitter`: timestamp units. `last_sr`: middle 32 bits of the NTP time of the last SR; `delay_since_sr`: 1/65,536 s;
    both 0 where there was none."""

    ssrc: int
    fraction_lost: int = 0
    lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_sr: int = 0
    delay_since_sr: int = 0


@dataclass(frozen=True, slots=True)
class SenderReport:
    """`ntp`: 64-bit NTP time of `rtp_timestamp`."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """`chunks`: a source with its items, each a type (1 is the CNAME) and a text in UTF-8."""

    chunks: tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    sources: tuple[int, ...]
    reason: bytes = b""


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye


def parse_compound(data: bytes) -> tuple[list[RtcpPacket], MalformedRtcp | None]:
    """The packets of a datagram, and what is wrong with the rest of it. Never raises."""
    packets: list[RtcpPacket] = []
    if not data:
        return packets, MalformedRtcp("empty datagram")
    at = 0
    try:
        while at < len(data):
            at = _parse_one(data, at, packets)
    except MalformedRtcp as error:
        return packets, error
    return packets, None


def _parse_one(data: bytes, at: int, packets: list[RtcpPacket]) -> int:
    """Add the packet at `at`; returns where the next one begins."""
    if at + 4 > len(data):
        raise MalformedRtcp("RTCP header is cut off")
    flags, kind, words = _HEADER.unpack_from(data, at)
    end: int = at + 4 * (words + 1)
    if flags >> 6 != 2:
        raise MalformedRtcp(f"RTCP version {flags >> 6}")
    if end > len(data):
        raise MalformedRtcp("RTCP length reaches past the end")
    body, count = data[at + 4 : end], flags & 0x1F
    if flags & 0x20:  # padding, allowed in the last packet of a compound
        padding = body[-1] if body else 0
        if not 0 < padding <= len(body) or padding % 4:
            raise MalformedRtcp("RTCP padding does not fit the packet")
        body = body[:-padding]
    match kind:
        case RtcpType.SENDER_REPORT:
            if len(body) < 24:
                raise MalformedRtcp("sender report is cut off")
            ssrc, ntp, timestamp, sent, octets = _SENDER.unpack_from(body)
            packets.append(SenderReport(ssrc, ntp, timestamp, sent, octets, _blocks(body[24:], count)))
        case RtcpType.RECEIVER_REPORT:
            if len(body) < 4:
                raise MalformedRtcp("receiver report is cut off")
            packets.append(ReceiverReport(int.from_bytes(body[:4], "big"), _blocks(body[4:], count)))
        case RtcpType.SOURCE_DESCRIPTION:
            packets.append(SourceDescription(tuple(_chunks(body, count))))
        case RtcpType.GOODBYE:
            packets.append(_goodbye(body, count))
        case _:
            pass
    return end


def _blocks(body: bytes, count: int) -> tuple[ReportBlock, ...]:
    if len(body) < 24 * count:
        raise MalformedRtcp("report blocks are cut off")
    blocks = []
    for index in range(count):
        ssrc, loss, *rest = _BLOCK.unpack_from(body, 24 * index)
        lost = loss & 0xFFFFFF
        blocks.append(ReportBlock(ssrc, loss >> 24, lost - 0x1000000 if lost > _LOST_LIMIT else lost, *rest))
    return tuple(blocks)


def _chunks(body: bytes, count: int) -> Iterable[tuple[int, tuple[tuple[int, bytes], ...]]]:
    """Section 6.5: items up to a null octet, then padding to a word."""
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            raise MalformedRtcp("source description is cut off")
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        items = []
        while at < len(body) and body[at]:
            size = body[at + 1] if at + 1 < len(body) else len(body)
            if at + 2 + size > len(body):
                raise MalformedRtcp("description item reaches past the end")
            items.append((body[at], body[at + 2 : at + 2 + size]))
            at += 2 + size
        at += 4 - at % 4
        yield ssrc, tuple(items)


def _goodbye(body: bytes, count: int) -> Goodbye:
    if len(body) < 4 * count:
        raise MalformedRtcp("sources of the goodbye are cut off")
    reason = b""
    if len(body) > 4 * count:
        size = body[4 * count]
        reason = body[4 * count + 1 : 4 * count + 1 + size]
        if len(reason) != size:
            raise MalformedRtcp("reason of the goodbye reaches past the end")
    return Goodbye(struct.unpack_from(f"!{count}I", body), reason)


def encode_compound(packets: Sequence[RtcpPacket]) -> bytes:
    """The packets of one datagram, in their order."""
    return b"".join(_encode(packet) for packet in packets)


def _encode(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport(ssrc, ntp, timestamp, sent, octets, blocks):
            body = _SENDER.pack(ssrc, ntp, timestamp, sent, octets) + _encode_blocks(blocks)
            return _packet(RtcpType.SENDER_REPORT, len(blocks), body)
        case ReceiverReport(ssrc, blocks):
            body = ssrc.to_bytes(4, "big") + _encode_blocks(blocks)
            return _packet(RtcpType.RECEIVER_REPORT, len(blocks), body)
        case SourceDescription(chunks):
            body = b"".join(_encode_chunk(ssrc, items) for ssrc, items in chunks)
            return _packet(RtcpType.SOURCE_DESCRIPTION, len(chunks), body)
        case Goodbye(sources, reason):
            body = struct.pack(f"!{len(sources)}I", *sources)
            if reason:
                body += bytes([len(reason)]) + reason
            return _packet(RtcpType.GOODBYE, len(sources), body + bytes(-len(body) % 4))


def _encode_blocks(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | max(min(block.lost, _LOST_LIMIT), -_LOST_LIMIT - 1) & 0xFFFFFF,
            block.highest_sequence & 0xFFFFFFFF,
            min(block.jitter, 0xFFFFFFFF),
            block.last_sr,
            min(block.delay_since_sr, 0xFFFFFFFF),
        )
        for block in blocks
    )


def _encode_chunk(ssrc: int, items: Sequence[tuple[int, bytes]]) -> bytes:
    chunk = ssrc.to_bytes(4, "big") + b"".join(bytes([kind, len(text)]) + text for kind, text in items)
    return chunk + bytes(4 - len(chunk) % 4)


def _packet(kind: RtcpType, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body
