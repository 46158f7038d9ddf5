"""Which header fields a message needs to be processed: only those decide over it (RFC 3261, section 8.2.2).

Sits between the parser, which takes a message apart, and everything behind it. Fields in the table are read as a
message comes in. What can be read only by mending is noted; what cannot be read refuses the message where it is needed
and is noted as ignored where not. Fields that are not in the table are text to us, or are read by the one who needs
them (`Replaces`, `RAck`, `Authorization`).

| field | needed by |
|---|---|
| topmost Via, Call-ID, CSeq, and the tags of From and To | everything |
| From, To | requests outside of a dialog: within one the tags say all (section 12.2.2) |
| Request-URI, and the white space around it | INVITE, and what is outside of a dialog; not CANCEL (9.2: its Via says) |
| Contact | INVITE outside of a dialog; REGISTER |
| Record-Route | INVITE outside of a dialog |
| Require | requests but ACK and CANCEL (section 8.2.2.3), and BYE: it ends its call whatever it asks for |
| Content-Type | INVITE, UPDATE, INFO and PRACK with a body |
| Content-Length | over streams, everything; in a datagram, requests but ACK, BYE and CANCEL |
| all other fields, other Vias | nothing |

A field of which there must be one and that is there several times, each time with the same value, is there once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from connectors.sip.message import leniency
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import header_parameters
from connectors.sip.message.message import METHODS, Oddity, SipMessage, SipRequest
from connectors.sip.session_timer import SessionExpires, seconds

FieldReader = Callable[[Sequence[str]], bool]
"""Reads the values of a field. True: mended. Raises `SipParseError`."""

_WITH_A_BODY = frozenset({"INVITE", "UPDATE", "INFO", "PRACK"})
_BEGINS_A_DIALOG = frozenset({"INVITE"})
_ENDS_ANYHOW = frozenset({"ACK", "CANCEL", "BYE"})
_REQUIRED = ("Via", "From", "To", "Call-ID", "CSeq")
_ONCE = ("Call-ID", "CSeq", "From", "To")
_SINGLE = frozenset({*_ONCE, "Max-Forwards", "Content-Type"})
_CALL_ID = re.compile(r"[^\x00-\x20\x7f]+")

OTHER = "(other)"
"""Stands for all fields whose names are not in the table."""

LINE, LINE_END, FILLER, START_LINE = "(line)", "(line end)", "(filler)", "(start line)"
"""What else of a message may be odd: a line that is no field, line ends that are not CRLF, octets before a message,
white space in or a URI of the first line."""


@dataclass(frozen=True, slots=True)
class Need:
    """Of one field: how it is read, and whether a message needs it."""

    read: FieldReader
    needed: Callable[["Kind"], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Kind:
    """What needs depend on. `method` "" is a response. `in_dialog`: To has a tag."""

    method: str
    in_dialog: bool
    has_body: bool

    @property
    def begins(self) -> bool:
        """A request that stands for itself, outside of a dialog."""
        return bool(self.method) and not self.in_dialog


def _is_whole_address(kind: Kind) -> bool:
    return kind.begins


def _addresses(name: str) -> FieldReader:
    return lambda values: leniency.read_addresses(values, name)[1]


def _tokens(name: str) -> FieldReader:
    return lambda values: leniency.read_tokens(values, name)[1]


def _party(name: str) -> FieldReader:
    def read(values: Sequence[str]) -> bool:
        address, mended = leniency.read_address(values[0], name)
        return mended or (address.tag is None and "tag" in address.parameters)

    return read


def _disposition(values: Sequence[str]) -> bool:
    for value in values:
        _, semicolon, parameters = value.partition(";")
        header_parameters(semicolon + parameters, "Content-Disposition")
    return False


def _session_expires(values: Sequence[str]) -> bool:
    if SessionExpires.parse(values[0]) is None:
        raise SipParseError("Malformed Session-Expires")
    return False


def _min_se(values: Sequence[str]) -> bool:
    if seconds(values[0]) is None:
        raise SipParseError("Malformed Min-SE")
    return False


TABLE: Mapping[str, Need] = {
    "From": Need(_party("From"), _is_whole_address),
    "To": Need(_party("To"), _is_whole_address),
    "Contact": Need(
        lambda values: leniency.read_contacts(values)[1],
        lambda kind: kind.begins and kind.method in {*_BEGINS_A_DIALOG, "REGISTER"},
    ),
    "Content-Type": Need(
        lambda values: bool(values[0]) and leniency.read_media_type(values[0])[1],
        lambda kind: kind.has_body and kind.method in _WITH_A_BODY,
    ),
    "Require": Need(_tokens("Require"), lambda kind: bool(kind.method) and kind.method not in _ENDS_ANYHOW),
    "Record-Route": Need(_addresses("Record-Route"), lambda kind: kind.begins and kind.method in _BEGINS_A_DIALOG),
    "Route": Need(_addresses("Route")),
    "Supported": Need(_tokens("Supported")),
    "Allow": Need(_tokens("Allow")),
    "Accept": Need(lambda values: leniency.read_accept(values)[1]),
    "Content-Disposition": Need(_disposition),
    "Content-Encoding": Need(_tokens("Content-Encoding")),
    "Session-Expires": Need(_session_expires),
    "Min-SE": Need(_min_se),
    "Max-Forwards": Need(lambda values: leniency.read_integer(values[0], "Max-Forwards", maximum=None)[1]),
}
"""Without what everything needs."""


def needs_target(kind: Kind) -> bool:
    """Whether the Request-URI decides; in a re-INVITE as RFC 4475, section 3.1.2.8 has it."""
    return kind.method == "INVITE" or (kind.begins and kind.method != "CANCEL")


def needs_length(method: str) -> bool:
    """Whether a datagram needs to say how long its body is."""
    return bool(method) and method not in _ENDS_ANYHOW


def describe_body(message: SipMessage) -> None:
    """A body without a Content-Type that begins as a session description does is one (RFC 8866, section 5.1)."""
    if message.body and message.body.lstrip()[:3] == b"v=0" and not message.headers.get("Content-Type"):
        message.headers.set("Content-Type", "application/sdp")
        note(message, "Content-Type")


def check(message: SipMessage, broken: Mapping[str, str], *, has_body: bool) -> Kind:
    """Notes what is odd. `broken`: the fields that are no text, and why. Raises `SipParseError` for what is needed and
    cannot be read, or can be read in more than one way."""
    values: dict[str, list[str]] = {}
    for name, value in message.headers:
        values.setdefault(name, []).append(value)
    kind = _identity(message, values, broken, has_body=has_body)
    for name, need in TABLE.items():
        if name in broken:
            if need.needed(kind):
                raise SipParseError(broken[name])
            note(message, name, ignored=True)
        elif name in values:
            try:
                if need.read(_single(name, values[name], message)):
                    note(message, name)
            except SipParseError:
                if need.needed(kind):
                    raise
                note(message, name, ignored=True)
    for name in broken:
        if name not in TABLE:
            note(message, OTHER, ignored=True)
    return kind


def note(message: SipMessage, header: str, *, ignored: bool = False) -> None:
    """Once for each message."""
    oddity = Oddity(header, ignored)
    if oddity not in message.oddities:
        message.oddities.append(oddity)


def _identity(
    message: SipMessage, values: Mapping[str, Sequence[str]], broken: Mapping[str, str], *, has_body: bool
) -> Kind:
    """What everything needs: by it messages are distinguished and answered."""
    for name in _ONCE:
        _single(name, values.get(name, ()), message)
    for name in _REQUIRED:
        if name in broken:
            raise SipParseError(broken[name])
        if not any(values.get(name, ())):
            raise SipParseError(f"Missing {name}")
    _, others, mended = leniency.first_via(values["Via"])
    if mended:
        note(message, "Via")
    if others or len(values["Via"]) > 1:
        _lower_vias(message, others, values["Via"])
    if not _CALL_ID.fullmatch(message.call_id):
        raise SipParseError("Malformed Call-ID")
    _ = message.from_
    in_dialog = message.to.tag is not None
    cseq, mended = leniency.read_cseq(values["CSeq"][0])
    if not isinstance(message, SipRequest):
        method = ""
    else:
        method = message.method
        if cseq.method.upper() != method.upper() or (cseq.method != method and method not in METHODS):
            raise SipParseError("CSeq names another method", status=400 if method in METHODS else 501)
        mended |= cseq.method != method
    if mended:
        note(message, "CSeq")
    return Kind(method, in_dialog, has_body)


def _lower_vias(message: SipMessage, others: Sequence[str], lines: Sequence[str]) -> None:
    """Those below the topmost are sent back as they came."""
    try:
        parts, _ = leniency.split_values([line for line in lines if line][1:], "Via")
        for part in (*others, *parts):
            leniency.read_via(part)
    except SipParseError:
        note(message, "Via", ignored=True)


def _single(name: str, values: Sequence[str], message: SipMessage) -> Sequence[str]:
    """Of a field that stands once, that value. Raises where there are several that differ."""
    if name in _SINGLE and len(values) > 1:
        if len({" ".join(value.split()) for value in values}) > 1:
            raise SipParseError(f"Multiple {name}")
        note(message, name)
        return values[:1]
    return values
