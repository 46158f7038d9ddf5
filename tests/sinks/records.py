"""Records for the tests of the sinks: short makers with sound defaults, and strategies for all four types."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from sinks.record import (
    AnyRecord,
    CallAction,
    CallRecord,
    CallStatistics,
    DtmfRecord,
    LegInfo,
    SpeakerRole,
    TranscriptRecord,
    TurnEvent,
    TurnRecord,
    Word,
    event_id,
)

AT = "2026-11-24T12:00:00.000Z"
RUN, OTHER_RUN = "0123456789ab", "ba9876543210"
STATISTICS = CallStatistics(packets=100, lost=1, late=2, words=7, p50_latency_ms=80.5, p95_latency_ms=120.0)
LEGS = (
    LegInfo(leg="caller", speaker_role=SpeakerRole.CUSTOMER, channel_index=0),
    LegInfo(leg="agent", speaker_role=SpeakerRole.AGENT, channel_index=1),
)


def call(
    action: CallAction, call_id: str = "CA1", *, run: str = RUN, seq: int = 0, at: str = AT, **fields: Any
) -> CallRecord:
    return CallRecord(
        event_id=event_id(call_id, run, "", "call", seq),
        call_id=call_id,
        run=run,
        leg="",
        seq=seq,
        at=at,
        action=action,
        connector="twilio",
        **fields,
    )


def start(call_id: str = "CA1", *, at: str = AT, **fields: Any) -> CallRecord:
    known: dict[str, Any] = {"from_": "+15550100", "to": "+15550199", "metadata": {"queue": "sales"}, "legs": LEGS}
    return call(CallAction.START, call_id, at=at, **(known | fields))


def end(call_id: str = "CA1", *, run: str = RUN, seq: int = 9, at: str = "2026-11-24T12:05:00.000Z") -> CallRecord:
    return call(CallAction.END, call_id, run=run, seq=seq, at=at, reason="hangup", statistics=STATISTICS)


def transcript(
    text: str = "hello",
    segment: int = 0,
    revision: int = 0,
    *,
    final: bool = False,
    call_id: str = "CA1",
    run: str = RUN,
    leg: str = "caller",
    begin: float | None = None,
    seq: int = 0,
) -> TranscriptRecord:
    words = tuple(
        Word(word=word.lower(), punctuated_word=word, start=i * 0.4, end=i * 0.4 + 0.3, confidence=0.9, language="en")
        for i, word in enumerate(text.split())
    )
    segment_id = f"{leg}-{segment}"
    return TranscriptRecord(
        event_id=event_id(call_id, run, leg, "transcript", segment_id, revision),
        call_id=call_id,
        run=run,
        leg=leg,
        seq=seq,
        at=AT,
        segment_id=segment_id,
        revision=revision,
        is_final=final,
        speech_final=final,
        speaker_role=SpeakerRole.CUSTOMER,
        channel_index=0,
        start=float(segment) if begin is None else begin,
        duration=0.8,
        transcript=text,
        confidence=0.9,
        stability=1.0 if final else 0.5,
        language="en-US",
        languages=("en-US",),
        language_source="detected",
        words=words,
        latency_ms=81.5,
    )


def dtmf(digit: str = "5", index: int = 0, call_id: str = "CA1", run: str = RUN) -> DtmfRecord:
    return DtmfRecord(
        event_id=event_id(call_id, run, "caller", "dtmf", index),
        call_id=call_id,
        run=run,
        leg="caller",
        seq=index,
        at=AT,
        digit=digit,
        start=1.5,
        duration=0.0,
    )


def turn(event: TurnEvent = TurnEvent.END_OF_TURN, index: int = 0, call_id: str = "CA1", run: str = RUN) -> TurnRecord:
    return TurnRecord(
        event_id=event_id(call_id, run, "caller", "turn", index),
        call_id=call_id,
        run=run,
        leg="caller",
        seq=index,
        at=AT,
        event=event,
        turn_index=index,
        confidence=0.8,
        at_s=2.5,
        over="agent" if event in (TurnEvent.INTERRUPTION, TurnEvent.BACK_CHANNEL) else msgspec.UNSET,
    )


def every_kind() -> list[AnyRecord]:
    """One record of every type, and every call action and turn event."""
    return [
        start(),
        *(call(action, seq=i + 1) for i, action in enumerate(CallAction) if action is not CallAction.END),
        end(),
        transcript("so"),
        transcript("So far.", revision=1, final=True),
        msgspec.structs.replace(transcript(""), language=None, languages=(), language_source=None),
        *(turn(event, i) for i, event in enumerate(TurnEvent)),
        *(dtmf(digit, i) for i, digit in enumerate("0123456789*#ABCD")),
    ]


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_count = st.integers(0, 2**31)
_seconds = st.floats(0, 1e6, allow_nan=False)
_probability = st.floats(0, 1, allow_nan=False)
_language = st.sampled_from(["en-US", "es-ES", "zh-CN", "pt", "ar-AR"])
_at = st.datetimes().map(lambda at: at.replace(year=2000 + at.year % 100).isoformat(timespec="milliseconds") + "Z")
_envelope: dict[str, st.SearchStrategy[Any]] = {
    "event_id": st.binary(min_size=16, max_size=16).map(bytes.hex),
    "call_id": _name,
    "run": st.just(msgspec.UNSET) | st.binary(min_size=6, max_size=16).map(bytes.hex),
    "leg": _name,
    "seq": _count,
    "at": _at,
}
_words = st.builds(
    Word,
    word=_text,
    punctuated_word=_text,
    start=_seconds,
    end=_seconds,
    confidence=_probability,
    language=st.none() | _language,
)


@st.composite
def transcripts(draw: st.DrawFn) -> TranscriptRecord:
    language = draw(st.none() | _language)
    sources = st.none() if language is None else st.sampled_from(["detected", "carried", "configured"])
    return draw(
        st.builds(
            TranscriptRecord,
            **_envelope,
            segment_id=_name,
            revision=_count,
            speaker_role=st.sampled_from(SpeakerRole),
            channel_index=st.integers(0, 31),
            start=_seconds,
            duration=_seconds,
            transcript=_text,
            confidence=_probability,
            stability=_probability,
            language=st.just(language),
            languages=st.lists(_language, unique=True).map(tuple),
            language_source=sources,
            words=st.lists(_words, max_size=4).map(tuple),
            latency_ms=_seconds,
        )
    )


@st.composite
def calls(draw: st.DrawFn) -> CallRecord:
    action = draw(st.sampled_from(CallAction))
    latency = st.none() | _seconds
    statistics = st.builds(
        CallStatistics,
        packets=_count,
        lost=_count,
        late=_count,
        words=_count,
        p50_latency_ms=latency,
        p95_latency_ms=latency,
    )
    leg = st.builds(LegInfo, leg=_name, speaker_role=st.sampled_from(SpeakerRole), channel_index=st.integers(0, 31))
    ended = action is CallAction.END
    return draw(
        st.builds(
            CallRecord,
            **(_envelope | {"leg": st.just("")}),
            action=st.just(action),
            connector=_name,
            from_=st.none() | _text,
            to=st.none() | _text,
            metadata=st.dictionaries(_text, _text, max_size=4),
            legs=st.lists(leg, max_size=3).map(tuple),
            reason=_name if ended else st.none(),
            statistics=statistics if ended else st.none(),
        )
    )


turns = st.builds(
    TurnRecord,
    **_envelope,
    event=st.sampled_from(TurnEvent),
    turn_index=_count,
    confidence=_probability,
    at_s=_seconds,
    over=st.just(msgspec.UNSET) | _name,
)
key_presses = st.builds(
    DtmfRecord, **_envelope, digit=st.sampled_from("0123456789*#ABCD"), start=_seconds, duration=_seconds
)
records: st.SearchStrategy[AnyRecord] = st.one_of(transcripts(), calls(), turns, key_presses)
