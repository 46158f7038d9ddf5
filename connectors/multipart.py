"""Bodies in several parts (RFC 2046, section 5.1; in SIP, RFC 5621): found by their boundary, whatever the order.

Sits between the SIP message and the parsers of what the parts hold. Read tolerantly: lines may end in LF, the last
boundary may be missing or not marked as the last, and lengths that parts state are not believed, as the boundary says
where a part ends. A multipart of a kind that is not known is read as `mixed` (RFC 2046, section 5.1.3).
"""

import base64
import binascii
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from connectors.errors import ConnectorError

MAX_BYTES = 1_048_576
MAX_PARTS = 32
MAX_DEPTH = 4
MAX_HEADERS = 32
MAX_HEADER_BYTES = 8_192
MAX_BOUNDARY = 200
"""RFC 2046 allows 70; longer ones have been seen."""

MAX_PARAMETERS = 16


class MultipartError(ConnectorError, ValueError):
    """The body cannot be taken apart, or has more of something than is allowed. The message is one line."""


@dataclass(frozen=True, slots=True)
class ContentType:
    """`media_type`: in lower case. `parameters`: names in lower case, values without quotes."""

    media_type: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BodyPart:
    """`content_type`: in lower case and without parameters. `headers`: of the part, names in lower case; the first of
    several of one name."""

    content_type: str
    headers: Mapping[str, str]
    body: bytes


_LINE_END = re.compile(rb"\r\n|\n|\r")
_PARAMETER = re.compile(
    r'\s*;\s*(?:([^\s=;"]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*)))?)?[\s,]*(?=;|\Z)', re.DOTALL
)
"""One parameter, or nothing between two semicolons."""


def parse_content_type(text: str) -> ContentType:
    """A Content-Type value, such as 'multipart/mixed;boundary="a b"'. What is malformed in it is left out."""
    text = text[:MAX_HEADER_BYTES]
    media_type, _, _ = text.partition(";")
    parameters: dict[str, str] = {}
    at = len(media_type)
    while len(parameters) < MAX_PARAMETERS and at < len(text) and (match := _PARAMETER.match(text, at)):
        name, quoted, token = match.groups()
        if name and (quoted is not None or token is not None):
            parameters.setdefault(name.lower(), token if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    return ContentType("".join(media_type.split()).lower().rstrip(","), parameters)


def split_multipart(content_type: str, body: bytes) -> list[BodyPart]:
    """All parts that are no multipart themselves, in order, those of nested ones in their place.

    What is meant most comes first: of `multipart/related` the root (RFC 2387, section 3.2), of `multipart/alternative`
    the last part, which is the best (RFC 2046, section 5.1.4). A body of another type is the one part of itself. Raises
    `MultipartError`.
    """
    if len(body) > MAX_BYTES:
        raise MultipartError(f"the body is longer than {MAX_BYTES} bytes")
    parts: list[BodyPart] = []
    for part in _parts(content_type, {}, body, 0):
        if len(parts) >= MAX_PARTS:
            raise MultipartError(f"the body has more than {MAX_PARTS} parts")
        parts.append(part)
    return parts


def _parts(content_type: str, headers: Mapping[str, str], body: bytes, depth: int) -> Iterator[BodyPart]:
    kind = parse_content_type(content_type)
    if not kind.media_type.startswith("multipart/"):
        yield BodyPart(kind.media_type, headers, body)
        return
    if depth >= MAX_DEPTH:
        raise MultipartError(f"the parts are nested deeper than {MAX_DEPTH}")
    boundary = kind.parameters.get("boundary", "").rstrip()
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise MultipartError("the content type has no usable boundary")
    contents = itertools.islice(_between(boundary.encode("utf-8", "replace"), body), MAX_PARTS + 1)
    parts = [_head(content) for content in contents]
    if not parts:
        raise MultipartError("the body has no part with its boundary")
    for inner, inner_body in _by_preference(kind, parts):
        yield from _parts(inner.get("content-type", "text/plain"), inner, _decoded(inner, inner_body), depth + 1)


_Heads = list[tuple[dict[str, str], bytes]]


def _by_preference(kind: ContentType, parts: _Heads) -> _Heads:
    if kind.media_type == "multipart/alternative":
        return parts[::-1]
    start = kind.parameters.get("start", "").strip()
    if kind.media_type == "multipart/related" and start:
        roots = [part for part in parts if _content_id(part[0].get("content-id", "")) == _content_id(start)]
        return roots + [part for part in parts if part not in roots]
    return parts


def _content_id(text: str) -> str:
    """Some write it without its angle brackets."""
    return text.strip().strip("<>")


def _between(boundary: bytes, body: bytes) -> Iterator[bytes]:
    """What stands between the boundary lines; preamble and epilogue are left out. The line end before a boundary
    belongs to the boundary."""
    pattern = rb"(?:\A|\r\n|\n|\r)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r|\n|\Z)"
    start: int | None = None
    for line in re.finditer(pattern, body):
        if start is not None and body[start : line.start()].strip():
            yield body[start : line.start()]
        ending = _LINE_END.match(body, line.end())
        start = ending.end() if ending else line.end()
        if line.group(1):
            return
    if start is not None and body[start:].strip():
        yield body[start:]


def _head(content: bytes) -> tuple[dict[str, str], bytes]:
    """The headers of a part, folded lines joined, and what follows the empty line."""
    headers: dict[str, str] = {}
    name, at, count = "", 0, 0
    while at < len(content):
        if at > MAX_HEADER_BYTES or count > MAX_HEADERS:
            raise MultipartError("the headers of a part are too long")
        ending = _LINE_END.search(content, at)
        row = content[at : ending.start() if ending else len(content)]
        at = ending.end() if ending else len(content)
        if not row.strip():
            break
        text = row.decode("utf-8", "replace")
        if text[0] in " \t":
            if name:
                headers[name] += " " + text.strip()
            continue
        count += 1
        key, colon, value = text.partition(":")
        name = key.strip().lower() if colon else ""
        name = _COMPACT.get(name, name)
        if name in headers:
            name = ""
        elif name:
            headers[name] = value.strip()
    return headers, content[at:]


_COMPACT = {"c": "content-type", "l": "content-length", "e": "content-encoding"}


def _decoded(headers: Mapping[str, str], body: bytes) -> bytes:
    """Parts in SIP are sent as they are (RFC 3261, section 7.4); base64 and quoted-printable are read all the same."""
    encoding = headers.get("content-transfer-encoding", "").lower()
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == "base64":
        try:
            return base64.b64decode(body)
        except (binascii.Error, ValueError):
            return body
    return body
