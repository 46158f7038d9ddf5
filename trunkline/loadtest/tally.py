"""From the server's records to figures: latency, words against the script, what the server counted. Pure.

A call's records are kept until it is judged, which is when its END and its caller's outcome are both there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.latency import LatencyHistogram
from sinks.record import AnyRecord, CallAction, CallRecord, CallStatistics, TranscriptRecord
from trunkline.demo.script import Line
from trunkline.loadtest.script import CallScript
from trunkline.wer import WordErrors, word_errors


@dataclass(slots=True)
class CallTally:
    """One call by its records. `finals`: newest final of each segment, by (channel, segment)."""

    finals: dict[tuple[int, str], TranscriptRecord] = field(default_factory=dict)
    statistics: CallStatistics | None = None
    reason: str | None = None
    ended: bool = False
    followed: bool = False
    call_id: str | None = None


@dataclass(slots=True)
class Totals:
    """Over all calls judged. `ended` of `judged` calls have an END; `sent` and `counted` are their packets. `scored`
    calls were set against the script. `latencies`: of every transcript record, partials included."""

    judged: int = 0
    ended: int = 0
    sent: int = 0
    counted: int = 0
    lost: int = 0
    late: int = 0
    scored: int = 0
    transcripts: int = 0
    errors: WordErrors = field(default_factory=WordErrors)
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)


class RecordTally:
    """Records of the calls we place; others are ignored."""

    def __init__(self, script: CallScript) -> None:
        self.totals = Totals()
        self._script = script
        self._calls: dict[str, CallTally] = {}
        self._key_of: dict[str, str] = {}

    def expect(self, key: str) -> None:
        """A call of this key is about to be placed."""
        self._calls[key] = CallTally()

    def claim(self, call_id: str, marks: Iterable[str | None]) -> str | None:
        """The key of the call with this id. It is the id itself, or stands in one of its `marks` (metadata, numbers).

        None: not a call of ours.
        """
        if call_id in self._calls:
            return call_id
        known = self._key_of.get(call_id)
        if known is None:
            known = next((mark for mark in marks if mark in self._calls), None)
            if known is not None:
                self._key_of[call_id] = known
                self._calls[known].call_id = call_id
        return known

    def add(self, record: AnyRecord) -> None:
        """One record, in whatever order; a record that comes twice changes nothing but latencies."""
        marks = (*record.metadata.values(), record.from_, record.to) if isinstance(record, CallRecord) else ()
        key = self.claim(record.call_id, marks)
        call = self._calls.get(key) if key is not None else None
        if call is None:
            return
        if isinstance(record, TranscriptRecord):
            call.followed = True
            self.totals.transcripts += 1
            self.totals.latencies.add(record.latency_ms)
            if record.is_final:
                place = record.channel_index, record.segment_id
                known = call.finals.get(place)
                if known is None or known.revision <= record.revision:
                    call.finals[place] = record
        elif isinstance(record, CallRecord) and record.action is CallAction.END:
            self.end(key or "", record.statistics, record.reason)

    def end(self, key: str, statistics: CallStatistics | None, reason: str | None) -> None:
        """The call's END, by its record or the list of calls."""
        call = self._calls.get(key)
        if call is not None and not call.ended:
            call.ended, call.statistics, call.reason = True, statistics, reason

    def has_ended(self, key: str) -> bool:
        call = self._calls.get(key)
        return call is None or call.ended

    def judge(self, key: str, packets: int, played_s: float) -> None:
        """Add an answered call to the totals and forget it. `packets`, `played_s`: what its caller sent."""
        call = self._calls.get(key)
        if call is None:
            return
        self.forget(key)
        totals = self.totals
        totals.judged += 1
        if call.ended and call.statistics is not None:
            totals.ended += 1
            totals.sent += packets
            totals.counted += call.statistics.packets
            totals.lost += call.statistics.lost
            totals.late += call.statistics.late
        if call.followed and call.ended:
            errors = score(self._script, call.finals.values(), played_s)
            if errors.words:
                totals.scored += 1
                totals.errors += errors

    def forget(self, key: str) -> None:
        """No more records of this call are wanted."""
        call = self._calls.pop(key, None)
        if call is not None and call.call_id is not None:
            del self._key_of[call.call_id]


def score(script: CallScript, finals: Iterable[TranscriptRecord], played_s: float) -> WordErrors:
    """Word errors of the lines that were played to their end; what was said after the last of them is left out.

    A leg belongs to the track at its channel index; with a single track every leg is that track's.
    """
    ordered = sorted(finals, key=lambda record: record.start)
    errors = WordErrors()
    for index, track in enumerate(script.tracks):
        whole, until = _played(track.lines, played_s)
        if not whole:
            continue
        recognized = [
            word.punctuated_word
            for record in ordered
            if len(script.tracks) == 1 or record.channel_index == index
            for word in record.words
            if word.start < until
        ]
        errors += word_errors(" ".join(line.text for line in whole), " ".join(recognized))
    return errors


def _played(lines: tuple[Line, ...], played_s: float) -> tuple[list[Line], float]:
    """The lines that were over by then, and the moment up to which words belong to them."""
    whole = [line for line in lines if line.end <= played_s]
    later = [line.start for line in lines if line.end > played_s]
    if not whole or not later:
        return whole, float("inf")
    return whole, (whole[-1].end + max(later[0], whole[-1].end)) / 2
