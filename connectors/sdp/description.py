"""Session descriptions (RFC 8866): what a peer offers or answers, read tolerantly and written strictly.

Sits between the SIP body and `connectors.sdp.offer_answer`. What media lines inherit from the session level (address,
direction) is put into each of them, so that nobody looks in two places. A line that is written wrongly and has one
plain meaning is taken (`mended`), one that makes no sense is left out (`ignored`), and both are counted; only a
description that cannot be answered line by line is refused, with `SdpError`.
"""

import codecs as encodings
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connectors.errors import ConnectorError
from connectors.sdp.media_lines import Attribute, AudioMedia, Direction, MediaLine, OtherMedia
from connectors.sdp.rtp_codec import STRICT_MAP, RtpCodec, codec, fmtp_value, number, rtpmap_value
from connectors.sdp.sdes import Crypto, crypto_value, parse_crypto

__all__ = [
    "Attribute",
    "AudioMedia",
    "Crypto",
    "Direction",
    "MediaLine",
    "Origin",
    "OtherMedia",
    "RtpCodec",
    "SdpError",
    "SessionDescription",
    "encode",
    "parse",
]

MAX_BYTES = 65_536
MAX_LINES = 2_000
MAX_MEDIA = 64
MAX_CRYPTO = 32
"""Lines of `a=crypto` of one media line that are kept."""


class SdpError(ConnectorError, ValueError):
    """The text is no session description that can be answered; the message is one line, without its content."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The `o=` line. `version` counts the changes of a description (RFC 3264, section 8)."""

    username: str = "-"
    session_id: str = "0"
    version: int = 0
    address: str = "0.0.0.0"  # noqa: S104 - the null address of SDP


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """`ignored`: malformed lines that were left out; `mended`: those that were taken all the same."""

    origin: Origin = field(default_factory=Origin)
    address: str | None = None
    media: tuple[MediaLine, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    ignored: int = field(default=0, compare=False)
    mended: int = field(default=0, compare=False)

    @property
    def audio(self) -> list[tuple[int, AudioMedia]]:
        """The audio lines that are in use, with their place among all media lines."""
        return [
            (index, media) for index, media in enumerate(self.media) if isinstance(media, AudioMedia) and media.port
        ]


@dataclass(slots=True)
class _Section:
    """The session level, or one media line with what follows it."""

    media: str | None = None
    address: str | None = None
    attributes: list[Attribute] = field(default_factory=list)


_WHITE_SPACE = str.maketrans(dict.fromkeys("\t\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000", " "))
_WHITE_SPACE |= dict.fromkeys(range(0x2000, 0x200B), " ")
_WHITE_SPACE |= dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF), "")
"""White space of other kinds than SDP has, and characters that show nothing, byte-order marks among them."""


class _Lines:
    """Sorts the lines of one description into its sections."""

    def __init__(self) -> None:
        self.sections = [_Section()]
        self.version: str | None = None
        self.origin = Origin()
        self.name = "-"
        self.ignored = 0
        self.mended = 0

    def take(self, row: str) -> None:
        line = row.translate(_WHITE_SPACE).strip()
        written, equals, value = line.partition("=")
        kind, value = written.strip().lower(), value.strip()
        if not kind and not equals:
            return
        if len(kind) != 1 or not equals:
            self.ignored += 1
            return
        odd = row.rstrip(" ") != line or "  " in value
        self.mended += not row.startswith(f"{kind}=") or (odd and kind in "vcma")
        if kind == "v":
            self.version = self.version or value
        elif kind == "s":
            self.name = value or "-"
        elif kind == "m":
            self.sections.append(_Section(value))
            if len(self.sections) > MAX_MEDIA + 1:
                raise SdpError(f"the description has more than {MAX_MEDIA} media lines")
        else:
            self._take_detail(kind, value)

    def _take_detail(self, kind: str, value: str) -> None:
        if kind == "o":
            origin = _origin(value)
            self.origin = origin or self.origin
            self.ignored += origin is None
        elif kind == "c":
            address = _connection(value)
            self.sections[-1].address = address or self.sections[-1].address
            self.ignored += address is None
            self.mended += address is not None and _STRICT_CONNECTION.fullmatch(value) is None
        elif kind == "a":
            name, colon, detail = value.partition(":")
            name, space, value = name.strip().partition(" ")
            if space:  # 'rtpmap 0 PCMU/8000': no name has a space
                colon, detail = ":", value.strip() + colon + detail
                self.mended += 1
            self.mended += name[-1:] in {";", ","}  # no name ends so
            name = name.rstrip(";,")
            if name:
                self.sections[-1].attributes.append(Attribute(name, detail.strip() if colon else None))
            else:
                self.ignored += 1


def parse(data: bytes | str) -> SessionDescription:
    """Read a description, its lines ending in CRLF, LF or CR. Raises `SdpError`.

    Required are `v=0` and well-formed `m=` lines of audio; everything else may be missing or in any order.
    """
    if len(data) > MAX_BYTES:
        raise SdpError(f"the description is longer than {MAX_BYTES} bytes")
    text = _decoded(data) if isinstance(data, bytes) else data
    rows = re.split(r"\r\n|\n|\r", text.replace("\0", ""))
    if len(rows) > MAX_LINES:
        raise SdpError(f"the description has more than {MAX_LINES} lines")
    lines = _Lines()
    for row in rows:
        lines.take(row)
    if lines.version is None or number(lines.version.split(" ")[0], 0) is None:
        raise SdpError("the description has no line v=0")
    session, *sections = lines.sections
    direction = _direction(session.attributes) or Direction.SENDRECV
    media: list[MediaLine] = []
    for section in sections:
        media.append(
            _MediaLineReader(lines, section, session.attributes).read(section.address or session.address, direction)
        )
    attributes = tuple(item for item in session.attributes if item.name.lower() not in _DIRECTIONS)
    return SessionDescription(
        lines.origin, session.address, tuple(media), attributes, lines.name, lines.ignored, lines.mended
    )


def _decoded(data: bytes) -> str:
    """UTF-8 (RFC 8866, section 4), or what a byte-order mark says; a no-break space of Latin-1 is one, too."""
    if data.startswith((encodings.BOM_UTF16_LE, encodings.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return re.sub(rb"(?<![\x80-\xff])\xa0(?![\x80-\xff])", b" ", data).decode("utf-8", "replace")


_DIRECTIONS: Mapping[str, Direction] = {direction.value: direction for direction in Direction}


def _direction(attributes: list[Attribute]) -> Direction | None:
    found = [_DIRECTIONS[item.name.lower()] for item in attributes if item.name.lower() in _DIRECTIONS]
    return found[-1] if found else None


def _origin(value: str) -> Origin | None:
    """A user name with spaces is one all the same."""
    parts = value.split()
    if len(parts) < 6 or parts[-3].upper() != "IN":
        return None if len(parts) != 6 else Origin(parts[0], parts[1], number(parts[2], 2**64 - 1) or 0, parts[5])
    return Origin("-".join(parts[:-5]), parts[-5], number(parts[-4], 2**64 - 1) or 0, parts[-1])


_STRICT_CONNECTION = re.compile(r"IN IP[46] [^\s\[\]]+")


def _connection(value: str) -> str | None:
    """'IN IP4 address[/ttl[/count]]'. The address says by itself of which kind it is: one in brackets, without its kind
    or under the wrong one is taken; an IPv4 address written as one of IPv6 is that IPv4 address."""
    fields = value.split()
    parts = [part for part in fields if part.upper() not in _NETWORK_WORDS]
    text = parts[0].split("/")[0].strip("[]<>,;") if parts else ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # the name of a host, in full form only
        known = len(fields) >= 3 and fields[0].upper() == "IN" and fields[1].upper() in _NETWORK_WORDS
        return (text or None) if known else None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return text if mapped is None else str(mapped)


_NETWORK_WORDS = frozenset({"IN", "IP4", "IP6", "IPV4", "IPV6"})
_SINGLE = frozenset({"ptime", "maxptime", "label", "rtcp", "rtcp-mux"})
_INHERITED = frozenset({"rtpmap", "fmtp", "ptime", "maxptime"})
"""Of media lines, by the grammar. At the session level they can only be meant for all of them."""


class _MediaLineReader:
    """Reads one media line; `lines` gets the counts."""

    def __init__(self, lines: _Lines, section: _Section, session: list[Attribute]) -> None:
        self._lines, self._section = lines, section
        inherited = [item for item in session if item.name.lower() in _INHERITED]
        lines.mended += len(inherited)
        self._attributes = inherited + section.attributes
        self._single: dict[str, str] = {}
        self._maps: dict[str, list[str]] = {}
        self._parameters: dict[str, list[str]] = {}
        self._crypto: list[Crypto] = []
        self._others: list[Attribute] = []

    def read(self, address: str | None, direction: Direction) -> MediaLine:
        """Raises `SdpError`."""
        written = self._section.media or ""
        parts = re.sub(r" *([/,]) *", r"\1", written).split()
        kind = parts[0].lower() if parts else ""
        port = number(parts[1].split("/")[0], 65_535) if len(parts) > 1 else None
        if kind and kind != "audio" and (len(parts) < 3 or port is None):  # is refused anyway, and keeps its place
            self._lines.ignored += 1
            return OtherMedia(kind, 0, parts[2] if len(parts) > 2 else "RTP/AVP", tuple(parts[3:]), address)
        if len(parts) < 3:
            raise SdpError("a media line has fewer than three fields")
        if port is None:
            raise SdpError("the port of a media line is no port number")
        protocol, formats = parts[2].upper(), tuple(dict.fromkeys(parts[3:]))
        if kind != "audio" or "RTP/" not in protocol:
            return OtherMedia(kind, port, parts[2], formats, address, tuple(self._section.attributes))
        formats = tuple(dict.fromkeys(text for item in formats for text in item.split(",") if text))
        self._lines.mended += written != " ".join(parts) or formats != tuple(parts[3:])
        return self._audio(AudioMedia(address, port, protocol, direction=direction), formats)

    def _audio(self, line: AudioMedia, formats: tuple[str, ...]) -> AudioMedia:
        for item in self._attributes:
            self._sort(item)
        codecs: list[RtpCodec] = []
        unknown: list[str] = []
        for text in formats:
            found = self._codecs(text)
            codecs += found
            unknown += [] if found else [text]
        single = self._single
        rtcp = single.get("rtcp", "").split()
        rtcp_port = (number(rtcp[0], 65_535) or None) if rtcp else None
        return replace(
            line,
            codecs=tuple(codecs),
            direction=_direction(self._section.attributes) or line.direction,
            ptime_ms=self._milliseconds("ptime"),
            maxptime_ms=self._milliseconds("maxptime"),
            label=single.get("label") or None,
            rtcp_port=rtcp_port,
            rtcp_address=_connection(" ".join(rtcp[1:])) if rtcp_port else None,
            rtcp_mux="rtcp-mux" in single,
            crypto=tuple(self._crypto),
            unknown_formats=tuple(unknown),
            attributes=tuple(self._others),
        )

    def _sort(self, item: Attribute) -> None:
        name, value = item.name.lower(), item.value or ""
        payload_type, _, detail = value.partition(" ")
        if name == "rtpmap":
            self._maps.setdefault(payload_type, []).append(detail.strip())
        elif name == "fmtp":
            self._parameters.setdefault(payload_type, []).append(detail.strip())
        elif name == "crypto":
            key = parse_crypto(value)
            if key is not None and len(self._crypto) < MAX_CRYPTO:
                self._crypto.append(key)
            else:
                self._lines.ignored += 1
        elif name in _SINGLE:
            self._single[name] = value
        elif name not in _DIRECTIONS:
            self._others.append(item)

    def _codecs(self, text: str) -> list[RtpCodec]:
        """What a payload type is. It may have several clocks, and then stands for each. Two names are one too many, and
        then neither counts: a static number keeps its own codec, a dynamic one has none."""
        payload_type = number(text, 127) if text == "0" or not text.startswith("0") else None
        if payload_type is None:
            return []
        maps, parameters = self._maps.get(text, []), ";".join(self._parameters.get(text, ()))
        named = {codec(128, value, None): value for value in maps}  # without the number, which is no help to a name
        named.pop(None, None)
        values = list(named.values()) or maps[:1]
        found = [codec(payload_type, value, parameters) for value in values] or [codec(payload_type, None, parameters)]
        known = {item.key: item for item in found if item is not None}
        self._lines.mended += sum(STRICT_MAP.fullmatch(value) is None for value in maps) if known else 0
        if len({item.name for item in known.values()}) > 1:
            self._lines.ignored += 1
            static = codec(payload_type, None, parameters)
            return [] if static is None else [static]
        return list(known.values())

    def _milliseconds(self, name: str) -> int | None:
        """Some peers write a fraction, '20.0', or the unit."""
        written = self._single.get(name)
        digits = re.match(r"[0-9]{1,5}(?=\D|\Z)", written or "")
        value = None if digits is None else number(digits[0], 1_000)
        self._lines.ignored += written is not None and not value
        return value or None


def encode(description: SessionDescription) -> bytes:
    """Write a description with CRLF, a session-level `c=` where it has an address, and one per media line that
    differs."""
    origin = description.origin
    lines = [
        "v=0",
        f"o={origin.username} {origin.session_id} {origin.version} {_network(origin.address)}",
        f"s={description.name}",
    ]
    if description.address is not None:
        lines.append(f"c={_network(description.address)}")
    lines += ["t=0 0", *map(_attribute, description.attributes)]
    for media in description.media:
        lines.append(f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats) or '0'}")
        if media.address is not None and media.address != description.address:
            lines.append(f"c={_network(media.address)}")
        if isinstance(media, AudioMedia):
            lines += _audio_lines(media)
        lines += map(_attribute, media.attributes)
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def _audio_lines(media: AudioMedia) -> list[str]:
    lines = []
    for item in media.codecs:
        lines.append(f"a=rtpmap:{rtpmap_value(item)}")
        fmtp = fmtp_value(item)
        if fmtp is not None:
            lines.append(f"a=fmtp:{fmtp}")
    if media.ptime_ms is not None:
        lines.append(f"a=ptime:{media.ptime_ms}")
    if media.maxptime_ms is not None:
        lines.append(f"a=maxptime:{media.maxptime_ms}")
    lines += [f"a=crypto:{crypto_value(item)}" for item in media.crypto]
    if media.label is not None:
        lines.append(f"a=label:{media.label}")
    if media.rtcp_port is not None:
        rtcp = "" if media.rtcp_address is None else f" {_network(media.rtcp_address)}"
        lines.append(f"a=rtcp:{media.rtcp_port}{rtcp}")
    if media.rtcp_mux:
        lines.append("a=rtcp-mux")
    lines.append(f"a={media.direction}")
    return lines


def _attribute(item: Attribute) -> str:
    return f"a={item.name}" if item.value is None else f"a={item.name}:{item.value}"


def _network(address: str) -> str:
    return f"IN IP6 {address}" if ":" in address else f"IN IP4 {address}"
