"""URIs of SIP: `sip`, `sips` (RFC 3261, section 19.1), `tel` (RFC 3966), and any other scheme as it is."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import quote

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import MAX_PARAMETERS, SipParameters, unescape

DEFAULT_PORTS = {"sip": 5060, "sips": 5061}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_ILLEGAL = re.compile(r'[\x00-\x20\x7f"<>]')
# `#` is no user character in RFC 3261; switches dial it unescaped all the same.
_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/#%]*")
_PASSWORD = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,%]*")
_HOST_PORT = re.compile(r"(?P<host>[A-Za-z0-9_.\-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
_USER_SAFE = "-_.!~*'()&=+$,;?/"


@dataclass(frozen=True, slots=True)
class SipUri:
    """`sip:` or `sips:`. `escaped_user` and `escaped_password` stand as on the wire; `user` is what they mean.

    Host names are compared without case; an IPv6 host keeps its brackets. `headers`: (name, value) pairs, unescaped.
    """

    host: str
    escaped_user: str | None = None
    port: int | None = None
    parameters: SipParameters = field(default_factory=SipParameters)
    headers: tuple[tuple[str, str], ...] = ()
    escaped_password: str | None = None
    scheme: str = "sip"

    @staticmethod
    def to(
        host: str, user: str | None = None, port: int | None = None, parameters: SipParameters | None = None
    ) -> SipUri:
        """A `sip` URI of ours; the user is given in plain text and escaped."""
        return SipUri(
            host=f"[{host}]" if ":" in host and host[0] != "[" else host,
            escaped_user=None if user is None else quote(user, safe=_USER_SAFE),
            port=port,
            parameters=parameters or SipParameters(),
        )

    @property
    def user(self) -> str | None:
        return None if self.escaped_user is None else unescape(self.escaped_user, "URI")

    @property
    def password(self) -> str | None:
        return None if self.escaped_password is None else unescape(self.escaped_password, "URI")

    @property
    def transport(self) -> str | None:
        """The `transport` parameter in lower case."""
        value = self.parameters.get("transport")
        return value.lower() if value else None

    @property
    def address(self) -> tuple[str, int]:
        """Host without brackets and port with the default of the scheme and transport (RFC 3263, section 4.2)."""
        secure = self.scheme == "sips" or self.transport == "tls"
        return self.host.strip("[]"), self.port or DEFAULT_PORTS["sips" if secure else "sip"]

    @property
    def is_loose_router(self) -> bool:
        return "lr" in self.parameters

    def without_headers(self) -> SipUri:
        """As it stands in a Request-URI: no headers, no `method` (RFC 3261, section 19.1.1, table 1)."""
        pairs = [(name, value) for name, value in self.parameters.pairs if name.lower() != "method"]
        kept = self.parameters
        if len(pairs) != len(kept.pairs):
            kept = SipParameters(tuple(pairs), "".join(_wire_pair(name, value) for name, value in pairs))
        return SipUri(self.host, self.escaped_user, self.port, kept, (), self.escaped_password, self.scheme)

    def __str__(self) -> str:
        text = f"{self.scheme}:"
        if self.escaped_user is not None:
            text += self.escaped_user
            text += f":{self.escaped_password}@" if self.escaped_password is not None else "@"
        text += self.host
        if self.port is not None:
            text += f":{self.port}"
        text += self.parameters.wire
        if self.headers:
            text += "?" + "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in self.headers)
        return text


@dataclass(frozen=True, slots=True)
class TelUri:
    """`tel:`. `number` as written, visual separators included; `user` without them."""

    number: str
    parameters: SipParameters = field(default_factory=SipParameters)
    scheme: str = "tel"
    host: None = None

    @property
    def user(self) -> str:
        return re.sub(r"[\-.()]", "", unescape(self.number, "URI"))

    def __str__(self) -> str:
        return f"tel:{self.number}{self.parameters.wire}"


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of another scheme; `opaque` is what follows the colon. An unparsable one has the scheme ""."""

    scheme: str
    opaque: str
    host: None = None
    user: None = None

    def __str__(self) -> str:
        return f"{self.scheme}:{self.opaque}" if self.scheme else self.opaque


Uri = SipUri | TelUri | OtherUri


def parse_uri(text: str, where: str = "URI") -> Uri:
    """Raises `SipParseError` (400). `where` names the header field in its reason."""
    if _ILLEGAL.search(text):
        raise SipParseError(f"Illegal character in {where}")
    match = _SCHEME.match(text)
    if match is None:
        raise SipParseError(f"No scheme in {where}")
    scheme, rest = match.group(1).lower(), text[match.end() :]
    if scheme in DEFAULT_PORTS:
        return _sip_uri(scheme, rest, where)
    if not rest:
        raise SipParseError(f"Nothing after the scheme in {where}")
    if scheme == "tel":
        number, _, parameters = rest.partition(";")
        return TelUri(number, _uri_parameters(parameters, where) if parameters else SipParameters())
    return OtherUri(scheme, rest)


def parse_host_port(text: str, where: str) -> tuple[str, int | None]:
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise SipParseError(f"Malformed host in {where}")
    host = match.group("host")
    if host[0] == "[":
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError as exc:
            raise SipParseError(f"Malformed IPv6 address in {where}") from exc
    port = int(match.group("port")) if match.group("port") else None
    if port is not None and not 0 < port <= 0xFFFF:
        raise SipParseError(f"Port out of range in {where}")
    return host, port


def _sip_uri(scheme: str, rest: str, where: str) -> SipUri:
    userinfo, at, location = rest.rpartition("@")
    user, colon, password = userinfo.partition(":")
    if not _USER.fullmatch(user) or not _PASSWORD.fullmatch(password):
        raise SipParseError(f"Malformed user in {where}")
    unescape(userinfo, where)
    location, question, headers = location.partition("?")
    host_port, semicolon, parameters = location.partition(";")
    host, port = parse_host_port(host_port, where)
    return SipUri(
        host=host,
        escaped_user=user if at else None,
        port=port,
        parameters=_uri_parameters(parameters, where) if semicolon else SipParameters(),
        headers=_uri_headers(headers, where) if question else (),
        escaped_password=password if colon else None,
        scheme=scheme,
    )


def _uri_parameters(text: str, where: str) -> SipParameters:
    """`text`: after the first semicolon. Names and values are unescaped."""
    parts = text.split(";")
    if len(parts) > MAX_PARAMETERS:
        raise SipParseError(f"Too many parameters in {where}")
    pairs: list[tuple[str, str | None]] = []
    for part in parts:
        name, equals, value = part.partition("=")
        if not name:
            raise SipParseError(f"Empty parameter in {where}")
        pairs.append((unescape(name, where), unescape(value, where) if equals else None))
    return SipParameters(tuple(pairs), f";{text}")


def _uri_headers(text: str, where: str) -> tuple[tuple[str, str], ...]:
    parts = text.split("&")
    if len(parts) > MAX_PARAMETERS:
        raise SipParseError(f"Too many headers in {where}")
    pairs: list[tuple[str, str]] = []
    for part in parts:
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise SipParseError(f"Malformed headers in {where}")
        pairs.append((unescape(name, where), unescape(value, where)))
    return tuple(pairs)


def _wire_pair(name: str, value: str | None) -> str:
    safe = "[]/:&+$-_.!~*'()"
    return f";{quote(name, safe=safe)}" + ("" if value is None else f"={quote(value, safe=safe)}")
