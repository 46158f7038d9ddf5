import msgspec
import pytest

from sinks.record import AnyRecord, CallAction, CallRecord, SpeakerRole, TranscriptRecord, Word
from trunkline.demo.report import report
from trunkline.demo.script import Line

SCRIPT = [
    Line(leg="inbound", role="customer", language="es-US", text="Hola, soy Ana.", start=0.0, end=1.0),
    Line(leg="inbound", role="customer", language="en-US", text="I am Ana.", start=1.0, end=2.0),
]


def call(action: CallAction, seq: int) -> CallRecord:
    return CallRecord(event_id=f"c{seq}", call_id="C", leg="", seq=seq, at="t", action=action, connector="twilio")


def transcript(seq: int, segment: int, text: str, language: str, *, final: bool = True) -> TranscriptRecord:
    words = tuple(
        Word(word=word, punctuated_word=word, start=seq, end=seq, confidence=1.0, language=language)
        for word in text.split()
    )
    return TranscriptRecord(
        event_id=f"t{seq}",
        call_id="C",
        leg="inbound",
        seq=seq,
        at="t",
        segment_id=f"inbound-{segment}",
        revision=0,
        is_final=final,
        speech_final=final,
        speaker_role=SpeakerRole.CUSTOMER,
        channel_index=0,
        start=float(segment),
        duration=1.0,
        transcript=text,
        confidence=1.0,
        stability=1.0,
        language=language,
        languages=(language,),
        language_source="detected",
        words=words,
        latency_ms=10.0 * (seq + 1),
    )


@pytest.fixture
def records() -> list[AnyRecord]:
    return [
        call(CallAction.START, 0),
        transcript(0, 0, "Hola,", "es-US", final=False),
        transcript(1, 0, "Hola, soy Ana.", "es-US"),
        transcript(2, 1, "I am Anna.", "en-US"),
        call(CallAction.END, 1),
    ]


def test_complete_call_is_summed_up(records: list[AnyRecord]) -> None:
    result = report(records, SCRIPT)
    assert result.faults == ()
    assert (result.errors.errors, result.errors.words, result.words) == (1, 6, 6)
    assert (result.right_languages, result.lines) == (2, 2)
    assert (result.p50_latency_ms, result.p95_latency_ms) == (20.0, 30.0)


def test_wrong_language_is_counted(records: list[AnyRecord]) -> None:
    records[3] = transcript(2, 1, "I am Ana.", "de-DE")
    assert report(records, SCRIPT).right_languages == 1


def test_every_kind_of_gap_is_a_fault(records: list[AnyRecord]) -> None:
    assert report(records[1:], SCRIPT).faults == ("the call does not begin with START",)
    assert report(records[:-1], SCRIPT).faults == ("the call does not end with END",)
    assert report([*records[:3], *records[4:]], SCRIPT).faults == ()
    assert report([*records[:2], *records[3:]], SCRIPT).faults == (
        "segment inbound-0 has no final",
        "leg inbound has a gap in its sequence",
    )
    late = msgspec.structs.replace(records[3], is_final=False)
    assert report([*records[:3], late, records[4]], SCRIPT).faults == (
        "leg inbound does not end with a final",
        "segment inbound-1 has no final",
    )
