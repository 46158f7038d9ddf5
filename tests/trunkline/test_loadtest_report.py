"""The figures of a load test and what is asked of them."""

import pytest

from trunkline.loadtest.outcome import CallOutcome
from trunkline.loadtest.report import LoadReport, Thresholds, make_report, percentile
from trunkline.loadtest.tally import Totals
from trunkline.wer import WordErrors

CALLS = [
    *(
        CallOutcome(f"a{k}", placed_s=k * 0.5, setup_ms=10.0 * (k + 1), packets=100, behind_s=k / 1000)
        for k in range(4)
    ),
    CallOutcome("b", placed_s=2.0, setup_ms=50.0, broken="the server hung up"),
    CallOutcome("c", placed_s=2.0, refused="503 Service Unavailable"),
    CallOutcome("d", placed_s=2.5, refused="503 Service Unavailable"),
    CallOutcome("e", placed_s=9.0, setup_ms=60.0),
]


def totals() -> Totals:
    figures = Totals(judged=6, ended=6, sent=1000, counted=990, lost=10, late=1, scored=6, transcripts=100)
    figures.errors = WordErrors(words=50, substitutions=5)
    for value in range(1, 101):
        figures.latencies.add(float(value))
    return figures


def report(thresholds: Thresholds | None = None, sums: Totals | None = None) -> LoadReport:
    return make_report(
        CALLS,
        totals() if sums is None else sums,
        thresholds or Thresholds(),
        kind="sip",
        setup="INVITE to 200",
        records="none",
        most_at_once=5,
        ramp_s=2.5,
        seconds=10.0,
    )


def test_figures_are_those_of_the_calls_and_records() -> None:
    result = report()
    assert (result.placed, result.answered, result.completed) == (8, 6, 5)
    assert result.success == pytest.approx(62.5)
    assert result.setup_rate == pytest.approx(5 / 2.5)
    assert (result.setup_p50_ms, result.setup_p95_ms) == (30.0, 60.0)
    assert result.refusals == {"503 Service Unavailable": 2}
    assert result.broken == {"the server hung up": 1}
    assert result.loss == pytest.approx(1.0)
    assert result.wer == pytest.approx(10.0)
    assert result.latency_p95_ms == pytest.approx(95, rel=0.02)
    assert result.caller_behind_ms == pytest.approx(3.0)
    assert result.missed == ()


@pytest.mark.parametrize(
    ("met", "missed", "told"),
    [
        ({"max_p95_ms": 100}, {"max_p95_ms": 90}, "latency p95"),
        ({"max_setup_p95_ms": 60}, {"max_setup_p95_ms": 59}, "set-up p95"),
        ({"min_success": 62.5}, {"min_success": 63}, "succeeded"),
        ({"max_loss": 1}, {"max_loss": 0.9}, "media loss"),
        ({"max_wer": 10}, {"max_wer": 9.9}, "word error rate"),
    ],
)
def test_threshold_is_met_at_its_value_and_missed_beyond(
    met: dict[str, float], missed: dict[str, float], told: str
) -> None:
    assert report(Thresholds(**met)).missed == ()
    (miss,) = report(Thresholds(**missed)).missed
    assert told in miss


def test_figure_that_is_not_known_misses_its_threshold() -> None:
    thresholds = Thresholds(max_p95_ms=1e9, max_loss=100, max_wer=100)
    result = report(thresholds, Totals())
    assert len(result.missed) == 3
    assert all("unknown" in miss for miss in result.missed)
    assert result.loss is None
    assert result.wer is None


def test_more_packets_counted_than_sent_is_no_negative_loss() -> None:
    assert report(sums=Totals(ended=1, sent=10, counted=12)).loss == 0


def test_json_has_every_figure_rounded() -> None:
    figures = report().as_json()
    assert figures["success"] == 62.5
    assert figures["wer"] == 10.0
    assert set(figures) == set(LoadReport.__slots__)


def test_percentile_is_a_value_that_occurred() -> None:
    assert percentile([], 50) is None
    assert percentile([7.0], 1) == 7.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 100) == 4.0
