"""Session descriptions (RFC 8866): what a peer offers or answers, read tolerantly and written strictly.

Sits between the SIP body and `connectors.negotiation`. What media lines inherit from the session level (address,
direction) is put into each of them, so that nobody looks in two places. A line that makes no sense is ignored and
counted; only a description that cannot be answered line by line is refused, with `SdpError`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connectors.errors import ConnectorError
from connectors.media_lines import Attribute, AudioMedia, Direction, Media, OtherMedia
from connectors.payload_formats import Codec, codec, fmtp_value, number, rtpmap_value
from connectors.sdes import Crypto, crypto_value, parse_crypto

__all__ = [
    "Attribute",
    "AudioMedia",
    "Codec",
    "Crypto",
    "Direction",
    "Media",
    "Origin",
    "OtherMedia",
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
    """`ignored`: malformed lines that were left out."""

    origin: Origin = field(default_factory=Origin)
    address: str | None = None
    media: tuple[Media, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    ignored: int = field(default=0, compare=False)

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


class _Lines:
    """Sorts the lines of one description into its sections."""

    def __init__(self) -> None:
        self.sections = [_Section()]
        self.version: str | None = None
        self.origin = Origin()
        self.name = "-"
        self.ignored = 0

    def take(self, line: str) -> None:
        kind, equals, value = line.strip(" \t").partition("=")
        value = value.strip()
        if not kind and not equals:
            return
        if len(kind) != 1 or not equals:
            self.ignored += 1
        elif kind == "v":
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
        elif kind == "a":
            name, colon, detail = value.partition(":")
            if name.strip():
                self.sections[-1].attributes.append(Attribute(name.strip(), detail.strip() if colon else None))
            else:
                self.ignored += 1


def parse(data: bytes | str) -> SessionDescription:
    """Read a description, its lines ending in CRLF, LF or CR. Raises `SdpError`.

    Required are `v=0` and well-formed `m=` lines; everything else may be missing or in any order.
    """
    if len(data) > MAX_BYTES:
        raise SdpError(f"the description is longer than {MAX_BYTES} bytes")
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    rows = re.split(r"\r\n|\n|\r", text.replace("\0", ""))
    if len(rows) > MAX_LINES:
        raise SdpError(f"the description has more than {MAX_LINES} lines")
    lines = _Lines()
    for row in rows:
        lines.take(row)
    if lines.version != "0":
        raise SdpError("the description has no line v=0")
    session, *sections = lines.sections
    direction = _direction(session.attributes) or Direction.SENDRECV
    media: list[Media] = []
    for section in sections:
        line, ignored = _media(section, section.address or session.address, direction)
        media.append(line)
        lines.ignored += ignored
    attributes = tuple(item for item in session.attributes if item.name.lower() not in _DIRECTIONS)
    return SessionDescription(lines.origin, session.address, tuple(media), attributes, lines.name, lines.ignored)


_DIRECTIONS: Mapping[str, Direction] = {direction.value: direction for direction in Direction}


def _direction(attributes: list[Attribute]) -> Direction | None:
    found = [_DIRECTIONS[item.name.lower()] for item in attributes if item.name.lower() in _DIRECTIONS]
    return found[-1] if found else None


def _origin(value: str) -> Origin | None:
    parts = value.split()
    if len(parts) != 6:
        return None
    return Origin(parts[0], parts[1], number(parts[2], 2**64 - 1) or 0, parts[5])


def _connection(value: str) -> str | None:
    """'IN IP4 address[/ttl[/count]]'."""
    parts = value.split()
    if len(parts) != 3 or parts[0].upper() != "IN" or parts[1].upper() not in {"IP4", "IP6"}:
        return None
    return parts[2].split("/")[0] or None


def _media(section: _Section, address: str | None, direction: Direction) -> tuple[Media, int]:
    """A media line with its attributes, and the number of those left out. Raises `SdpError`."""
    parts = (section.media or "").split()
    if len(parts) < 3:
        raise SdpError("a media line has fewer than three fields")
    port = number(parts[1].split("/")[0], 65_535)
    if port is None:
        raise SdpError("the port of a media line is no port number")
    kind, protocol, formats = parts[0].lower(), parts[2].upper(), tuple(dict.fromkeys(parts[3:]))
    if kind != "audio" or "RTP/" not in protocol:
        return OtherMedia(kind, port, parts[2], formats, address, tuple(section.attributes)), 0
    return _audio(section.attributes, formats, AudioMedia(address, port, protocol, direction=direction))


_SINGLE = frozenset({"ptime", "maxptime", "label", "rtcp", "rtcp-mux"})


def _audio(attributes: list[Attribute], formats: tuple[str, ...], line: AudioMedia) -> tuple[AudioMedia, int]:
    single: dict[str, str] = {}
    maps: dict[str, str] = {}
    parameters: dict[str, list[str]] = {}
    crypto: list[Crypto] = []
    others: list[Attribute] = []
    ignored = 0
    for item in attributes:
        name, value = item.name.lower(), item.value or ""
        payload_type, _, detail = value.partition(" ")
        if name == "rtpmap":
            maps[payload_type] = detail
        elif name == "fmtp":
            parameters.setdefault(payload_type, []).append(detail)
        elif name == "crypto":
            key = parse_crypto(value)
            if key is not None and len(crypto) < MAX_CRYPTO:
                crypto.append(key)
            else:
                ignored += 1
        elif name in _SINGLE:
            single[name] = value
        elif name not in _DIRECTIONS:
            others.append(item)
    codecs: list[Codec] = []
    unknown: list[str] = []
    for text in formats:
        payload = number(text, 127) if text == "0" or not text.startswith("0") else None
        known = None if payload is None else codec(payload, maps.get(text), ";".join(parameters.get(text, ())))
        if known is None:
            unknown.append(text)
        else:
            codecs.append(known)
    rtcp = single.get("rtcp", "").split()
    rtcp_port = (number(rtcp[0], 65_535) or None) if rtcp else None
    audio = replace(
        line,
        codecs=tuple(codecs),
        direction=_direction(attributes) or line.direction,
        ptime_ms=_milliseconds(single.get("ptime")),
        maxptime_ms=_milliseconds(single.get("maxptime")),
        label=single.get("label") or None,
        rtcp_port=rtcp_port,
        rtcp_address=_connection(" ".join(rtcp[1:])) if rtcp_port else None,
        rtcp_mux="rtcp-mux" in single,
        crypto=tuple(crypto),
        unknown_formats=tuple(unknown),
        attributes=tuple(others),
    )
    return audio, ignored


def _milliseconds(text: str | None) -> int | None:
    """Some peers write a fraction: '20.0'."""
    value = number((text or "").split(".")[0], 1_000)
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
