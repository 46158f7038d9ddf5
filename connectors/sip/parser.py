"""SIP messages from octets: datagrams, and streams framed by `Content-Length`. No socket, no clock.

What a peer can do wrong, and what comes of it:

| input | result |
|---|---|
| white space or NULs only | keep-alive: dropped; on a stream two CRLFs ask for one (RFC 5626, section 4.4.1) |
| no start line of SIP | dropped; a stream is closed |
| a version that is not 2.0 | 505 |
| a known method that differs from CSeq's | 400; an unknown one 501 (RFC 4475, section 3.1.2.18) |
| a field missing, given twice, or against the grammar | 400 with the field's name |
| Content-Length more than the datagram has, twice, or no number | 400; a stream is closed |
| Content-Length missing | the rest of the datagram; on a stream 400 and closed |
| more octets than Content-Length says | ignored in a datagram |
| too long or too many of something | 513, or 400; a stream is closed where the end is unknown |
| any of these in a response or an ACK | dropped |

`Date`, `Expires`, and an unusable branch are left to who needs them (RFC 4475, sections 3.1.2.4, 3.1.2.12, 3.2.1).
Line ends are CRLF: a bare CR or LF inside a header is an error, as two elements could read it differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.sip import headers as fields
from connectors.sip.errors import SipParseError
from connectors.sip.grammar import is_token
from connectors.sip.message import METHODS, Headers, SipMessage, SipRequest, SipResponse
from connectors.sip.uri import OtherUri, SipUri, Uri, parse_uri


@dataclass(frozen=True, slots=True)
class SipLimits:
    """Octets, but `headers`: fields of a message. `header_bytes` is one field, unfolded."""

    datagram_bytes: int = 64 * 1024
    stream_bytes: int = 256 * 1024
    head_bytes: int = 64 * 1024
    header_bytes: int = 8 * 1024
    headers: int = 256


DEFAULT_LIMITS = SipLimits()

_KEEPALIVE = b"\r\n\x00 \t"
_VERSION = re.compile(r"SIP/([0-9]{1,3}\.[0-9]{1,3})", re.IGNORECASE)
_STATUS = re.compile(r"[1-6][0-9][0-9]")
_FIELD = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)[ \t]*:")
_CONTROL = re.compile(r"[\r\n]|(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CALL_ID = re.compile(r"[\x21-\x7e]+")

_SINGLE = ("Call-ID", "CSeq", "From", "To", "Max-Forwards", "Content-Length", "Content-Type")
_REQUIRED = ("Via", "From", "To", "Call-ID", "CSeq")
_MAX_PONGS = 16

_Start = tuple[str, str, str]
"""Method, Request-URI and version, or version, status and reason, each as written."""


def parse_datagram(data: bytes, limits: SipLimits = DEFAULT_LIMITS) -> SipMessage:
    """One message of a datagram. Raises `SipParseError` and nothing else."""
    if len(data) > limits.datagram_bytes:
        raise SipParseError("Message too large", status=513, drop=True)
    if not data.strip(_KEEPALIVE):
        raise SipParseError("Keep-alive", drop=True)
    head, blank, rest = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    draft = _Draft(head if blank else head.removesuffix(b"\r\n"), limits)
    message = draft.message()
    length = draft.content_length()
    if not blank:
        raise draft.error("No empty line after the headers")
    if length is not None and length > len(rest):
        raise draft.error("Content-Length exceeds the message")
    message.body = rest[:length]
    return message


class StreamParser:
    """Messages of one TCP or TLS connection, framed by `Content-Length`.

    It buffers `SipLimits.stream_bytes` at most. After an error with `close` nothing more is read: `closed`.
    """

    def __init__(self, limits: SipLimits = DEFAULT_LIMITS) -> None:
        self.closed = False
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._draft: _Draft | None = None
        self._length = 0
        self._blank = 0
        self._pongs = 0

    def feed(self, data: bytes) -> list[SipMessage | SipParseError]:
        """Messages that are complete now, and the errors of those that are wrong, in the order of the stream."""
        events: list[SipMessage | SipParseError] = []
        if self.closed:
            return events
        self._buffer += data
        while not self.closed:
            try:
                message = self._next()
            except SipParseError as exc:
                self.closed = exc.close
                message = exc
            if message is None:
                break
            events.append(message)
        if self.closed:
            self._buffer.clear()
        return events

    def take_pongs(self) -> bytes:
        """What answers the keep-alives that came in: a CRLF for each double CRLF (RFC 5626, section 4.4.1)."""
        pongs, self._pongs = self._pongs, 0
        return b"\r\n" * pongs

    def _next(self) -> SipMessage | SipParseError | None:
        if self._draft is None:
            self._skip_blank()
            end = self._buffer.find(b"\r\n\r\n", self._searched)
            # Without an end, the last three octets may be the begin of it.
            if max(end, len(self._buffer) - 3 if end < 0 else 0) > self._limits.head_bytes:
                raise SipParseError("Headers too large", status=513, drop=True, close=True)
            if end < 0:
                self._searched = max(0, len(self._buffer) - 3)
                return None
            self._begin(end)
        draft = self._draft
        if draft is None or len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._draft = None
        message = draft.message()
        message.body = body
        return message

    def _begin(self, end: int) -> None:
        """The header ends at `end`: takes it out of the buffer and learns how long the body is."""
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._searched = 0
        try:
            draft = _Draft(head, self._limits)
        except SipParseError as exc:
            exc.close = True
            raise
        length = draft.content_length()
        if length is None:
            raise draft.error("Missing Content-Length", close=True)
        if len(head) + length > self._limits.stream_bytes:
            raise draft.error("Message too large", status=513, close=True)
        self._draft, self._length = draft, length

    @property
    def is_amid(self) -> bool:
        """A message has begun and is not complete."""
        return bool(self._buffer) or self._draft is not None

    def _skip_blank(self) -> None:
        blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n")) if self._buffer[:1].isspace() else 0
        if blank:
            del self._buffer[:blank]
            self._searched = 0
            pings, self._blank = divmod(self._blank + blank, 4)
            self._pongs = min(self._pongs + pings, _MAX_PONGS)
        if self._buffer:
            self._blank = 0


class _Draft:
    """A message whose start line and header fields are apart, and not yet checked.

    Raises `SipParseError` with `drop` when the start line is none of SIP. Faults of single lines are kept for
    `message()`, as the rest may be enough to answer them.
    """

    def __init__(self, head: bytes, limits: SipLimits) -> None:
        self._fault: tuple[str, int] | None = None
        self._length_known = False
        try:
            text, charset = head.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            text, charset = head.decode("latin-1"), "latin-1"
        lines = text.split("\r\n")
        self._message = self._start(lines[0], Headers(charset=charset))
        if len(head) > limits.head_bytes:
            self._blame("Headers too large", 513)
            lines = []
        for name, value in self._fields(lines[1:], limits):
            self._message.headers.add(name, value)

    # -- what it becomes

    def message(self) -> SipMessage:
        """The message without its body. Raises `SipParseError`."""
        if self._fault is not None:
            raise self.error(self._fault[0], status=self._fault[1])
        try:
            self._check()
        except SipParseError as exc:
            raise self.error(exc.reason, status=exc.status) from exc
        return self._message

    def content_length(self) -> int | None:
        """Raises `SipParseError` with `close` where there is no single number."""
        values = self._message.headers.get_all("Content-Length")
        if not values:
            return None
        if len(values) > 1:
            raise self.error("Multiple Content-Length", close=True)
        try:
            return fields.parse_integer(values[0], "Content-Length")
        except SipParseError as exc:
            raise self.error(exc.reason, close=True) from exc

    def error(self, reason: str, *, status: int = 400, close: bool = False) -> SipParseError:
        message = self._message
        if isinstance(message, SipResponse) or message.method == "ACK" or "Via" not in message.headers:
            return SipParseError(reason, status=status, drop=True, close=close)
        return SipParseError(reason, status=status, partial=message, close=close)

    # -- lines

    def _start(self, line: str, headers: Headers) -> SipMessage:
        words = line.strip(" \t").replace("\t", " ").split(" ")
        if version := _VERSION.fullmatch(words[0]):
            return self._status_line(line, version[1], headers)
        version = _VERSION.fullmatch(words[-1])
        if version is None or len(words) < 3:
            raise SipParseError("No SIP start line", drop=True)
        method, target = words[0], line.strip(" \t")[len(words[0]) : -len(words[-1])].strip(" \t")
        if not is_token(method):
            raise SipParseError("No SIP start line", drop=True)
        request = SipRequest(method, OtherUri("", target), headers)
        if version[1] != "2.0":
            self._blame("Version Not Supported", 505)
        elif line != f"{method} {target} {words[-1]}":
            self._blame("Extra white space in the request line")
        else:
            request.uri = self._request_uri(target)
        return request

    def _request_uri(self, target: str) -> Uri:
        try:
            uri = parse_uri(target, "Request-URI")
        except SipParseError as exc:
            self._blame(exc.reason)
            return OtherUri("", target)
        if isinstance(uri, SipUri) and uri.headers:
            self._blame("Headers in Request-URI")
        return uri

    def _status_line(self, line: str, version: str, headers: Headers) -> SipResponse:
        _, _, rest = line.partition(" ")
        status, _, reason = rest.partition(" ")
        if version != "2.0" or not _STATUS.fullmatch(status) or _CONTROL.search(line):
            raise SipParseError("Malformed status line", drop=True)
        return SipResponse(int(status), reason, headers)

    def _fields(self, lines: list[str], limits: SipLimits) -> list[tuple[str, str]]:
        """Names and unfolded values (RFC 3261, section 7.3.1); lines that are neither are blamed and left out."""
        unfolded: list[list[str]] = []
        for line in lines:
            if line[:1] in {" ", "\t"}:
                if not unfolded:
                    self._blame("A header begins with white space")
                    continue
                unfolded[-1].append(line.strip(" \t"))
            else:
                unfolded.append([line])
        if len(unfolded) > limits.headers:
            self._blame("Too many headers")
        return [pair for parts in unfolded[: limits.headers] if (pair := self._field(parts, limits)) is not None]

    def _field(self, parts: list[str], limits: SipLimits) -> tuple[str, str] | None:
        line = " ".join(parts)
        match = _FIELD.match(line)
        if match is None:
            self._blame("A header without name or colon")
            return None
        if len(line) > limits.header_bytes:
            self._blame("Header too long")
            return None
        value = line[match.end() :].strip(" \t")
        if _CONTROL.search(value):
            self._blame("Control character in a header")
            return None
        return match[1], value

    def _blame(self, reason: str, status: int = 400) -> None:
        """Keeps the first fault."""
        if self._fault is None:
            self._fault = reason, status

    # -- values

    def _check(self) -> None:
        message = self._message
        headers = message.headers
        for name in _SINGLE:
            if len(headers.get_all(name)) > 1:
                raise SipParseError(f"Multiple {name}")
        for name in _REQUIRED:
            if not headers.get(name):
                raise SipParseError(f"Missing {name}")
        if not message.vias:
            raise SipParseError("Missing Via")
        if not _CALL_ID.fullmatch(message.call_id):
            raise SipParseError("Malformed Call-ID")
        for name, address in (("From", message.from_), ("To", message.to)):
            if "tag" in address.parameters and not address.tag:
                raise SipParseError(f"Empty tag in {name}")
        _ = message.contacts, message.content_type, message.require, message.supported
        for name in ("Route", "Record-Route"):
            fields.parse_name_addrs(headers.get_all(name), name)
        cseq = message.cseq
        if isinstance(message, SipRequest):
            _ = message.max_forwards
            if cseq.method != message.method:
                known = message.method in METHODS
                raise SipParseError("CSeq names another method", status=400 if known else 501)
