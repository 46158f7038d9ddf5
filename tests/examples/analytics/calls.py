"""Calls for the tests of the analytics: what the legs say and when, as the records that a server would have sent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from sinks.record import (
    CallAction,
    CallRecord,
    CallStatistics,
    LegInfo,
    SpeakerRole,
    TranscriptRecord,
    Word,
    as_builtins,
    event_id,
)

BEGAN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WORD_S = 0.4

Fields = dict[str, Any]
Said = tuple[str, float, str, str]
"""Leg, start in seconds of its media time, words (one each 0.4 s, without pauses), language."""

LEGS = (
    LegInfo(leg="caller", speaker_role=SpeakerRole.CUSTOMER, channel_index=0),
    LegInfo(leg="agent", speaker_role=SpeakerRole.AGENT, channel_index=1),
)


def rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def call(
    said: Sequence[Said],
    call_id: str = "CA1",
    *,
    began: datetime = BEGAN,
    run: str | None = None,
    connector: str = "twilio",
    legs: Sequence[LegInfo] = LEGS,
    late_s: dict[str, float] | None = None,
    latency_ms: float = 100.0,
) -> list[Fields]:
    """START, for each thing said a partial and a final, END, in the order of their times. `late_s`: by leg, how long
    after the call it began."""
    roles = {leg.leg: leg for leg in legs}
    seq = Counter[str]()
    records: list[Fields] = []

    def add(record: CallRecord | TranscriptRecord) -> None:
        fields = as_builtins(record)
        if run is not None:
            fields |= {"run": run, "event_id": event_id(call_id, run, record.leg, fields["type"], record.seq)}
        seq[record.leg] += 1
        records.append(fields)

    def step(action: CallAction, at: datetime, **fields: Any) -> CallRecord:
        number = seq[""]
        identity = event_id(call_id, "", "", "call", number)
        known: Fields = {"from_": "+15550100", "to": "+15550199", "legs": tuple(legs)}
        known |= {"event_id": identity, "call_id": call_id, "leg": "", "seq": number, "at": rfc3339(at)}
        return CallRecord(action=action, connector=connector, **(known | fields))

    def transcript(number: int, one: Said, *, final: bool) -> TranscriptRecord:
        leg, start, text, language = one
        words = tuple(
            Word(
                word=word.lower(),
                punctuated_word=word,
                start=round(start + i * WORD_S, 3),
                end=round(start + (i + 1) * WORD_S, 3),
                confidence=0.9,
                language=language,
            )
            for i, word in enumerate(text.split())
        )
        heard = began + timedelta(seconds=words[-1].end + (late_s or {}).get(leg, 0.0))
        segment_id = f"{leg}-{number:04d}"
        return TranscriptRecord(
            event_id=event_id(call_id, "", leg, "transcript", segment_id, int(final)),
            call_id=call_id,
            leg=leg,
            seq=seq[leg],
            at=rfc3339(heard + timedelta(milliseconds=latency_ms)),
            segment_id=segment_id,
            revision=int(final),
            is_final=final,
            speech_final=final,
            speaker_role=roles[leg].speaker_role,
            channel_index=roles[leg].channel_index,
            start=start,
            duration=round(words[-1].end - start, 3),
            transcript=text,
            confidence=0.9,
            stability=1.0 if final else 0.5,
            language=language,
            languages=(language,),
            language_source="detected",
            words=words,
            latency_ms=latency_ms,
        )

    add(step(CallAction.START, began))
    for number, one in enumerate(said):
        add(transcript(number, one, final=False))
        add(transcript(number, one, final=True))
    last = max((start + WORD_S * len(text.split()) for _, start, text, _ in said), default=0.0)
    statistics = CallStatistics(packets=100, lost=0, late=0, words=7, p50_latency_ms=80.0, p95_latency_ms=120.0)
    add(step(CallAction.END, began + timedelta(seconds=last + 1), reason="hangup", statistics=statistics))
    return records


def lines(records: Iterable[Fields]) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def write(path: Path, records: Iterable[Fields]) -> Path:
    path.write_bytes(lines(records))
    return path
