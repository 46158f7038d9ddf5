"""Records of the schedules: number `n` of a seed is always the same record, of one of a few calls."""

from random import Random
from typing import Any

from sinks.record import (
    AnyRecord,
    CallAction,
    CallRecord,
    DtmfRecord,
    SpeakerRole,
    TranscriptRecord,
    TurnEvent,
    TurnRecord,
    event_id,
)

CALLS = 4
_KINDS = "transcript", "transcript", "transcript", "call", "turn", "dtmf"
_AT = "2026-11-24T12:00:00.000Z"


def record(seed: int, n: int, text_chars: int = 0) -> AnyRecord:
    """`seq` is `n`. `text_chars`: at least so long a text, in a final."""
    rng = Random(f"{seed} {n}")
    call_id = f"{seed}-{rng.randrange(CALLS)}"
    kind = "transcript" if text_chars else rng.choice(_KINDS)
    leg = "" if kind == "call" else "caller"
    envelope: dict[str, Any] = {
        "event_id": event_id(call_id, "0123456789ab", leg, kind, n),
        "call_id": call_id,
        "leg": leg,
        "seq": n,
        "at": _AT,
    }
    if kind == "call":
        return CallRecord(**envelope, action=CallAction.UPDATE, connector="twilio", metadata={"n": str(n)})
    if kind == "turn":
        return TurnRecord(**envelope, event=TurnEvent.END_OF_TURN, turn_index=n, confidence=0.8, at_s=n / 10)
    if kind == "dtmf":
        return DtmfRecord(**envelope, digit=str(n % 10), start=n / 10, duration=0.0)
    return TranscriptRecord(
        **envelope,
        segment_id=f"caller-{n}",
        revision=1,
        is_final=True,
        speech_final=True,
        speaker_role=SpeakerRole.CUSTOMER,
        channel_index=0,
        start=n / 10,
        duration=0.8,
        transcript="word " * max(rng.randrange(1, 30), text_chars // 5),
        confidence=0.9,
        stability=1.0,
        language="en-US",
        languages=("en-US",),
        language_source="detected",
        words=(),
        latency_ms=81.5,
    )
