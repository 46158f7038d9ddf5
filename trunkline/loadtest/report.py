"""The figures of a load test, judged against what the user wants of them. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from trunkline.loadtest.outcome import CallOutcome
from trunkline.loadtest.tally import Totals


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What must hold; None: not asked for. Percent, milliseconds, calls per second."""

    max_p95_ms: float | None = None
    max_setup_p95_ms: float | None = None
    min_success: float | None = None
    max_loss: float | None = None
    max_wer: float | None = None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Percentages of calls placed (`success`), packets sent (`loss`), words spoken (`wer`); latencies in ms. None where
    there is nothing to compute it from. `records`: where the transcripts were read."""

    kind: str
    setup: str
    records: str
    placed: int
    answered: int
    completed: int
    most_at_once: int
    seconds: float
    setup_rate: float
    setup_p50_ms: float | None
    setup_p95_ms: float | None
    success: float
    refusals: dict[str, int]
    broken: dict[str, int]
    ended: int
    sent: int
    counted: int
    lost: int
    late: int
    loss: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    transcripts: int
    wer: float | None
    scored: int
    caller_behind_ms: float
    missed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in fields.items()}


def make_report(
    outcomes: Sequence[CallOutcome],
    totals: Totals,
    thresholds: Thresholds,
    *,
    kind: str,
    setup: str,
    records: str,
    most_at_once: int,
    ramp_s: float,
    seconds: float,
) -> LoadReport:
    """`ramp_s`: all lines begin within it; the set-up rate is of the calls answered by then."""
    answered = [outcome for outcome in outcomes if outcome.setup_ms is not None]
    by_then = sum(one.placed_s + one.setup_ms / 1000 <= ramp_s for one in answered if one.setup_ms is not None)
    setup_ms = sorted(outcome.setup_ms for outcome in answered if outcome.setup_ms is not None)
    completed = sum(outcome.ok for outcome in outcomes)
    latencies = totals.latencies
    figures: dict[str, Any] = {
        "kind": kind,
        "setup": setup,
        "records": records,
        "placed": len(outcomes),
        "answered": len(answered),
        "completed": completed,
        "most_at_once": most_at_once,
        "seconds": seconds,
        "setup_rate": by_then / ramp_s,
        "setup_p50_ms": percentile(setup_ms, 50),
        "setup_p95_ms": percentile(setup_ms, 95),
        "success": 100 * completed / len(outcomes) if outcomes else 0.0,
        "refusals": dict(Counter(outcome.refused for outcome in outcomes if outcome.refused).most_common()),
        "broken": dict(Counter(outcome.broken for outcome in outcomes if outcome.broken).most_common()),
        "ended": totals.ended,
        "sent": totals.sent,
        "counted": totals.counted,
        "lost": totals.lost,
        "late": totals.late,
        "loss": 100 * max(totals.sent - totals.counted, 0) / totals.sent if totals.sent else None,
        "latency_p50_ms": latencies.percentile(50),
        "latency_p95_ms": latencies.percentile(95),
        "latency_p99_ms": latencies.percentile(99),
        "transcripts": totals.transcripts,
        "wer": 100 * totals.errors.rate if totals.scored else None,
        "scored": totals.scored,
        "caller_behind_ms": 1000 * max((outcome.behind_s for outcome in outcomes), default=0.0),
    }
    return LoadReport(**figures, missed=tuple(_missed(figures, thresholds)))


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Nearest rank; `values` sorted."""
    return values[max(ceil(len(values) * percent / 100), 1) - 1] if values else None


_LIMITS = (
    ("max_p95_ms", "latency_p95_ms", "transcript latency p95", "ms"),
    ("max_setup_p95_ms", "setup_p95_ms", "set-up p95", "ms"),
    ("max_loss", "loss", "media loss", "%"),
    ("max_wer", "wer", "word error rate", "%"),
)


def _missed(figures: dict[str, Any], thresholds: Thresholds) -> list[str]:
    """A figure that is not there misses its threshold: nothing was shown."""
    missed = []
    for option, name, title, unit in _LIMITS:
        limit, value = getattr(thresholds, option), figures[name]
        if limit is None:
            continue
        if value is None:
            missed.append(f"{title} is unknown, at most {limit:g} {unit} was asked for")
        elif value > limit:
            missed.append(f"{title} is {value:.1f} {unit}, at most {limit:g} {unit} was asked for")
    wanted = thresholds.min_success
    if wanted is not None and figures["success"] < wanted:
        missed.append(f"{figures['success']:.1f} % of the calls succeeded, at least {wanted:g} % was asked for")
    return missed
