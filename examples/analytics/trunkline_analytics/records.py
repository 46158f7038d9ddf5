"""Records as a consumer reads them: whatever a topic or file holds, in; a row of a known type or a reason, out.

Other than in `sinks.record` every value of a set that may grow is text, and a field or a type that this version does
not know is no fault: the first is counted by name, the second is kept unread.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

SCHEMA: Final = "trunkline/1"

UNREAD: Final = "unread"
"""Kind of the rows for what could not be read: damaged, of another schema, or of an unknown type."""

YEARS: Final = range(1971, 2200)
"""A date names a folder, so a record may not name any."""

Name = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Utc = Annotated[datetime, msgspec.Meta(tz=True)]


class Word(msgspec.Struct, kw_only=True):
    word: str
    start: float
    end: float
    punctuated_word: str | None = None
    confidence: float | None = None
    language: str | None = None


class LegInfo(msgspec.Struct, kw_only=True):
    leg: str
    speaker_role: str = "unknown"
    channel_index: Count = 0


class Statistics(msgspec.Struct, kw_only=True):
    packets: Count | None = None
    lost: Count | None = None
    late: Count | None = None
    words: Count | None = None
    p50_latency_ms: float | None = None
    p95_latency_ms: float | None = None


class Envelope(msgspec.Struct, kw_only=True):
    """`run` is absent from records of servers that had none."""

    schema: str
    event_id: Name
    call_id: Name
    run: str | None = None
    leg: str
    seq: Count
    at: Utc


class Transcript(Envelope, kw_only=True):
    segment_id: str
    revision: Count
    is_final: bool
    start: float
    duration: float
    transcript: str
    speech_final: bool | None = None
    speaker_role: str = "unknown"
    channel_index: Count = 0
    confidence: float | None = None
    stability: float | None = None
    language: str | None = None
    languages: list[str] = []
    language_source: str | None = None
    words: list[Word] = []
    latency_ms: float | None = None


class Call(Envelope, kw_only=True):
    action: str
    connector: str
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    metadata: dict[str, str] = {}
    legs: list[LegInfo] = []
    reason: str | None = None
    statistics: Statistics | None = None


class Turn(Envelope, kw_only=True):
    event: str | None = None
    turn_index: Count | None = None
    confidence: float | None = None
    at_s: float | None = None
    over: str | None = None


class Dtmf(Envelope, kw_only=True):
    digit: str
    start: float | None = None
    duration: float | None = None


KINDS: Final[dict[str, type[Envelope]]] = {"transcript": Transcript, "call": Call, "turn": Turn, "dtmf": Dtmf}
_FIELDS = {kind: {"type", *row.__struct_encode_fields__} for kind, row in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """`fields`: the columns of `kind`, plain values but for `at`. `unknown`: names of fields that are left out."""

    kind: str
    fields: dict[str, Any]
    unknown: tuple[str, ...] = ()

    @property
    def at(self) -> datetime:
        at: datetime = self.fields["at"]
        return at


@dataclass(frozen=True, slots=True)
class Unread:
    """What is not a row, and why, in few words that come again for the same fault."""

    reason: str


def read(data: bytes | None) -> Row | Unread:
    """One record from its JSON. Never raises, whatever the bytes."""
    try:
        record = msgspec.json.decode(data or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Unread("not JSON" if data else "no value")
    if not isinstance(record, dict):
        return Unread("not a JSON object")
    schema, kind = record.get("schema"), record.get("type")
    if schema != SCHEMA:
        return Unread("no schema" if schema is None else f"schema {_short(schema)}")
    if not isinstance(kind, str) or kind not in KINDS:
        return Unread("no type" if kind is None else f"unknown type {_short(kind)}")
    return _row(kind, record)


def _row(kind: str, record: dict[str, Any]) -> Row | Unread:
    try:
        row = msgspec.to_builtins(msgspec.convert(record, KINDS[kind]), builtin_types=(datetime,))
    except (msgspec.ValidationError, RecursionError) as error:
        return Unread(f"{kind}: {_short(error)}")
    if row["at"].year not in YEARS:
        return Unread(f"{kind}: at is no time of the years {YEARS.start} to {YEARS.stop - 1}")
    return Row(kind, row, tuple(sorted(record.keys() - _FIELDS[kind])))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}…"


class Tally:
    """What was read: rows by kind, reasons for what was not, and unknown fields by name. A record may make up names
    without end, so at most `MOST` of each are told apart."""

    MOST = 50

    def __init__(self) -> None:
        self.rows = Counter[str]()
        self.unread = Counter[str]()
        self.unknown_fields = Counter[str]()

    def add(self, outcome: Row | Unread) -> None:
        if isinstance(outcome, Unread):
            self._count(self.unread, outcome.reason)
            return
        self.rows[outcome.kind] += 1
        for name in outcome.unknown:
            self._count(self.unknown_fields, f"{outcome.kind}.{_short(name)}")

    def _count(self, counter: Counter[str], name: str) -> None:
        counter[name if name in counter or len(counter) < self.MOST else "others"] += 1
