"""Scripted calls for the live page's tests: each step is a record as the pipeline would publish it."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Literal

from sinks.record import (
    CallAction,
    CallRecord,
    DtmfRecord,
    LegInfo,
    SpeakerRole,
    TranscriptRecord,
    event_id,
)

LEGS = (
    LegInfo(leg="inbound", speaker_role=SpeakerRole.CUSTOMER, channel_index=0),
    LegInfo(leg="outbound", speaker_role=SpeakerRole.AGENT, channel_index=1),
)

Source = Literal["detected", "carried", "configured"]


class ScriptedCall:
    """A two-leg call: customer `inbound`, agent `outbound`. `began` is when it started; times are seconds after it.
    `run`: a new one unless it is given."""

    def __init__(
        self,
        call_id: str,
        *,
        began: datetime | None = None,
        run: str | None = None,
        from_: str = "+1 415 555 0123",
        **metadata: str,
    ) -> None:
        self.call_id = call_id
        self.run = run or secrets.token_hex(6)
        self.began = began or datetime.now(UTC)
        self._from = from_
        self._metadata = metadata
        self._seq = 0
        self._revisions: dict[str, int] = {}

    def start(self) -> CallRecord:
        return self._call(CallAction.START, 0.0)

    def hold(self, at_s: float) -> CallRecord:
        return self._call(CallAction.HOLD, at_s)

    def resume(self, at_s: float) -> CallRecord:
        return self._call(CallAction.RESUME, at_s)

    def end(self, at_s: float, reason: str = "hangup") -> CallRecord:
        return self._call(CallAction.END, at_s, reason)

    def partial(self, segment: str, start: float, text: str, language: str | None, source: Source) -> TranscriptRecord:
        """A provisional revision of a segment; `segment` begins with its leg: `inbound-1`."""
        return self._transcript(segment, start, text, language, source, is_final=False)

    def final(
        self, segment: str, start: float, text: str, language: str | None, source: Source = "detected"
    ) -> TranscriptRecord:
        return self._transcript(segment, start, text, language, source, is_final=True)

    def key(self, leg: str, digit: str, start: float) -> DtmfRecord:
        seq = self._next()
        return DtmfRecord(
            event_id=event_id(self.call_id, self.run, leg, "dtmf", seq),
            call_id=self.call_id,
            run=self.run,
            leg=leg,
            seq=seq,
            at=self._at(start),
            digit=digit,
            start=start,
            duration=0.1,
        )

    def _transcript(
        self, segment: str, start: float, text: str, language: str | None, source: Source, *, is_final: bool
    ) -> TranscriptRecord:
        leg = next(one for one in LEGS if segment.startswith(one.leg))
        revision = self._revisions.get(segment, 0) + 1
        self._revisions[segment] = revision
        duration = round(0.06 * len(text), 2)
        return TranscriptRecord(
            event_id=event_id(self.call_id, self.run, leg.leg, "transcript", segment, revision),
            call_id=self.call_id,
            run=self.run,
            leg=leg.leg,
            seq=self._next(),
            at=self._at(start + duration + 0.09),
            segment_id=segment,
            revision=revision,
            is_final=is_final,
            speech_final=is_final,
            speaker_role=leg.speaker_role,
            channel_index=leg.channel_index,
            start=start,
            duration=duration,
            transcript=text,
            confidence=0.94,
            stability=1.0 if is_final else 0.6,
            language=language,
            languages=(language,) if language else (),
            language_source=source if language else None,
            words=(),
            latency_ms=90.0,
        )

    def _call(self, action: CallAction, at_s: float, reason: str | None = None) -> CallRecord:
        seq = self._next()
        return CallRecord(
            event_id=event_id(self.call_id, self.run, "", "call", seq),
            call_id=self.call_id,
            run=self.run,
            leg="",
            seq=seq,
            at=self._at(at_s),
            action=action,
            connector="twilio",
            from_=self._from,
            to="+1 415 555 0100",
            metadata=self._metadata,
            legs=LEGS,
            reason=reason,
        )

    def _at(self, at_s: float) -> str:
        moment = self.began + timedelta(seconds=at_s)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _next(self) -> int:
        self._seq += 1
        return self._seq
