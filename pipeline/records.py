"""Records of one call: numbering, ids and the way from a `Segment` to a `TranscriptRecord`.

Everything a call publishes is made here, so that `seq` and `event_id` are given out in one place. All numbers begin at
0 with the call. What keeps ids apart from those of any other server, or of the same call taken again, is the run: a
random token of each `RecordMaker`, which `event_id` and `segment_id` are made from too.
"""

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import UNSET

from pipeline.punctuation import bare_word
from pipeline.segments import Segment
from pipeline.turns.config import TurnChanges
from pipeline.turns.machine import Turn
from sinks.record import (
    CallAction,
    CallRecord,
    CallStatistics,
    DtmfRecord,
    LegInfo,
    SpeakerRole,
    TranscriptRecord,
    TurnRecord,
    Word,
    event_id,
)

__all__ = ["CallInfo", "LegOptions", "RecordMaker", "SpeakerRole"]

WHOLE_CALL = ""

RUN_BYTES = 6
"""Of a run: two runs of one call id are the same by chance once in 2.8e14 times."""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """What a connector knows of a call when it begins. `from_`, `to`: numbers or addresses. `run`: 12 to 32 hex digits
    where the same input is to give the same ids, as that of a file is; random by default."""

    call_id: str
    connector: str
    from_: str | None = None
    to: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None


@dataclass(frozen=True, slots=True)
class LegOptions:
    """One audio track of a call. `language`: a locale or `auto`; None takes the configured default. `turns`: how turns
    are detected, where this leg has it otherwise than its connector."""

    leg: str
    role: SpeakerRole
    channel_index: int
    language: str | None = None
    turns: TurnChanges | None = None


class RecordMaker:
    """Makes the records of one run of a call. `at`, in all methods: RFC 3339 in UTC. `segments`, `turns`: the numbers
    of the next segment and turn, by the name of a leg that has ended."""

    def __init__(self, info: CallInfo) -> None:
        self.run = secrets.token_hex(RUN_BYTES) if info.run is None else info.run
        self.metadata = dict(info.metadata)
        self.legs: list[LegInfo] = []
        self.segments: Counter[str] = Counter()
        self.turns: Counter[str] = Counter()
        self._info = info
        self._seq: Counter[str] = Counter()
        self._dtmf: Counter[str] = Counter()
        self._turn_events: Counter[str] = Counter()
        self._calls = 0

    def call(
        self,
        action: CallAction,
        at: str,
        *,
        reason: str | None = None,
        statistics: CallStatistics | None = None,
    ) -> CallRecord:
        """A step in the call's life, with its metadata and legs as they are now."""
        info = self._info
        self._calls += 1
        return CallRecord(
            event_id=self._event_id(WHOLE_CALL, "call", self._calls - 1),
            call_id=info.call_id,
            run=self.run,
            leg=WHOLE_CALL,
            seq=self._next_seq(WHOLE_CALL),
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
        source = segment.language_source
        return TranscriptRecord(
            event_id=self._event_id(options.leg, "transcript", segment.segment_id, segment.revision),
            call_id=self._info.call_id,
            run=self.run,
            leg=options.leg,
            seq=self._next_seq(options.leg),
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
        self._dtmf[leg] += 1
        return DtmfRecord(
            event_id=self._event_id(leg, "dtmf", self._dtmf[leg] - 1),
            call_id=self._info.call_id,
            run=self.run,
            leg=leg,
            seq=self._next_seq(leg),
            at=at,
            digit=digit,
            start=round(start, 3),
            duration=round(duration, 3),
        )

    def turn(self, leg: str, turn: Turn, index: int, at_s: float, at: str) -> TurnRecord:
        """A turn event of a leg, in the turn of this `index`; `at_s`: media time of the leg."""
        self._turn_events[leg] += 1
        return TurnRecord(
            event_id=self._event_id(leg, "turn", self._turn_events[leg] - 1),
            call_id=self._info.call_id,
            run=self.run,
            leg=leg,
            seq=self._next_seq(leg),
            at=at,
            event=turn.event,
            turn_index=index,
            confidence=round(turn.confidence, 4),
            at_s=round(at_s, 3),
            over=UNSET if turn.over is None else turn.over,
        )

    def segment_prefix(self, leg: str) -> str:
        """What the ids of the leg's segments begin with."""
        return f"{leg}-{self.run}"

    def _next_seq(self, leg: str) -> int:
        """0, 1, 2, ... for each leg, `WHOLE_CALL` being one of them."""
        self._seq[leg] += 1
        return self._seq[leg] - 1

    def _event_id(self, leg: str, kind: str, index: str | int, revision: int = 0) -> str:
        return event_id(self._info.call_id, self.run, leg, kind, index, revision)
