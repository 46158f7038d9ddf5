"""The pieces SIP header fields are made of: tokens, quoted strings, lists and parameters (RFC 3261, section 25.1).

Every scan is linear in the text and every list is bounded, as the text comes from strangers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from connectors.sip.message.errors import SipParseError

MAX_VALUES = 128
MAX_PARAMETERS = 100

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_SEPARATORS = re.compile(r'["<>]|(?P<split>[,;])')
_BARE_VALUE = re.compile(r'[^\s"<>,;\\]*')
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


_PAIRED = re.compile(r'[\\"\x00-\x08\x0b\x0c\x0e-\x1f\x7f]')


def quote(text: str) -> str:
    """`text` as a quoted-string. What stands in one as a quoted-pair alone, control characters among it, is one again
    (RFC 3261, section 25.1)."""
    return '"' + _PAIRED.sub(r"\\\g<0>", text) + '"'


def unquote_string(text: str) -> str:
    """What a quoted-string says; other text as it is."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        return _QUOTED_PAIR.sub(r"\1", text[1:-1])
    return text


def quoted_end(text: str, start: int, where: str) -> int:
    """Index after the quoted-string that begins at `start`. Raises `SipParseError` when it has no closing quote."""
    match = _QUOTED.match(text, start)
    if match is None:
        raise SipParseError(f"Unbalanced quote in {where}")
    return match.end()


def unescape(text: str, where: str) -> str:
    """Percent-decoding (RFC 3261, section 19.1.2); octets that are no UTF-8 become U+FFFD."""
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise SipParseError(f"Bad escape in {where}")
    return unquote(text, errors="replace")


def split(text: str, separator: str, where: str, *, limit: int = MAX_VALUES) -> list[str]:
    """Parts between separators that stand neither in quotes nor in angle brackets, stripped; empty ones are kept."""
    parts: list[str] = []
    begin = position = 0
    while match := _SEPARATORS.search(text, position):
        position = match.end()
        mark = match.group()
        if mark == '"':
            position = quoted_end(text, match.start(), where)
        elif mark == "<":
            position = text.find(">", position) + 1
            if position == 0:
                raise SipParseError(f"Unbalanced angle bracket in {where}")
        elif mark == ">":
            raise SipParseError(f"Unbalanced angle bracket in {where}")
        elif mark == separator:
            parts.append(text[begin : match.start()].strip())
            begin = position
            if len(parts) >= limit:
                raise SipParseError(f"Too many values in {where}")
    parts.append(text[begin:].strip())
    return parts


def split_list(text: str, where: str) -> list[str]:
    """Values of a comma-separated header field. An empty field has none; an empty value in a list is an error."""
    if not text.strip():
        return []
    values = split(text, ",", where)
    if not all(values):
        raise SipParseError(f"Empty value in {where}")
    return values


@dataclass(frozen=True, slots=True, eq=False)
class SipParameters(Mapping[str, str | None]):
    """Parameters in their order, names without case, values unquoted or unescaped; None where there is only a name.

    `wire`: the same as it was received or will be sent, from the first semicolon on. The first of two equal names
    counts.
    """

    pairs: tuple[tuple[str, str | None], ...] = ()
    wire: str = ""

    def __getitem__(self, name: str) -> str | None:
        wanted = name.lower()
        for key, value in self.pairs:
            if key.lower() == wanted:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.lower() for key, _ in self.pairs))

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.pairs})

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, SipParameters) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __str__(self) -> str:
        return self.wire

    def put(self, name: str, value: str | None) -> SipParameters:
        """These parameters with `name` set in its place, or appended. The value is quoted when it is not plain."""
        kept = [
            (key, old, text)
            for (key, old), text in zip(self.pairs, _wires(self.wire), strict=True)
            if key.lower() != name.lower()
        ]
        place = next((i for i, (key, _) in enumerate(self.pairs) if key.lower() == name.lower()), len(kept))
        kept.insert(place, (name, value, _encode(name, value)))
        return SipParameters(tuple((key, old) for key, old, _ in kept), "".join(f";{text}" for _, _, text in kept))

    @staticmethod
    def of(**values: str | None) -> SipParameters:
        """`SipParameters.of(tag="1", lr=None)`; an underscore in a name stands for a hyphen."""
        pairs = tuple((name.replace("_", "-"), value) for name, value in values.items())
        return SipParameters(pairs, "".join(f";{_encode(name, value)}" for name, value in pairs))


def _wires(wire: str) -> list[str]:
    return split(wire, ";", "parameters", limit=MAX_PARAMETERS + 2)[1:]


def _encode(name: str, value: str | None) -> str:
    if value is None:
        return name
    return f"{name}={value if value and _BARE_VALUE.fullmatch(value) else quote(value)}"


def header_parameters(text: str, where: str) -> SipParameters:
    """`*( SEMI name [ EQUAL value ] )` after a header's value, white space allowed around both signs."""
    text = text.strip()
    if not text:
        return SipParameters()
    if text[0] != ";":
        raise SipParseError(f"Malformed parameters in {where}")
    pairs: list[tuple[str, str | None]] = []
    wires: list[str] = []
    for part in split(text, ";", where, limit=MAX_PARAMETERS)[1:]:
        name, equals, value = part.partition("=")
        name, value = name.rstrip(), value.lstrip()
        if not is_token(name):
            raise SipParseError(f"Malformed parameter in {where}" if part else f"Empty parameter in {where}")
        if value[:1] == '"':
            if quoted_end(value, 0, where) != len(value):
                raise SipParseError(f"Malformed parameter in {where}")
        elif not _BARE_VALUE.fullmatch(value):
            raise SipParseError(f"Malformed parameter in {where}")
        pairs.append((name, unquote_string(value) if equals else None))
        wires.append(f";{name}={value}" if equals else f";{name}")
    return SipParameters(tuple(pairs), "".join(wires))
