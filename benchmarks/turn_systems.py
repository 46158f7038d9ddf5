"""The systems that `benchmarks.turns` compares, on traces: what each says of every pause, and its figures.

Policies are chosen on the traces of one split and tried on those of another. eot-bench chooses and tries on the same
ones, which is shown beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.turn_policy import Outcome, Pause, fewest_cutoffs, outcome, pauses, shortest_latency, sweep
from pipeline.turns import fusion
from pipeline.turns.models import SmartTurn
from training.turn_traces import Trace, watch

LATENCY_MS, CUTOFF_PCT = 300.0, 5.0
_LONGEST_S = 3.5
_UNASKED = 0.21


@dataclass(frozen=True, slots=True)
class System:
    """`parts`: as `watch` takes them. `estimate`: what makes a probability of a pause."""

    name: str
    parts: dict[str, bool]
    estimate: Callable[[fusion.Pause], float]


def systems(model: fusion.Fusion) -> list[System]:
    """Voice activity alone goes by the length of the pause, and Smart Turn by its answer alone: until it has come, no
    threshold but the lowest are met."""
    return [
        System("VAD", {"words": False, "asks": False}, lambda pause: min(pause.silence_s / _LONGEST_S, 1.0)),
        System("VAD + Smart Turn", {"words": False}, _smart_turn),
        System("VAD + melody", {"words": False, "asks": False}, model),
        System("words", {"hears": False, "asks": False}, model),
        System("fusion", {"asks": model.asks}, model),
    ]


def _smart_turn(pause: fusion.Pause) -> float:
    """It is asked where an end is in doubt, so there is a little before its answer."""
    return _UNASKED if pause.smart is None else _UNASKED + 0.01 + (0.99 - _UNASKED) * pause.smart


def said(system: System, traces: Sequence[Trace], smart: SmartTurn) -> list[tuple[Trace, list[Pause]]]:
    """Of every leg what the system said in each of its pauses. `smart`: answers what was not asked before."""
    return [
        (trace, pauses(trace.leg, watch(trace, estimate=system.estimate, smart=smart, **system.parts)))
        for trace in traces
    ]


@dataclass(frozen=True, slots=True)
class Figures:
    """With the policies of the other split: `at_latency`, `at_cutoffs`; None where it had none within the budget.
    `best_cutoff_pct`, `best_latency_ms`: with the best policies of these pauses themselves, as eot-bench has it."""

    holds: int
    ends: int
    at_latency: Outcome | None
    at_cutoffs: Outcome | None
    best_cutoff_pct: float | None
    best_latency_ms: float | None
    outcomes: list[Outcome]


def figures(chosen_on: Sequence[Pause], tried_on: Sequence[Pause]) -> Figures:
    """Both not empty."""
    chosen, tried = sweep(chosen_on), sweep(tried_on)
    at_latency, at_cutoffs = fewest_cutoffs(chosen, LATENCY_MS), shortest_latency(chosen, CUTOFF_PCT)
    best_cutoffs, best_latency = fewest_cutoffs(tried, LATENCY_MS), shortest_latency(tried, CUTOFF_PCT)
    return Figures(
        holds=sum(pause.hold_s is not None for pause in tried_on),
        ends=sum(pause.hold_s is None for pause in tried_on),
        at_latency=at_latency and outcome(tried_on, at_latency.policy),
        at_cutoffs=at_cutoffs and outcome(tried_on, at_cutoffs.policy),
        best_cutoff_pct=None if best_cutoffs is None else best_cutoffs.cutoff_pct,
        best_latency_ms=None if best_latency is None else best_latency.latency_ms,
        outcomes=tried,
    )
