"""The records Trunkline publishes: schema `trunkline/1`.

Four types share one envelope: `transcript`, `call`, `turn` and `dtmf`. `event_id` is deterministic, so a consumer
that sees a record twice can drop the second. All numbers count within one run of a call, and `event_id` names the run:
two servers that take the same call, or one that takes it again, never give one id to different words. The JSON Schema
of the wire form is `sinks/trunkline-1.schema.json`.
"""

import hashlib
from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

SCHEMA: Final = "trunkline/1"


class SpeakerRole(StrEnum):
    AGENT = "agent"
    CUSTOMER = "customer"
    UNKNOWN = "unknown"


class CallAction(StrEnum):
    START = "START"
    UPDATE = "UPDATE"
    HOLD = "HOLD"
    RESUME = "RESUME"
    TRANSFER = "TRANSFER"
    END = "END"


class TurnEvent(StrEnum):
    START_OF_TURN = "StartOfTurn"
    EAGER_END_OF_TURN = "EagerEndOfTurn"
    TURN_RESUMED = "TurnResumed"
    END_OF_TURN = "EndOfTurn"
    INTERRUPTION = "Interruption"
    BACK_CHANNEL = "BackChannel"


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One word. `word` is lower-case without punctuation; times in seconds of the leg's media time."""

    word: str
    punctuated_word: str
    start: float
    end: float
    confidence: float
    language: str | None


class LegInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A leg as the call record lists it."""

    leg: str
    speaker_role: SpeakerRole
    channel_index: int


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Envelope of every record.

    `run`: one begin-to-end of the call on one server; records of before this field have none. `seq` grows by one with
    every record of (call, run, leg); `at` is RFC 3339 in UTC with milliseconds. `leg` is the empty string on records
    that concern the whole call.
    """

    event_id: str
    call_id: str
    run: str | msgspec.UnsetType = msgspec.UNSET
    leg: str
    seq: int
    at: str
    schema: Literal["trunkline/1"] = SCHEMA


class TranscriptRecord(Record, tag="transcript", frozen=True, kw_only=True):
    """A segment as known so far. A later revision replaces an earlier one; a final is never replaced by a partial.

    `start`, `duration`: seconds of the leg's media time. `latency_ms`: arrival of the newest audio this record is
    based on to its emission. `language_source`: `detected` (the model wrote the tag), `carried` (the tag of the
    sentence before), `configured`, or null while no language is known.
    """

    segment_id: str
    revision: int
    is_final: bool
    speech_final: bool
    speaker_role: SpeakerRole
    channel_index: int
    start: float
    duration: float
    transcript: str
    confidence: float
    stability: float
    language: str | None
    languages: tuple[str, ...]
    language_source: Literal["detected", "carried", "configured"] | None
    words: tuple[Word, ...]
    latency_ms: float


class CallStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a call's END carries: media packets over all legs, words in finals, latency over all its transcripts."""

    packets: int
    lost: int
    late: int
    words: int
    p50_latency_ms: float | None
    p95_latency_ms: float | None


class CallRecord(Record, tag="call", frozen=True, kw_only=True):
    """A step in the life of a call. `from` and `to` are the numbers or addresses the connector was given."""

    action: CallAction
    connector: str
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    metadata: dict[str, str] = {}
    legs: tuple[LegInfo, ...] = ()
    reason: str | None = None
    statistics: CallStatistics | None = None


class TurnRecord(Record, tag="turn", frozen=True, kw_only=True):
    """A turn event of one leg; `at_s` is media time. `over`: of Interruption and BackChannel, the leg whose speaker had
    the word; the record's own leg, where that was what is played on it."""

    event: TurnEvent
    turn_index: int
    confidence: float
    at_s: float
    over: str | msgspec.UnsetType = msgspec.UNSET


class DtmfRecord(Record, tag="dtmf", frozen=True, kw_only=True):
    """One key press; `start` and `duration` in seconds of media time (`duration` 0 where the wire does not say)."""

    digit: str
    start: float
    duration: float


AnyRecord = TranscriptRecord | CallRecord | TurnRecord | DtmfRecord

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


def event_id(call_id: str, run: str, leg: str, kind: str, index: str | int, revision: int = 0) -> str:
    """Deterministic id of (call, run, leg, type, segment or index, revision): 32 hex digits. `run` has no spaces."""
    key = "\x1f".join((f"{call_id} {run}", leg, kind, str(index), str(revision)))
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def encode(record: AnyRecord) -> bytes:
    """The record as one line of JSON, UTF-8, without the newline."""
    return _encoder.encode(record)


def decode(data: bytes | str) -> AnyRecord:
    """Inverse of `encode`; raises `msgspec.ValidationError` on anything that is not a record."""
    return _decoder.decode(data)


def as_builtins(record: AnyRecord) -> dict[str, Any]:
    """The record as plain dictionaries and lists, exactly as a consumer decodes it from the wire."""
    return msgspec.json.decode(_encoder.encode(record))  # type: ignore[no-any-return]


def is_partial(record: AnyRecord) -> bool:
    """True for a transcript that a later one will replace: the only kind that may be dropped under pressure."""
    return isinstance(record, TranscriptRecord) and not record.is_final
