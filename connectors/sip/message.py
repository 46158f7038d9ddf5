"""SIP messages: header fields, requests, responses, and their octets (RFC 3261, section 7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from connectors.errors import LocalProtocolError
from connectors.sip import headers as fields
from connectors.sip.errors import SipParseError
from connectors.sip.grammar import split_list
from connectors.sip.headers import (
    COMPACT_FORMS,
    Contact,
    CSeq,
    MediaType,
    NameAddr,
    Via,
)
from connectors.sip.uri import Uri

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
        """Values of a comma-separated field over all its occurrences. Raises `SipParseError`."""
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


class _Typed:
    """Typed fields of a message. A parsed message has passed all but the last four; `SipParseError` otherwise."""

    __slots__ = ()
    headers: Headers
    body: bytes

    @property
    def vias(self) -> tuple[Via, ...]:
        return fields.parse_vias(self.headers.get_all("Via"))

    @property
    def via(self) -> Via:
        """The topmost."""
        return fields.parse_via(next(iter(self.headers.get_list("Via")), ""))

    @property
    def from_(self) -> NameAddr:
        return fields.parse_name_addr(self._required("From"), "From")

    @property
    def to(self) -> NameAddr:
        return fields.parse_name_addr(self._required("To"), "To")

    @property
    def call_id(self) -> str:
        return self._required("Call-ID")

    @property
    def cseq(self) -> CSeq:
        return fields.parse_cseq(self._required("CSeq"))

    @property
    def contacts(self) -> tuple[Contact, ...]:
        return fields.parse_contacts(self.headers.get_all("Contact"))

    @property
    def content_type(self) -> MediaType | None:
        value = self.headers.get("Content-Type")
        return None if value is None else fields.parse_media_type(value)

    @property
    def require(self) -> tuple[str, ...]:
        """Option tags in lower case."""
        return tuple(tag.lower() for tag in fields.parse_tokens(self.headers.get_all("Require"), "Require"))

    @property
    def supported(self) -> tuple[str, ...]:
        return tuple(tag.lower() for tag in fields.parse_tokens(self.headers.get_all("Supported"), "Supported"))

    def _required(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise SipParseError(f"Missing {name}")
        return value


@dataclass(slots=True)
class SipRequest(_Typed):
    method: str
    uri: Uri
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def max_forwards(self) -> int | None:
        """None where there is none, or one above 255 (RFC 4475, section 3.1.2.4)."""
        value = self.headers.get("Max-Forwards")
        if value is None:
            return None
        hops = fields.parse_integer(value, "Max-Forwards", maximum=None)
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
    """`value` of To with the tag appended where it has none. A value that cannot be read is left alone."""
    try:
        to = fields.parse_name_addr(value, "To")
    except SipParseError:
        return value
    return value if to.tag is not None else f"{value};tag={tag}"
