"""Records of the server to figures: whose they are, what was heard, what was counted."""

import numpy as np
import pytest

from sinks.record import CallAction
from tests.trunkline.loadtest_records import final, step
from trunkline.demo.script import Line
from trunkline.loadtest.script import CallScript, ScriptTrack
from trunkline.loadtest.tally import RecordTally, score


def line(leg: str, text: str, start: float, end: float) -> Line:
    return Line(leg=leg, role="agent", language="en-US", text=text, start=start, end=end)  # type: ignore[arg-type]


def track(name: str, *lines: Line) -> ScriptTrack:
    return ScriptTrack(name, np.zeros(80_000, np.uint8), lines)


CUSTOMER = track("inbound", line("inbound", "Good morning", 0.0, 1.0), line("inbound", "my bill is wrong", 2.0, 4.0))
AGENT = track("outbound", line("outbound", "One moment", 4.5, 6.0))
BOTH = CallScript((CUSTOMER, AGENT))


def test_call_heard_as_it_was_said_has_no_errors() -> None:
    heard = [final("Good morning", 0.1), final("my bill is wrong", 2.1, segment="s1"), final("One moment", 4.6, 1)]
    errors = score(BOTH, heard, 10.0)
    assert (errors.words, errors.errors) == (8, 0)


def test_words_on_the_other_leg_are_errors_of_both() -> None:
    heard = [final("Good morning my bill is wrong", 0.1, 1), final("One moment", 4.6, 0)]
    assert score(BOTH, heard, 10.0).errors >= 8


def test_single_track_takes_every_leg_whatever_its_channel() -> None:
    heard = [final("my bill is wrong", 2.1, 3, segment="s1"), final("Good morning", 0.1, 3)]
    assert score(CallScript((CUSTOMER,)), heard, 10.0).errors == 0


def test_line_that_was_cut_off_is_neither_missed_nor_inserted() -> None:
    heard = [final("Good morning my bill", 0.2)]
    # "my bill" begins at 0.7: within the first line's share, which reaches to 1.5; at 2.1 it would not be.
    assert score(CallScript((CUSTOMER,)), heard, 3.0).insertions == 2
    heard = [final("Good morning", 0.2), final("my bill", 2.1, segment="s1")]
    errors = score(CallScript((CUSTOMER,)), heard, 3.0)
    assert (errors.words, errors.errors) == (2, 0)


def test_nothing_said_to_its_end_is_nothing_to_judge() -> None:
    assert score(BOTH, [final("Good", 0.1)], 0.5).words == 0


def test_later_revision_of_a_segment_replaces_the_earlier_in_any_order() -> None:
    newer, older = final("Good morning", 0.1, revision=5), final("Could mourning", 0.1, revision=2)
    end = step(CallAction.END, packets=500)
    for records in ([newer, older], [older, newer]):
        tally = RecordTally(CallScript((CUSTOMER,)))
        tally.expect("CA1")
        for record in (*records, final("my bill is wrong", 2.1, segment="s1")):
            tally.add(record)
        tally.add(end)
        tally.judge("CA1", 500, 10.0)
        assert tally.totals.errors.errors == 0
        assert tally.totals.errors.words == 6
        assert tally.totals.scored == 1


def test_partials_count_for_latency_and_not_for_words() -> None:
    tally = RecordTally(CallScript((CUSTOMER,)))
    tally.expect("CA1")
    tally.add(final("Good", 0.1, is_final=False, latency_ms=100.0))
    tally.add(step(CallAction.END))
    tally.judge("CA1", 0, 1.0)
    assert tally.totals.transcripts == 1
    assert tally.totals.latencies.percentile(50) == pytest.approx(100.0, rel=0.02)
    assert tally.totals.errors.deletions == 2


def test_packets_are_compared_only_where_the_server_told_of_the_end() -> None:
    tally = RecordTally(BOTH)
    for key in ("CA1", "CA2"):
        tally.expect(key)
    tally.add(step(CallAction.END, "CA1", packets=480))
    assert tally.has_ended("CA1")
    assert not tally.has_ended("CA2")
    tally.judge("CA1", 500, 10.0)
    tally.judge("CA2", 500, 10.0)
    totals = tally.totals
    assert (totals.judged, totals.ended, totals.sent, totals.counted, totals.lost, totals.late) == (
        2,
        1,
        500,
        480,
        2,
        1,
    )


def test_call_with_another_id_is_known_by_metadata_or_number() -> None:
    tally = RecordTally(CallScript((CUSTOMER,)))
    tally.expect("key1")
    tally.expect("key2")
    tally.add(step(CallAction.START, "server-1", metadata={"X-Loadtest": "key1"}))
    tally.add(step(CallAction.START, "server-2", from_="key2"))
    tally.add(step(CallAction.START, "server-3", metadata={"X-Loadtest": "somebody"}))
    for number in (1, 2, 3):
        tally.add(final("Good morning", 0.1, call_id=f"server-{number}"))
        tally.add(step(CallAction.END, f"server-{number}", packets=number))
    for key in ("key1", "key2"):
        tally.judge(key, 3, 1.5)
    assert tally.totals.counted == 3
    assert tally.totals.transcripts == 2


def test_calls_of_others_and_calls_judged_leave_nothing_behind() -> None:
    tally = RecordTally(BOTH)
    tally.expect("key")
    tally.add(step(CallAction.START, "server-1", metadata={"X-Loadtest": "key"}))
    tally.add(final("Good", 0.1, call_id="other"))
    tally.judge("key", 1, 1.0)
    tally.judge("key", 1, 1.0)
    tally.add(final("Good", 0.1, call_id="server-1"))
    assert tally.totals.judged == 1
    assert tally.totals.transcripts == 0
    assert tally.claim("server-1", ()) is None
    assert tally.has_ended("key")
