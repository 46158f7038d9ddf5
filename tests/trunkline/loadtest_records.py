"""Records as a tally reads them."""

from sinks.record import CallAction, CallRecord, CallStatistics, SpeakerRole, TranscriptRecord, Word


def words(text: str, start: float, step: float = 0.25) -> tuple[Word, ...]:
    return tuple(
        Word(
            word=part.lower(),
            punctuated_word=part,
            start=start + k * step,
            end=start + k * step + 0.2,
            confidence=1.0,
            language=None,
        )
        for k, part in enumerate(text.split())
    )


def final(
    text: str,
    start: float,
    channel: int = 0,
    *,
    call_id: str = "CA1",
    segment: str = "s0",
    revision: int = 0,
    is_final: bool = True,
    latency_ms: float = 50.0,
) -> TranscriptRecord:
    return TranscriptRecord(
        event_id="e",
        call_id=call_id,
        leg="leg",
        seq=0,
        at="2026-01-01T00:00:00.000Z",
        segment_id=segment,
        revision=revision,
        is_final=is_final,
        speech_final=is_final,
        speaker_role=SpeakerRole.UNKNOWN,
        channel_index=channel,
        start=start,
        duration=1.0,
        transcript=text,
        confidence=1.0,
        stability=1.0,
        language=None,
        languages=(),
        language_source=None,
        words=words(text, start),
        latency_ms=latency_ms,
    )


def step(action: CallAction, call_id: str = "CA1", packets: int = 0, **fields: object) -> CallRecord:
    statistics = CallStatistics(packets=packets, lost=2, late=1, words=0, p50_latency_ms=None, p95_latency_ms=None)
    return CallRecord(
        event_id="e",
        call_id=call_id,
        leg="",
        seq=0,
        at="2026-01-01T00:00:00.000Z",
        action=action,
        connector="sip",
        statistics=statistics if action is CallAction.END else None,
        **fields,  # type: ignore[arg-type]
    )
