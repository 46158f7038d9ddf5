"""SIP messages: header fields, requests, responses, and their octets (RFC 3261, section 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from connectors.errors import LocalProtocolError
from connectors.sip.message import leniency
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import split_list
from connectors.sip.message.headers import (
    COMPACT_FORMS,
    Contact,
    CSeq,
    MediaType,
    NameAddr,
    Via,
)
from connectors.sip.message.uri import Uri

T = TypeVar("T")

METHODS = frozenset(
    {
        *("ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS"),
        *("PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE"),
    }
)
"""All methods registered for SIP; what is not here is unknown to everybody (501)."""

REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    469: "Bad Info Package",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    606: "Not Acceptable",
}

MAX_HOPS = 255

_CANONICAL = {
    **{name.lower(): name for name in COMPACT_FORMS.values()},
    **{name.lower(): name for name in ("Accept", "Allow", "Authorization", "CSeq", "Content-Disposition", "Date")},
    **{name.lower(): name for name in ("Expires", "Max-Forwards", "Min-SE", "P-Asserted-Identity", "Privacy")},
    **{name.lower(): name for name in ("Proxy-Authenticate", "Proxy-Authorization", "Proxy-Require", "RAck", "RSeq")},
    **{name.lower(): name for name in ("Reason", "Record-Route", "Replaces", "Require", "Retry-After", "Route")},
    **{name.lower(): name for name in ("Server", "Timestamp", "Unsupported", "User-Agent", "User-to-User", "Warning")},
    **{name.lower(): name for name in ("WWW-Authenticate", "Content-Transfer-Encoding", "MIME-Version")},
    **COMPACT_FORMS,
}
_CANONICAL |= {name: name for name in _CANONICAL.values()}


def canonical(name: str) -> str:
    """The long form of a field name, in its usual case where it is known (RFC 3261, section 7.3.3)."""
    return _CANONICAL.get(name) or _CANONICAL.get(name.lower(), name)


class Headers:
    """Header fields in their order; names without case, compact ones expanded; a value is unfolded text.

    `charset`: what the octets were, UTF-8 unless the peer wrote something else, so that an echoed value keeps them.
    Values of ours must hold no line break (`LocalProtocolError`).
    """

    __slots__ = ("_items", "charset")

    def __init__(self, items: Iterable[tuple[str, str]] = (), *, charset: str = "utf-8") -> None:
        self.charset = charset
        self._items: list[tuple[str, str, str]] = []
        for name, value in items:
            self.add(name, value)

    def get(self, name: str) -> str | None:
        """Value of the first field of that name."""
        key = canonical(name).lower()
        return next((value for other, _, value in self._items if other == key), None)

    def get_all(self, name: str) -> list[str]:
        """Values of all fields of that name, one an occurrence, lists not split."""
        key = canonical(name).lower()
        return [value for other, _, value in self._items if other == key]

    def get_list(self, name: str) -> list[str]:
        """Values of a comma-separated field over all its occurrences, by the grammar. Raises `SipParseError`."""
        return [text for value in self.get_all(name) for text in split_list(value, canonical(name))]

    def add(self, name: str, value: object) -> None:
        text = str(value)
        if "\r" in text or "\n" in text or "\r" in name or "\n" in name:
            raise LocalProtocolError("a line break in a header field")
        name = canonical(name)
        self._items.append((name.lower(), name, text))

    def set(self, name: str, value: object) -> None:
        """Replaces all fields of that name by one, in the place of the first."""
        key = canonical(name).lower()
        place = next((i for i, item in enumerate(self._items) if item[0] == key), len(self._items))
        self.add(name, value)
        item = self._items.pop()
        self.remove(name)
        self._items.insert(place, item)

    def remove(self, name: str) -> None:
        key = canonical(name).lower()
        self._items = [item for item in self._items if item[0] != key]

    def copy(self) -> Headers:
        other = Headers(charset=self.charset)
        other._items = self._items.copy()
        return other

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([(name, value) for _, name, value in self._items])

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(k, v) for k, _, v in self._items] == [(k, v) for k, _, v in other._items]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"


class Oddity(NamedTuple):
    """A header of a message that breaks the grammar: `ignored`, as nothing needed it, or mended. `header`: its name in
    the usual case, or what else of a message is odd, in brackets; one of few, whatever peers write."""

    header: str
    ignored: bool


class _Typed:
    """Typed fields of a message, read as tolerantly as `leniency` does. A parsed message has all but the last five;
    `SipParseError` otherwise. What cannot be read of the others is left out, as nothing needs it: the parser refuses
    messages that lack something needed."""

    __slots__ = ()
    headers: Headers
    body: bytes
    oddities: list[Oddity]

    @property
    def vias(self) -> tuple[Via, ...]:
        parts, _ = leniency.split_values(self.headers.get_all("Via"), "Via")
        return tuple(via for part in parts if (via := _or_none(leniency.read_via, part)) is not None)

    @property
    def via(self) -> Via:
        """The topmost."""
        return leniency.first_via(self.headers.get_all("Via"))[0]

    @property
    def from_(self) -> NameAddr:
        return leniency.read_party(self._required("From"), "From")

    @property
    def to(self) -> NameAddr:
        return leniency.read_party(self._required("To"), "To")

    @property
    def call_id(self) -> str:
        return self._required("Call-ID")

    @property
    def cseq(self) -> CSeq:
        return leniency.read_cseq(self._required("CSeq"))[0]

    @property
    def contacts(self) -> tuple[Contact, ...]:
        try:
            return leniency.read_contacts(self.headers.get_all("Contact"))[0]
        except SipParseError:
            return ()

    @property
    def content_type(self) -> MediaType | None:
        value = self.headers.get("Content-Type")
        return None if value is None else _or_none(leniency.read_media_type, value)

    @property
    def accept(self) -> tuple[MediaType, ...] | None:
        """None where there is no such field, or nothing in it can be read."""
        values = self.headers.get_all("Accept")
        try:
            return leniency.read_accept(values)[0] if values else None
        except SipParseError:
            return None

    @property
    def require(self) -> tuple[str, ...]:
        """Option tags in lower case."""
        return tuple(tag.lower() for tag in leniency.known_tokens(self.headers.get_all("Require")))

    @property
    def supported(self) -> tuple[str, ...]:
        """Option tags in lower case."""
        return tuple(tag.lower() for tag in leniency.known_tokens(self.headers.get_all("Supported")))

    @property
    def allow(self) -> frozenset[str]:
        """Methods in upper case, as all that are known have it."""
        return frozenset(method.upper() for method in leniency.known_tokens(self.headers.get_all("Allow")))

    def _required(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise SipParseError(f"Missing {name}")
        return value


def _or_none(read: Callable[[str], tuple[T, bool]], text: str) -> T | None:
    try:
        return read(text)[0]
    except SipParseError:
        return None


@dataclass(slots=True)
class SipRequest(_Typed):
    method: str
    uri: Uri
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    oddities: list[Oddity] = field(default_factory=list, compare=False, repr=False)

    @property
    def max_forwards(self) -> int | None:
        """None where there is none that can be read, or one above 255 (RFC 4475, section 3.1.2.4)."""
        value = self.headers.get("Max-Forwards")
        if value is None:
            return None
        try:
            hops, _ = leniency.read_integer(value, "Max-Forwards", maximum=None)
        except SipParseError:
            return None
        return hops if hops <= MAX_HOPS else None

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> SipResponse:
        """The response with what RFC 3261, section 8.2.6.2 copies; works for a request that is itself wrong.

        `to_tag` is appended where the request has none (not in a 100). Of a field given twice, the first is copied.
        """
        copied = Headers(charset=self.headers.charset)
        for via in self.headers.get_all("Via"):
            copied.add("Via", via)
        for name in ("From", "To", "Call-ID", "CSeq", *(("Timestamp",) if status == 100 else ())):
            value = self.headers.get(name)
            if value is None:
                continue
            if name == "To" and to_tag is not None and status != 100:
                value = _tagged(value, to_tag)
            copied.add(name, value)
        for name, value in headers:
            copied.add(name, value)
        if content_type is not None:
            copied.set("Content-Type", content_type)
        return SipResponse(status, REASONS.get(status, "Unknown") if reason is None else reason, copied, body)


@dataclass(slots=True)
class SipResponse(_Typed):
    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    oddities: list[Oddity] = field(default_factory=list, compare=False, repr=False)


SipMessage = SipRequest | SipResponse


def encode(message: SipMessage) -> bytes:
    """Octets of the message; `Content-Length` is counted here, whatever the header says."""
    if isinstance(message, SipRequest):
        start = f"{message.method} {message.uri} SIP/2.0"
    else:
        start = f"SIP/2.0 {message.status} {message.reason}"
    if "\r" in start or "\n" in start:
        raise LocalProtocolError("a line break in the start line")
    lines = [start, *(f"{name}: {value}" for name, value in message.headers if name.lower() != "content-length")]
    lines.append(f"Content-Length: {len(message.body)}\r\n\r\n")
    charset = message.headers.charset
    head = "\r\n".join(lines)
    try:
        octets = head.encode(charset)
    except UnicodeEncodeError:
        octets = head.encode("utf-8", "replace")
    return octets + message.body


def _tagged(value: str, tag: str) -> str:
    """`value` of To with the tag in place of none or an empty one. A value that cannot be read is left alone."""
    try:
        to, mended = leniency.read_address(value, "To")
    except SipParseError:
        return value
    if to.tag is not None:
        return value
    return str(to.with_tag(tag)) if mended or "tag" in to.parameters else f"{value};tag={tag}"
