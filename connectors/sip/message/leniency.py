"""Header values that break the grammar and still have one plain meaning (RFC 3261, section 8.2.2; RFC 1122, 1.2.2).

Sits between `headers`, which reads what follows the grammar, and `message`. A value is read by the grammar first; only
what fails is mended and read by the grammar again, so that nothing is taken that the grammar would not take. Where
there are two ways to read it, the error of the first reading stands.

| wrong | read as |
|---|---|
| empty elements of a list, empty parameters, separators at the end | not there |
| white space around separators, and in the angle brackets of a `Contact` or route | not there |
| no closing angle bracket | it closes before the first parameter that belongs to the header, or at the end |
| brackets twice; none after a quoted name | once; around the URI |
| a backslash that escapes the last quotation mark of a name | not there |
| an unquoted display name of any characters but `,` `;` `<` | quoted |
| a URI with `@` or of a bare host, without a scheme | `sip:` |
| characters of a user or parameter that have to be escaped; a `%` that escapes nothing | escaped |
| the zone of an IPv6 address; an IPv6 address without brackets | not there; bracketed |
| a parameter that is none, unless it is a tag, branch or boundary | not there |
| a quotation mark that is not closed before it, two addresses | ambiguous: the error stands |

Within the brackets of From and To white space is an error, as RFC 4475, section 3.1.2.14 has it. Functions return the
value and whether it was mended; they raise the `SipParseError` of the value as it came.
"""

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote as percent

from connectors.sip.message import headers as fields
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import (
    MAX_VALUES,
    SipParameters,
    header_parameters,
    is_token,
    quote,
    quoted_end,
    split,
    unquote_string,
)
from connectors.sip.message.headers import CACHED_VALUES, Contact, CSeq, MediaType, NameAddr, Via
from connectors.sip.message.uri import OtherUri, Uri, parse_uri

T = TypeVar("T")

_BLANKS = " \t"
_SEPARATORS = " \t,;"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_HEADER_PARAMETER = re.compile(
    r"[ \t]*;[ \t]*(?:tag|expires|q|reg-id|methods|\+[^=;>]*)[ \t]*(?=[=;]|$)", re.IGNORECASE
)
"""Begins what follows an address whose bracket was not closed."""

_LOST_SEMICOLON = re.compile(r"[A-Za-z0-9.+\-]+[ \t]*=")
_ESCAPED_END = re.compile(r'"([^"\\<>]*)\\+"[ \t]*(?=<[^"]*$)')
"""A name that ends in a backslash, which escapes the quotation mark behind it, and no other is there."""

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ZONE = re.compile(r"\[([0-9A-Fa-f:.]+)%[^\]]*\]")
_VIA = re.compile(r"(SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*[^\s/;,]+)[ \t]+([^;]*?)[ \t]*(;.*)?", re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r"(.*[^:]):[ \t]*([0-9]*)")
_CSEQ = re.compile(r"([0-9]+)[ \t]*([A-Za-z][A-Za-z0-9\-.!%*_+`'~]*)")
_MEDIA_TYPE = re.compile(r"([^\s/;,]+)[ \t]*/[ \t]*([^\s/;,]+)(.*)", re.DOTALL)
_TAG = re.compile(r";[ \t]*tag[ \t]*=[ \t]*\"?([^\s;,\"<>]+)", re.IGNORECASE)
_QUOTES_AND_BRACKETS = re.compile(r"[\"<>]")
_DECISIVE = frozenset({"tag", "branch", "boundary"})
_DECIDES = re.compile(r"\b(?:tag|branch|boundary)[ \t]*=", re.IGNORECASE)


# -- addresses


@lru_cache(maxsize=CACHED_VALUES)
def read_address(text: str, where: str) -> tuple[NameAddr, bool]:
    """One address of `From`, `To`, `Route` and alike."""
    return _read(text, lambda value: fields.parse_name_addr(value, where), lambda value: _mend_address(value, where))


@lru_cache(maxsize=CACHED_VALUES)
def _read_contact(text: str) -> tuple[Contact, bool]:
    return _read(text, fields.parse_contact, lambda value: _mend_address(value, "Contact"))


def read_addresses(values: Iterable[str], where: str) -> tuple[tuple[NameAddr, ...], bool]:
    """All of them: one that cannot be read is an error."""
    parts, mended = split_values(values, where)
    read = [read_address(part, where) for part in parts]
    return tuple(address for address, _ in read), mended or any(was for _, was in read)


def read_contacts(values: Iterable[str]) -> tuple[tuple[Contact, ...], bool]:
    """Those that can be read; none for `*`. Raises where there are some and none can be."""
    values = list(values)
    if fields.is_contact_wildcard(values):
        return (), False
    parts, mended = split_values(values, "Contact")
    contacts: list[Contact] = []
    error: SipParseError | None = None
    for part in parts:
        try:
            contact, was_mended = _read_contact(part)
        except SipParseError as exc:
            error = error or exc
        else:
            contacts.append(contact)
            mended |= was_mended
    if error is not None and not contacts:
        raise error
    return tuple(contacts), mended or error is not None


def read_party(text: str, where: str) -> NameAddr:
    """From or To of a message that needs no more of it than its tag: the address is what it is, where it cannot be
    read. Raises where there are two tags that differ."""
    try:
        return read_address(text, where)[0]
    except SipParseError as exc:
        tags = set(_TAG.findall(text[text.rfind(">") + 1 :]))
        if len(tags) > 1:
            raise SipParseError(f"Several tags in {where}") from exc
        return NameAddr(OtherUri("", text), None, SipParameters.of(tag=tags.pop()) if tags else SipParameters())


def read_uri(text: str, where: str) -> tuple[Uri, bool]:
    """A URI that stands alone, as in a request line."""
    return _read(text, lambda value: parse_uri(value, where), _mend_uri)


# -- other values


@lru_cache(maxsize=CACHED_VALUES)
def read_via(text: str) -> tuple[Via, bool]:
    """One hop. A port that is none is left out where no answer needs it: over streams, and with `rport`."""
    return _read(text, fields.parse_via, _mend_via)


def first_via(values: Iterable[str]) -> tuple[Via, list[str], bool]:
    """The topmost, and the others of its header field as they are."""
    for value in values:
        parts, mended = split_values([value], "Via")
        if parts:
            via, was_mended = read_via(parts[0])
            return via, parts[1:], mended or was_mended
    raise SipParseError("Missing Via")


@lru_cache(maxsize=CACHED_VALUES)
def read_cseq(text: str) -> tuple[CSeq, bool]:
    def mend(value: str) -> str | None:
        match = _CSEQ.fullmatch(value.strip(_SEPARATORS))
        return f"{match[1]} {match[2]}" if match else None

    return _read(text, fields.parse_cseq, mend)


@lru_cache(maxsize=CACHED_VALUES)
def read_media_type(text: str, where: str = "Content-Type") -> tuple[MediaType, bool]:
    def mend(value: str) -> str | None:
        match = _MEDIA_TYPE.fullmatch(value.strip(_SEPARATORS))
        parameters = None if match is None else _mend_parameters(match[3], where)
        return None if match is None or parameters is None else f"{match[1]}/{match[2]}{parameters}"

    return _read(text, lambda value: fields.parse_media_type(value, where), mend)


def read_accept(values: Iterable[str]) -> tuple[tuple[MediaType, ...] | None, bool]:
    """The ranges that can be read; None, as if there was no such field, where there are some and none can be."""
    parts, mended = split_values(values, "Accept")
    ranges: list[MediaType] = []
    for part in parts:
        try:
            media, was_mended = read_media_type(part, "Accept")
        except SipParseError:
            mended = True
        else:
            ranges.append(media)
            mended |= was_mended
    return (None if parts and not ranges else tuple(ranges)), mended


def read_tokens(values: Iterable[str], where: str) -> tuple[tuple[str, ...], bool]:
    """`Require`, `Supported`, `Allow` and alike, in order. Raises where something is no token."""
    tokens, mended = split_values(values, where)
    if not all(map(is_token, tokens)):
        raise SipParseError(f"Malformed token in {where}")
    return tuple(tokens), mended


def known_tokens(values: Iterable[str]) -> tuple[str, ...]:
    """The tokens of a field that decides nothing; what is no token is passed over."""
    parts = (part.strip(_SEPARATORS) for value in values for part in value.split(",", MAX_VALUES)[:MAX_VALUES])
    return tuple(part for part in parts if is_token(part))


def read_integer(text: str, where: str, *, maximum: int | None = fields.MAX_UINT32) -> tuple[int, bool]:
    """Digits; the same number twice is once, and what follows a semicolon is no part of it."""

    def mend(value: str) -> str | None:
        numbers = {
            part.strip(_BLANKS).lstrip("0") or "0" for part in value.partition(";")[0].split(",") if part.strip()
        }
        return numbers.pop() if len(numbers) == 1 else None

    return _read(text, lambda value: fields.parse_integer(value, where, maximum=maximum), mend)


def split_values(values: Iterable[str], where: str) -> tuple[list[str], bool]:
    """The elements of a list over all occurrences of its field, empty ones left out. An element of semicolons alone
    is neither a value nor nothing."""
    parts: list[str] = []
    mended = False
    for value in values:
        whole = value.strip(", \t")
        found = split(whole, ",", where) if "," in whole else [whole]
        kept = [part for part in found if part]
        if any(not part.strip(_SEPARATORS) for part in kept):
            raise SipParseError(f"Empty value in {where}")
        mended |= whole != value.strip(_BLANKS) or (len(kept) != len(found) and len(found) > 1)
        parts += kept
        if len(parts) > MAX_VALUES:
            raise SipParseError(f"Too many values in {where}")
    return parts, mended


# -- mending


def _read(text: str, parse: Callable[[str], T], mend: Callable[[str], str | None]) -> tuple[T, bool]:
    """By the grammar, or mended and then by the grammar."""
    try:
        return parse(text), False
    except SipParseError:
        with contextlib.suppress(SipParseError):
            mended = mend(text)
            if mended is not None:
                return parse(mended), True
        raise


def _mend_address(text: str, where: str) -> str | None:
    display, rest = _split_display(text.strip(_SEPARATORS), where)
    if rest[:1] != "<":
        inner, semicolon, parameters = rest.partition(";")
        if any(mark in inner for mark in '?,<>"'):
            return None
        return _compose(display, inner.strip(_BLANKS), semicolon + parameters, where)
    inner, closing, parameters = rest.lstrip("<").partition(">")
    if not closing:
        match = _HEADER_PARAMETER.search(inner)
        if match is not None:
            inner, parameters = inner[: match.start()], inner[match.start() :]
    if where not in {"From", "To"}:
        inner = inner.strip(_BLANKS)
    return _compose(display, inner, parameters.lstrip(">"), where)


def _compose(display: str, uri: str, parameters: str, where: str) -> str | None:
    address, mended = _mend_uri(uri), _mend_parameters(parameters, where)
    if mended is None or address is None:
        return None
    return f"{quote(display)} <{address}>{mended}" if display else f"<{address}>{mended}"


def _split_display(text: str, where: str) -> tuple[str, str]:
    """The display name without quotes, and what follows it. Raises where its quotes do not pair."""
    opening, quoted = text.find("<"), text.find('"')
    if quoted == 0:
        lost = _ESCAPED_END.match(text)
        if lost is not None:
            return lost[1], text[lost.end() :]
        end = quoted_end(text, 0, where)
        rest = text[end:].strip(_BLANKS)
        if rest[:1] == "<" or _SCHEME.match(rest):
            return unquote_string(text[:end]), rest
    elif opening < 0 or (0 < quoted < opening and _SCHEME.match(text)):
        return "", text
    display = text[: max(opening, 0)].strip(_BLANKS)
    name = display.replace('"', "").replace("\\", "").strip(_BLANKS)
    if opening < 0 or display.count('"') % 2 or any(mark in name for mark in ",;>"):
        raise SipParseError(f"Unquoted display name in {where}")
    return name, text[opening:]


def _mend_parameters(text: str, where: str) -> str | None:
    """The parameters that can be read, from the first semicolon on; None where the tag or branch cannot be."""
    text = text.rstrip(_SEPARATORS).lstrip(" \t,")
    if text[:1] not in {"", ";"} and not _LOST_SEMICOLON.match(text):
        return None
    kept: list[str] = []
    for part in _split_parameters(text, where):
        name, equals, value = part.partition("=")
        name, value = name.strip(_BLANKS), value.strip(_BLANKS)
        decisive = name.lower() in _DECISIVE
        if not is_token(name) or (decisive and not value):
            continue
        wire = f";{name}={value}" if equals else f";{name}"
        if not _is_parameter(wire, where):
            if decisive:
                return None
            if '"' in value:
                continue
            wire = f";{name}={quote(value)}"
        kept.append(wire)
    return "".join(kept)


def _split_parameters(text: str, where: str) -> list[str]:
    """Where a quotation mark or bracket is left open, what is behind it cannot be separated: it is left out, unless
    it holds what decides."""
    try:
        return split(text, ";", where)
    except SipParseError:
        odd = _QUOTES_AND_BRACKETS.search(text)
        if odd is None or _DECIDES.search(text, odd.start()):
            raise
        return split(text[: odd.start()], ";", where)[:-1]


def _is_parameter(text: str, where: str) -> bool:
    try:
        header_parameters(text, where)
    except SipParseError:
        return False
    return True


def _mend_uri(text: str) -> str | None:
    """None where it has no scheme and is no address either."""
    match = _SCHEME.match(text)
    if match is None or _is_host_port(text):
        if "@" not in text and not _is_host_port(text.partition(";")[0]):
            return None
        scheme, rest = "sip:", text
    else:
        scheme, rest = match[0], text[match.end() :]
    if scheme.lower() not in {"sip:", "sips:"}:
        return text
    user, at, location = rest.rpartition("@")
    location, _, query = location.partition("?")
    host, _, parameters = location.partition(";")
    mended = "".join(f";{_escape(part, _SAFE)}" for part in parameters.split(";") if part)
    headers = "&".join(part for part in query.split("&") if part.find("=") > 0)
    headers = f"?{headers}" if headers else ""
    return f"{scheme}{_escape(user, _SAFE_USER)}{at}{_mend_host(host)}{mended}{headers}"


_SAFE = "[]/:&+$-_.!~*'()=%<> \t"
_SAFE_USER = "-_.!~*'()&=+$,;?/#%:<> \t\""
"""White space and brackets stay and are errors: they say that something else is wrong."""


def _escape(text: str, safe: str) -> str:
    return percent(_STRAY_PERCENT.sub("%25", text), safe=safe)


def _mend_host(text: str) -> str:
    text = _ZONE.sub(r"[\1]", text.strip(_BLANKS)).removesuffix(":")
    return f"[{text.partition('%')[0]}]" if _is_ipv6(text.partition("%")[0]) else text


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_host_port(text: str) -> bool:
    """An address without a scheme: `192.0.2.1`, `host.example:5060`."""
    match = _PORT.fullmatch(text)
    host = text if match is None else match[1]
    return bool(re.fullmatch(r"[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+\.?|\[[0-9A-Fa-f:.]+\]", host))


def _mend_via(text: str) -> str | None:
    match = _VIA.fullmatch(text.strip(_SEPARATORS))
    parameters = None if match is None else _mend_parameters(match[3] or "", "Via")
    if match is None or parameters is None:
        return None
    host = _mend_host(match[2])
    port = _PORT.fullmatch(host)
    if port is not None and not host.endswith("]"):
        number = port[2].lstrip("0")
        usable = bool(number) and len(number) <= 5 and int(number) <= 0xFFFF
        needed = match[1].upper().endswith("UDP") and ";rport" not in parameters.lower()
        if not usable and needed and port[2]:
            return None
        host = f"{port[1].rstrip(_BLANKS)}:{number}" if usable else port[1].rstrip(_BLANKS)
    return f"{match[1]} {host}{parameters}"
