"""What a played call came to: completeness, word errors, language tags, latency. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from sinks.record import AnyRecord, CallAction, CallRecord, TranscriptRecord
from trunkline.demo.script import Line
from trunkline.wer import Edit, WordErrors, align, word_errors


@dataclass(frozen=True, slots=True)
class Report:
    """`right_languages` of `lines`: script lines most of whose recognised words carry the right language.
    `faults`: what is wrong with the records; empty where they are complete."""

    errors: WordErrors
    right_languages: int
    lines: int
    words: int
    p50_latency_ms: float
    p95_latency_ms: float
    faults: tuple[str, ...]


def report(records: Sequence[AnyRecord], script: Sequence[Line]) -> Report:
    """Judge the records of one call against its script."""
    transcripts = [record for record in records if isinstance(record, TranscriptRecord)]
    errors, right, words = WordErrors(), 0, 0
    for leg in dict.fromkeys(line.leg for line in script):
        lines = [line for line in script if line.leg == leg]
        heard = [word for final in finals(transcripts, leg) for word in final.words]
        words += len(heard)
        spoken = " ".join(line.text for line in lines)
        errors += word_errors(spoken, " ".join(word.punctuated_word for word in heard))
        right += _right_languages(lines, [(word.punctuated_word, word.language) for word in heard])
    latencies = sorted(record.latency_ms for record in transcripts)
    return Report(
        errors=errors,
        right_languages=right,
        lines=len(script),
        words=words,
        p50_latency_ms=_percentile(latencies, 50),
        p95_latency_ms=_percentile(latencies, 95),
        faults=tuple(faults(records, {line.leg for line in script})),
    )


def finals(transcripts: Sequence[TranscriptRecord], leg: str) -> list[TranscriptRecord]:
    """The leg's segments in order, each in its latest final revision."""
    latest: dict[str, TranscriptRecord] = {}
    for record in transcripts:
        if record.leg == leg and record.is_final:
            latest[record.segment_id] = record
    return sorted(latest.values(), key=lambda record: record.start)


def faults(records: Sequence[AnyRecord], legs: set[str]) -> list[str]:
    """Everything that a complete call's records do not show."""
    found = []
    calls = [record for record in records if isinstance(record, CallRecord)]
    if not calls or calls[0].action is not CallAction.START or records[0] is not calls[0]:
        found.append("the call does not begin with START")
    if not calls or calls[-1].action is not CallAction.END or records[-1] is not calls[-1]:
        found.append("the call does not end with END")
    for leg in legs:
        transcripts = [record for record in records if isinstance(record, TranscriptRecord) and record.leg == leg]
        if not transcripts or not transcripts[-1].is_final:
            found.append(f"leg {leg} does not end with a final")
        opened = {record.segment_id for record in transcripts}
        open_ones = opened - {record.segment_id for record in transcripts if record.is_final}
        found += [f"segment {segment} has no final" for segment in sorted(open_ones)]
        if [record.seq for record in records if record.leg == leg] != list(range(_count(records, leg))):
            found.append(f"leg {leg} has a gap in its sequence")
    return found


def _count(records: Sequence[AnyRecord], leg: str) -> int:
    return sum(record.leg == leg for record in records)


def _right_languages(lines: Sequence[Line], heard: Sequence[tuple[str, str | None]]) -> int:
    """Lines whose words, as far as they were recognised (also wrongly), are mostly in the line's language."""
    owners = [index for index, line in enumerate(lines) for _ in line.text.split()]
    votes: list[list[bool]] = [[] for _ in lines]
    spoken = [word for line in lines for word in line.text.split()]
    for step in align(spoken, [text for text, _ in heard]):
        if step.edit in (Edit.MATCH, Edit.SUBSTITUTION) and step.reference is not None and step.hypothesis is not None:
            owner = owners[step.reference]
            votes[owner].append(heard[step.hypothesis][1] == lines[owner].language)
    return sum(2 * sum(vote) > len(vote) for vote in votes)


def _percentile(values: Sequence[float], percent: int) -> float:
    """Nearest rank; `values` sorted."""
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else float("nan")
