"""SIP messages from octets: datagrams, and streams framed by `Content-Length`. No socket, no clock.

What a peer can do wrong, and what comes of it:

| input | result |
|---|---|
| white space, NULs or other octets that begin no message | keep-alive, or filler before a message: left out |
| two CRLFs on a stream | they ask for one (RFC 5626, section 4.4.1) |
| no start line of SIP | dropped; a stream goes on where one follows at once, else it is closed |
| a version that is not 2.0 | 505 |
| a known method that differs from CSeq's | 400; an unknown one 501 (RFC 4475, section 3.1.2.18) |
| a field that is needed and missing, ambiguous, or against the grammar | 400 with the field's name |
| the same where it is not needed, and lines that are no field | ignored and noted; `needs` has the table |
| a value with one plain meaning that breaks the grammar | taken and noted; `leniency` has the table |
| Content-Length more than the datagram has, twice, or no number | 400 where the body is needed; a stream is closed |
| Content-Length missing | the rest of the datagram without NULs at its end |
| the same on a stream | no body; with a Content-Type 400, and closed |
| more octets than Content-Length says | ignored in a datagram |
| too long or too many of something | 513, or 400; a stream is closed where the end is unknown |
| any of these in a response or an ACK | dropped |

`Date`, `Expires`, and an unusable branch are left to who needs them (RFC 4475, sections 3.1.2.4, 3.1.2.12, 3.2.1).
Line ends are CRLF, and LF as all elements read it. A bare CR inside a header is an error of that header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.sip.message import leniency, needs
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import is_token
from connectors.sip.message.message import Headers, SipMessage, SipRequest, SipResponse, canonical
from connectors.sip.message.uri import OtherUri, SipUri, Uri


@dataclass(frozen=True, slots=True)
class SipLimits:
    """Octets, but `headers`: fields of a message. `header_bytes` is one field, unfolded."""

    datagram_bytes: int = 64 * 1024
    stream_bytes: int = 256 * 1024
    head_bytes: int = 64 * 1024
    header_bytes: int = 8 * 1024
    headers: int = 256


DEFAULT_LIMITS = SipLimits()

_FILLER = bytes(range(0x21)) + bytes(range(0x7F, 0x100))
"""Octets that begin no message: a start line begins with a token."""

_VERSION = re.compile(r"SIP/([0-9]{1,3}\.[0-9]{1,3})", re.IGNORECASE)
_STATUS = re.compile(r"[1-6][0-9][0-9]")
_FIELD = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)[ \t]*:")
_CONTROL = re.compile(r"[\r\n]|(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LINE_END = re.compile(r"\r?\n")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_LATER_START = re.compile(
    rb"\n(?=(?:[A-Za-z0-9\-.!%*_+`'~]+ [^\s]+ SIP/2\.0|SIP/2\.0 [1-6][0-9][0-9](?: [^\r\n]*)?)\r?(?:\n|\Z))"
)
"""A start line behind octets that belong to no message."""

_MAX_PONGS = 16

_Start = tuple[str, str, str]
"""Method, Request-URI and version, or version, status and reason, each as written."""


class MalformedMessage(SipParseError):
    """A message that cannot be taken.

    `partial`: as much of the request as the answer needs, whose `response()` it is; None when there is nothing to
    answer. `drop`: no answer is sent (responses, ACK, and what is not SIP at all). `close`: the framing of a stream is
    lost, so its connection ends after the answer (RFC 4475, section 3.3.9).
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int = 400,
        partial: SipRequest | None = None,
        drop: bool = False,
        close: bool = False,
    ) -> None:
        super().__init__(reason, status=status)
        self.partial = partial
        self.drop = drop
        self.close = close


def parse_datagram(data: bytes, limits: SipLimits = DEFAULT_LIMITS) -> SipMessage:
    """One message of a datagram. Raises `MalformedMessage` and nothing else."""
    if len(data) > limits.datagram_bytes:
        raise MalformedMessage("Message too large", status=513, drop=True)
    octets = data.lstrip(_FILLER)
    if not octets:
        raise MalformedMessage("Keep-alive", drop=True)
    empty = _EMPTY_LINE.search(octets)
    head = octets.rstrip(b"\r\n\0") if empty is None else octets[: empty.start()].removesuffix(b"\r")
    rest = b"" if empty is None else octets[empty.end() :]
    draft = _draft(head, limits)
    if data[: len(data) - len(octets)].strip(b"\r\n"):
        draft.note(needs.FILLER)
    message = draft.message(has_body=bool(rest))
    needed = needs.needs_length(draft.method)
    if empty is None and needed:
        raise draft.error("No empty line after the headers")
    try:
        length = draft.content_length()
        if length is not None and length > len(rest):
            raise draft.error("Content-Length exceeds the message")
    except SipParseError:
        if needed:
            raise
        length = None
        draft.note("Content-Length", ignored=True)
    message.body = rest.rstrip(b"\0") if length is None else rest[:length]
    needs.describe_body(message)
    return message


def _draft(head: bytes, limits: SipLimits) -> _Draft:
    """Of a header section, behind what belongs to no message: the end of a body that is longer than its length says."""
    try:
        return _Draft(head, limits)
    except SipParseError:
        later = _LATER_START.search(head)
        if later is None:
            raise
    draft = _Draft(head[later.end() :], limits)
    draft.note(needs.FILLER)
    return draft


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
        self._empty_octets = 0
        self._pongs = 0
        self._filler = False

    def feed(self, data: bytes) -> list[SipMessage | MalformedMessage]:
        """Messages that are complete now, and the errors of those that are wrong, in the order of the stream."""
        events: list[SipMessage | MalformedMessage] = []
        if self.closed:
            return events
        self._buffer += data
        while not self.closed:
            try:
                message = self._next()
            except MalformedMessage as exc:
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

    def _next(self) -> SipMessage | MalformedMessage | None:
        if self._draft is None:
            self._skip_filler()
            empty = _EMPTY_LINE.search(self._buffer, self._searched)
            # Without an end, the last three octets may be the begin of it.
            end = empty.start() if empty else len(self._buffer) - 3
            if empty and self._buffer[end - 1 : end] == b"\r":
                end -= 1
            if end > self._limits.head_bytes:
                raise MalformedMessage("Headers too large", status=513, drop=True, close=True)
            if empty is None:
                self._searched = max(0, end)
                return None
            self._begin(end, empty.end())
        draft = self._draft
        if draft is None or len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._draft = None
        message = draft.message(has_body=bool(body))
        message.body = body
        needs.describe_body(message)
        return message

    def _begin(self, end: int, body: int) -> None:
        """The header ends at `end`, and the body begins at `body`: takes the header out of the buffer and learns how
        long the body is."""
        head = bytes(self._buffer[:end])
        del self._buffer[:body]
        self._searched = 0
        try:
            draft = _draft(head, self._limits)
        except MalformedMessage as exc:
            exc.close = True
            raise
        if self._filler:
            self._filler = False
            draft.note(needs.FILLER)
        try:
            length = draft.content_length()
        except MalformedMessage as exc:
            exc.close = True
            raise
        if length is None:
            if draft.has("Content-Type"):
                raise draft.error("Missing Content-Length", close=True)
            draft.note("Content-Length")
            length = 0
        if len(head) + length > self._limits.stream_bytes:
            raise draft.error("Message too large", status=513, close=True)
        self._draft, self._length = draft, length

    @property
    def is_amid(self) -> bool:
        """A message has begun and is not complete."""
        return bool(self._buffer) or self._draft is not None

    def _skip_filler(self) -> None:
        """Keep-alives, and other octets that begin no message."""
        if not self._buffer or self._buffer[0] not in _FILLER:
            self._empty_octets = 0 if self._buffer else self._empty_octets
            return
        kept = self._buffer.lstrip(_FILLER)
        skipped = self._buffer[: len(self._buffer) - len(kept)]
        self._buffer = kept
        self._searched = 0
        if skipped.strip(b"\r\n"):
            self._filler, self._empty_octets = True, 0
        else:
            pings, self._empty_octets = divmod(self._empty_octets + len(skipped), 4)
            self._pongs = min(self._pongs + pings, _MAX_PONGS)
        if self._buffer:
            self._empty_octets = 0


class _Draft:
    """A message whose start line and header fields are apart, and not yet checked.

    Raises `SipParseError` with `drop` when the start line is none of SIP. Faults of single lines are kept for
    `message()`, as the rest may be enough to answer them, and as nothing may need them.
    """

    def __init__(self, head: bytes, limits: SipLimits) -> None:
        self._fault: tuple[str, int] | None = None
        self._target_fault: str | None = None
        self._broken: dict[str, str] = {}
        try:
            text, charset = head.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            text, charset = head.decode("latin-1"), "latin-1"
        lines = text.split("\r\n")
        bare = text.count("\n") >= len(lines)
        if bare:
            lines = _LINE_END.split(text)
        self._message = self._start(lines[0], Headers(charset=charset))
        if bare:
            self.note(needs.LINE_END)
        if len(head) > limits.head_bytes:
            self._blame("Headers too large", 513)
            lines = []
        for name, value in self._fields(lines[1:], limits):
            self._message.headers.add(name, value)

    # -- what it becomes

    @property
    def method(self) -> str:
        """ "" for a response."""
        return self._message.method if isinstance(self._message, SipRequest) else ""

    def has(self, name: str) -> bool:
        return name in self._message.headers or name in self._broken

    def note(self, header: str, *, ignored: bool = False) -> None:
        needs.note(self._message, header, ignored=ignored)

    def message(self, *, has_body: bool) -> SipMessage:
        """The message without its body. Raises `SipParseError`."""
        if self._fault is not None:
            raise self.error(self._fault[0], status=self._fault[1])
        try:
            kind = needs.check(self._message, self._broken, has_body=has_body)
        except SipParseError as exc:
            raise self.error(exc.reason, status=exc.status) from exc
        if self._target_fault is not None:
            if needs.needs_target(kind):
                raise self.error(self._target_fault)
            self.note(needs.START_LINE, ignored=True)
        return self._message

    def content_length(self) -> int | None:
        """Raises `MalformedMessage` with `close` where there is no single number."""
        values = self._message.headers.get_all("Content-Length")
        if "Content-Length" in self._broken:
            raise self.error(self._broken["Content-Length"], close=True)
        try:
            read = [leniency.read_integer(value, "Content-Length") for value in values if value]
        except SipParseError as exc:
            raise self.error(exc.reason, close=True) from exc
        lengths = {length for length, _ in read}
        if len(lengths) > 1:
            raise self.error("Multiple Content-Length", close=True)
        if len(values) > len(lengths) or any(mended for _, mended in read):
            self.note("Content-Length")
        return lengths.pop() if lengths else None

    def error(self, reason: str, *, status: int = 400, close: bool = False) -> MalformedMessage:
        message = self._message
        if isinstance(message, SipResponse) or message.method == "ACK" or "Via" not in message.headers:
            return MalformedMessage(reason, status=status, drop=True, close=close)
        return MalformedMessage(reason, status=status, partial=message, close=close)

    # -- lines

    def _start(self, line: str, headers: Headers) -> SipMessage:
        words = line.strip(" \t").replace("\t", " ").split(" ")
        if version := _VERSION.fullmatch(words[0]):
            return self._status_line(line, version[1], headers)
        version = _VERSION.fullmatch(words[-1])
        if version is None or len(words) < 3:
            raise MalformedMessage("No SIP start line", drop=True)
        method, target = words[0], line.strip(" \t")[len(words[0]) : -len(words[-1])].strip(" \t")
        if not is_token(method):
            raise MalformedMessage("No SIP start line", drop=True)
        request = SipRequest(method, OtherUri("", target), headers)
        if version[1] != "2.0":
            self._blame("Version Not Supported", 505)
            return request
        if line != f"{method} {target} {words[-1]}":
            self._target_fault = "Extra white space in the request line"
        request.uri = self._request_uri(target, request)
        return request

    def _request_uri(self, target: str, request: SipRequest) -> Uri:
        try:
            uri, mended = leniency.read_uri(target, "Request-URI")
        except SipParseError as exc:
            self._target_fault = self._target_fault or exc.reason
            return OtherUri("", target)
        if mended:
            needs.note(request, needs.START_LINE)
        if isinstance(uri, SipUri) and uri.headers:
            self._target_fault = self._target_fault or "Headers in Request-URI"
        return uri

    def _status_line(self, line: str, version: str, headers: Headers) -> SipResponse:
        _, _, rest = line.partition(" ")
        status, _, reason = rest.partition(" ")
        if version != "2.0" or not _STATUS.fullmatch(status) or _CONTROL.search(line):
            raise MalformedMessage("Malformed status line", drop=True)
        return SipResponse(int(status), reason, headers)

    def _fields(self, lines: list[str], limits: SipLimits) -> list[tuple[str, str]]:
        """Names and unfolded values (RFC 3261, section 7.3.1); lines that are neither are left out and noted."""
        unfolded: list[list[str]] = []
        for line in lines:
            if line[:1] in {" ", "\t"}:
                if not unfolded:
                    self.note(needs.LINE, ignored=True)
                    continue
                unfolded[-1].append(line.strip(" \t"))
            else:
                unfolded.append([line])
        if len(unfolded) > limits.headers:
            self._blame("Too many headers")
        return [pair for parts in unfolded[: limits.headers] if (pair := self._field(parts, limits)) is not None]

    def _field(self, parts: list[str], limits: SipLimits) -> tuple[str, str] | None:
        """None: it is no field, or no text, which decides over the message where it is needed."""
        line = " ".join(parts)
        match = _FIELD.match(line)
        if match is None:
            self.note(needs.LINE, ignored=True)
            return None
        if len(line) > limits.header_bytes:
            self._broken.setdefault(canonical(match[1]), "Header too long")
            return None
        value = line[match.end() :].strip(" \t")
        if _CONTROL.search(value):
            self._broken.setdefault(canonical(match[1]), "Control character in a header")
            return None
        return match[1], value

    def _blame(self, reason: str, status: int = 400) -> None:
        """Keeps the first fault."""
        if self._fault is None:
            self._fault = reason, status
