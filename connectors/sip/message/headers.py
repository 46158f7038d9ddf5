"""Typed values of the header fields every SIP element reads (RFC 3261, section 20).

Each value has a parse function that raises `SipParseError` with a reason naming the field, and `str()` writes it back.
Fields of extensions are in `connectors.sip.message.extensions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import (
    SipParameters,
    header_parameters,
    is_token,
    quote,
    quoted_end,
    split_list,
    unquote_string,
)
from connectors.sip.message.uri import SipUri, Uri, parse_host_port, parse_uri

MAGIC_COOKIE = "z9hG4bK"
MAX_UINT32 = 2**32 - 1
DEFAULT_EXPIRES_S = 3600
CACHED_VALUES = 512
"""Values are immutable: every layer of a message's way reads the same text, and one parse serves them all."""

COMPACT_FORMS = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

_DIGITS = re.compile(r"[0-9]+")
_LWS = re.compile(r"[ \t]+")
_VIA = re.compile(
    r"(?P<protocol>[^\s/;,]+)[ \t]*/[ \t]*(?P<version>[^\s/;,]+)[ \t]*/[ \t]*(?P<transport>[^\s/;,]+)[ \t]+"
    r"(?P<host>[^\s:;,\[\]]+|\[[^\s;,\[\]]+\])[ \t]*(?::[ \t]*(?P<port>[0-9]{1,5})[ \t]*)?(?P<parameters>;.*)?",
    re.DOTALL,
)
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class NameAddr:
    """`From`, `To`, `Route`, `P-Asserted-Identity` and alike. `display_name`: without quotes and escapes."""

    uri: Uri
    display_name: str | None = None
    parameters: SipParameters = field(default_factory=SipParameters)

    @property
    def tag(self) -> str | None:
        """None where it is empty, too: a tag is a token."""
        return self.parameters.get("tag") or None

    def with_tag(self, tag: str) -> NameAddr:
        return replace(self, parameters=self.parameters.put("tag", tag))

    def __str__(self) -> str:
        name = f"{quote(self.display_name)} " if self.display_name is not None else ""
        return f"{name}<{self.uri}>{self.parameters}"


@dataclass(frozen=True, slots=True)
class Contact(NameAddr):
    @property
    def expires(self) -> int | None:
        """Seconds; 3600 where the value is none (RFC 3261, section 10.2.1.1; RFC 4475, section 3.1.2.4)."""
        value = self.parameters.get("expires")
        if value is None:
            return None
        return int(value) if _fits(value, MAX_UINT32) else DEFAULT_EXPIRES_S

    @property
    def q(self) -> float:
        value = self.parameters.get("q")
        return float(value) if value and _QVALUE.fullmatch(value) else 1.0


@dataclass(frozen=True, slots=True)
class Via:
    """One hop. `transport` in upper case, of any name; `host` as written, an IPv6 one in brackets."""

    transport: str
    host: str
    port: int | None = None
    parameters: SipParameters = field(default_factory=SipParameters)

    @property
    def branch(self) -> str | None:
        return self.parameters.get("branch")

    @property
    def transaction_branch(self) -> str | None:
        """The branch where it identifies the transaction: the cookie and something after it. None asks for the
        RFC 2543 matching (RFC 3261, section 17.2.3; RFC 4475, section 3.2.1)."""
        branch = self.branch
        if branch and len(branch) > len(MAGIC_COOKIE) and branch[: len(MAGIC_COOKIE)].lower() == MAGIC_COOKIE.lower():
            return branch
        return None

    @property
    def wants_rport(self) -> bool:
        """RFC 3581: the response goes to the port the request came from."""
        return "rport" in self.parameters

    @property
    def received(self) -> str | None:
        return self.parameters.get("received")

    @property
    def sent_by(self) -> tuple[str, int]:
        """Host in lower case without brackets and port, by default the transport's; part of the transaction's key."""
        return self.host.strip("[]").lower(), self.port or (5061 if self.transport in {"TLS", "WSS"} else 5060)

    def received_from(self, address: str, port: int) -> Via:
        """As a server keeps it: `received` where the host is another (RFC 3261, section 18.2.1) or a port was asked
        for, whose number is filled in (RFC 3581, section 4)."""
        parameters = self.parameters
        if self.wants_rport:
            parameters = parameters.put("rport", str(port))
        if self.wants_rport or self.host.strip("[]").lower() != address.lower():
            parameters = parameters.put("received", address)
        return replace(self, parameters=parameters)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{self.parameters}"


@dataclass(frozen=True, slots=True)
class CSeq:
    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class MediaType:
    """`Content-Type`, and one range of `Accept`. Type and subtype in lower case."""

    type: str
    subtype: str
    parameters: SipParameters = field(default_factory=SipParameters)

    @property
    def essence(self) -> str:
        return f"{self.type}/{self.subtype}"

    def matches(self, essence: str) -> bool:
        """Whether a range of `Accept` takes the given `type/subtype`; `q=0` takes nothing."""
        q = self.parameters.get("q")
        if q is not None and _QVALUE.fullmatch(q) and float(q) == 0:
            return False
        kind = essence.partition("/")[0]
        return self.essence in {essence, f"{kind}/*", "*/*"}

    def __str__(self) -> str:
        return f"{self.essence}{self.parameters}"


@dataclass(frozen=True, slots=True)
class RouteSet:
    """Routes of a dialog in the order our requests take them."""

    routes: tuple[NameAddr, ...] = ()

    @staticmethod
    def recorded(values: Iterable[str], *, as_server: bool) -> RouteSet:
        """From the `Record-Route` fields: kept in order by the UAS, reversed by the UAC (RFC 3261, section 12.1)."""
        routes = parse_name_addrs(values, "Record-Route")
        return RouteSet(routes if as_server else routes[::-1])

    def target(self, remote_target: Uri) -> tuple[Uri, tuple[str, ...]]:
        """Request-URI and values of `Route` for a request in the dialog (RFC 3261, section 12.2.1.1)."""
        if not self.routes:
            return remote_target, ()
        first = self.routes[0].uri
        if not isinstance(first, SipUri) or first.is_loose_router:
            return remote_target, tuple(str(route) for route in self.routes)
        rest = (*self.routes[1:], NameAddr(remote_target))
        return first.without_headers(), tuple(str(route) for route in rest)


def parse_name_addr(text: str, where: str) -> NameAddr:
    return NameAddr(*_name_addr(text, where))


def parse_name_addrs(values: Iterable[str], where: str) -> tuple[NameAddr, ...]:
    """All addresses of a header field, given the values of its occurrences."""
    return tuple(parse_name_addr(text, where) for value in values for text in split_list(value, where))


def parse_contacts(values: Iterable[str]) -> tuple[Contact, ...]:
    """Addresses of `Contact`; none for `*`, which a REGISTER may send (see `is_contact_wildcard`)."""
    values = list(values)
    if is_contact_wildcard(values):
        return ()
    return tuple(parse_contact(text) for value in values for text in split_list(value, "Contact"))


def parse_contact(text: str) -> Contact:
    """One address of `Contact`."""
    return Contact(*_name_addr(text, "Contact"))


def is_contact_wildcard(values: Iterable[str]) -> bool:
    return [value.strip() for value in values] == ["*"]


@lru_cache(maxsize=CACHED_VALUES)
def parse_via(text: str) -> Via:
    match = _VIA.fullmatch(text.strip())
    if match is None:
        raise SipParseError("Malformed Via")
    if match["protocol"].upper() != "SIP" or match["version"] != "2.0":
        raise SipParseError("Unknown protocol in Via")
    if not is_token(match["transport"]):
        raise SipParseError("Malformed transport in Via")
    host, port = parse_host_port(match["host"] + (f":{match['port']}" if match["port"] else ""), "Via")
    return Via(match["transport"].upper(), host, port, header_parameters(match["parameters"] or "", "Via"))


def parse_vias(values: Iterable[str]) -> tuple[Via, ...]:
    return tuple(parse_via(text) for value in values for text in split_list(value, "Via"))


def parse_cseq(text: str) -> CSeq:
    number, _, method = _LWS.sub(" ", text.strip()).partition(" ")
    if not is_token(method):
        raise SipParseError("Malformed CSeq")
    return CSeq(parse_integer(number, "CSeq"), method)


def parse_integer(text: str, where: str, *, maximum: int | None = MAX_UINT32) -> int:
    """Digits only. Above `maximum` it raises; without one, a number above 32 bits comes as the next one, 2**32."""
    text = text.strip()
    if not _DIGITS.fullmatch(text):
        raise SipParseError(f"Malformed number in {where}")
    if _fits(text, MAX_UINT32 if maximum is None else maximum):
        return int(text.lstrip("0") or "0")
    if maximum is None:
        return MAX_UINT32 + 1
    raise SipParseError(f"Number too large in {where}")


def parse_media_type(text: str, where: str = "Content-Type") -> MediaType:
    essence, semicolon, parameters = text.partition(";")
    kind, slash, subtype = essence.partition("/")
    kind, subtype = kind.strip().lower(), subtype.strip().lower()
    if not slash or not is_token(kind) or not is_token(subtype):
        raise SipParseError(f"Malformed media type in {where}")
    return MediaType(kind, subtype, header_parameters(semicolon + parameters, where))


def parse_accept(values: Iterable[str]) -> tuple[MediaType, ...]:
    return tuple(parse_media_type(text, "Accept") for value in values for text in split_list(value, "Accept"))


def parse_tokens(values: Iterable[str], where: str) -> tuple[str, ...]:
    """`Require`, `Supported`, `Allow` and alike, in order."""
    tokens = tuple(text for value in values for text in split_list(value, where))
    if not all(map(is_token, tokens)):
        raise SipParseError(f"Malformed token in {where}")
    return tokens


@lru_cache(maxsize=CACHED_VALUES)
def _name_addr(text: str, where: str) -> tuple[Uri, str | None, SipParameters]:
    text = text.strip()
    display: str | None = None
    opening, quoted = text.find("<"), text.find('"')
    if 0 < quoted < opening:
        opening = -1  # within the value of a parameter, as in `sip:a@b;+sip.instance="<urn:...>"`
    if quoted == 0:
        end = quoted_end(text, 0, where)
        display = unquote_string(text[:end])
        opening = len(text) - len(text[end:].lstrip())
        if text[opening : opening + 1] != "<":
            raise SipParseError(f"No angle bracket after the display name in {where}")
    elif opening > 0:
        words = text[:opening].split()
        if not all(map(is_token, words)):
            raise SipParseError(f"Unquoted display name in {where}")
        display = " ".join(words) or None
    if opening >= 0:
        closing = text.find(">", opening)
        if closing < 0:
            raise SipParseError(f"Unbalanced angle bracket in {where}")
        uri = parse_uri(text[opening + 1 : closing], f"URI of {where}")
        return uri, display, header_parameters(text[closing + 1 :], where)
    address, semicolon, parameters = text.partition(";")
    # RFC 3261, section 20: a URI with a comma, question mark or semicolon stands in angle brackets.
    if "?" in address or "," in address:
        raise SipParseError(f"URI without angle brackets in {where}")
    return parse_uri(address.strip(), f"URI of {where}"), None, header_parameters(semicolon + parameters, where)


def _fits(text: str, maximum: int) -> bool:
    """Digits only, and no more than `maximum`; the length is looked at first, as `int` takes long over long text."""
    digits = text.lstrip("0")
    return bool(_DIGITS.fullmatch(text)) and len(digits) <= len(str(maximum)) and int(digits or "0") <= maximum
