"""Ids of records, whatever calls are taken by whatever servers, again and again."""

from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import Hypothesis, LanguageSource, Session, Word
from pipeline.records import CallInfo, LegOptions, RecordMaker
from pipeline.segments import Segmenter
from sinks.record import AnyRecord, CallAction, SpeakerRole, TranscriptRecord

AT = "2026-11-24T12:00:00.000Z"
SESSION = Session(0, 0, 0, 80)
IDS = st.sampled_from(["CA1", "CA1 0", "CA2"])
LEGS = st.sampled_from(["a", "a-0000", "a-1"])


class Step(NamedTuple):
    """What a call does next: an action, a key, or one more sentence on a leg."""

    kind: str
    leg: str


RUNS = st.lists(
    st.tuples(IDS, st.lists(st.builds(Step, st.sampled_from(["call", "dtmf", "words"]), LEGS), max_size=8)), max_size=6
)


def records_of(maker: RecordMaker, steps: list[Step]) -> list[AnyRecord]:
    records: list[AnyRecord] = []
    legs: dict[str, tuple[Segmenter, int]] = {}
    for kind, leg in steps:
        if kind == "call":
            records.append(maker.call(CallAction.UPDATE, AT))
        elif kind == "dtmf":
            records.append(maker.dtmf(leg, "1", 0.0, 0.1, AT))
        else:
            segmenter, index = legs.get(leg) or (Segmenter(maker.segment_prefix(leg)), 0)
            legs[leg] = segmenter, index + 1
            word = Word("Yes.", index + 0.0, index + 0.1, 0.9, "en-US", LanguageSource.DETECTED)
            said = segmenter.update([Hypothesis(SESSION, index, (word,), False)], index + 0.1)
            said += segmenter.update([], index + 0.9)
            options = LegOptions(leg, SpeakerRole.UNKNOWN, 0)
            records += [maker.transcript(options, segment, AT, 1.0) for segment in said]
    return records


@given(RUNS)
def test_no_id_comes_twice_however_often_and_wherever_a_call_is_taken(runs: list[tuple[str, list[Step]]]) -> None:
    """Each run is one server's; none knows of another."""
    records: list[AnyRecord] = []
    segments: dict[tuple[str, str], set[tuple[str, object, str]]] = defaultdict(set)
    for call_id, steps in runs:
        made = records_of(RecordMaker(CallInfo(call_id, "test")), steps)
        assert len({one.run for one in made}) <= 1
        for leg in {one.leg for one in made}:
            seqs = [one.seq for one in made if one.leg == leg]
            assert seqs == list(range(len(seqs)))
        for one in made:
            if isinstance(one, TranscriptRecord):
                segments[call_id, one.segment_id].add((one.call_id, one.run, one.leg))
        records += made
    assert len({one.event_id for one in records}) == len(records)
    assert all(len(owners) == 1 for owners in segments.values())


@given(st.lists(st.builds(Step, st.sampled_from(["call", "dtmf", "words"]), LEGS), max_size=8))
def test_a_run_that_is_given_makes_the_same_ids_again(steps: list[Step]) -> None:
    first, second = (records_of(RecordMaker(CallInfo("CA1", "test", run="0" * 12)), steps) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("run", [None, "ab" * 16])
def test_every_record_names_its_run(run: str | None) -> None:
    maker = RecordMaker(CallInfo("CA1", "test", run=run))
    made = records_of(maker, [Step(kind, "a") for kind in ("call", "dtmf", "words")])
    assert {one.run for one in made} == {maker.run}
    assert run in (None, maker.run)
