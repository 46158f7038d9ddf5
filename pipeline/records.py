"""Records of one call: numbering, ids and the way from a `Segment` to a `TranscriptRecord`.

Everything a call publishes is made here, so that `seq` and `event_id` are given out in one place.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.punctuation import bare_word
from pipeline.segments import Segment
from sinks.record import (
    CallAction,
    CallRecord,
    CallStatistics,
    DtmfRecord,
    LegInfo,
    SpeakerRole,
    TranscriptRecord,
    Word,
    event_id,
)

__all__ = ["CallInfo", "LegOptions", "Numbering", "RecordMaker", "SpeakerRole"]

WHOLE_CALL = ""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """What a connector knows of a call when it begins. `from_`, `to`: numbers or addresses. `event_key`: what its
    `event_id`s are made from, by default the call id."""

    call_id: str
    connector: str
    from_: str | None = None
    to: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    event_key: str | None = None


@dataclass(frozen=True, slots=True)
class LegOptions:
    """One audio track of a call. `language`: a locale or `auto`; None takes the configured default."""

    leg: str
    role: SpeakerRole
    channel_index: int
    language: str | None = None


@dataclass(slots=True)
class Numbering:
    """Counters of one call id. A call that starts again under the same id goes on with them, because `event_id`s are
    made from them and must not come twice."""

    seq: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    dtmf: Counter[str] = field(default_factory=Counter)
    calls: int = 0

    def next_seq(self, leg: str) -> int:
        """0, 1, 2, ... for each leg, `WHOLE_CALL` being one of them."""
        self.seq[leg] += 1
        return self.seq[leg] - 1


class RecordMaker:
    """Makes the records of one call. `at`, in all methods: RFC 3339 in UTC."""

    def __init__(self, info: CallInfo, numbering: Numbering) -> None:
        self.numbering = numbering
        self.metadata = dict(info.metadata)
        self.legs: list[LegInfo] = []
        self._info = info
        self._event_key = info.call_id if info.event_key is None else info.event_key

    def call(
        self,
        action: CallAction,
        at: str,
        *,
        reason: str | None = None,
        statistics: CallStatistics | None = None,
    ) -> CallRecord:
        """A step in the call's life, with its metadata and legs as they are now."""
        numbering, info = self.numbering, self._info
        numbering.calls += 1
        return CallRecord(
            event_id=event_id(self._event_key, WHOLE_CALL, "call", numbering.calls - 1),
            call_id=info.call_id,
            leg=WHOLE_CALL,
            seq=numbering.next_seq(WHOLE_CALL),
            at=at,
            action=action,
            connector=info.connector,
            from_=info.from_,
            to=info.to,
            metadata=dict(self.metadata),
            legs=tuple(self.legs),
            reason=reason,
            statistics=statistics,
        )

    def transcript(self, options: LegOptions, segment: Segment, at: str, latency_ms: float) -> TranscriptRecord:
        """One revision of a segment."""
        call_id = self._info.call_id
        source = segment.language_source
        return TranscriptRecord(
            event_id=event_id(self._event_key, options.leg, "transcript", segment.segment_id, segment.revision),
            call_id=call_id,
            leg=options.leg,
            seq=self.numbering.next_seq(options.leg),
            at=at,
            segment_id=segment.segment_id,
            revision=segment.revision,
            is_final=segment.is_final,
            speech_final=segment.speech_final,
            speaker_role=options.role,
            channel_index=options.channel_index,
            start=round(segment.start, 3),
            duration=round(segment.end - segment.start, 3),
            transcript=segment.transcript,
            confidence=round(segment.confidence, 4),
            stability=round(segment.stability, 4),
            language=segment.language,
            languages=segment.languages,
            language_source=None if source is None else source.value,
            words=tuple(
                Word(
                    word=bare_word(word.text),
                    punctuated_word=word.text,
                    start=round(word.start, 3),
                    end=round(word.end, 3),
                    confidence=round(word.confidence, 4),
                    language=word.language,
                )
                for word in segment.words
            ),
            latency_ms=round(latency_ms, 1),
        )

    def dtmf(self, leg: str, digit: str, start: float, duration: float, at: str) -> DtmfRecord:
        """One key press on a leg."""
        self.numbering.dtmf[leg] += 1
        return DtmfRecord(
            event_id=event_id(self._event_key, leg, "dtmf", self.numbering.dtmf[leg] - 1),
            call_id=self._info.call_id,
            leg=leg,
            seq=self.numbering.next_seq(leg),
            at=at,
            digit=digit,
            start=round(start, 3),
            duration=round(duration, 3),
        )
