"""The policy sweep of eot-bench: how often a speaker is cut off, against how long an answer waits.

A policy has three knobs: the probability from which on a turn ends, the pause before which it may not, and the pause
after which it does anyway. It is tried at every run of speech of a leg: one that is followed by more of the same turn
is cut off where the policy fires before that; at the end of a turn the time from the end of the speech, as it is known,
until it fires is the latency. Firing while the run still goes on is a cut-off in
both, and so is firing at a pause that is over already but not seen to be. The rate is of the pauses of 200 ms and more
inside turns, the latency a mean over the ends. Source: github.com/livekit/eot-bench.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.turn_legs import Leg
from training.turn_traces import Seen

THRESHOLDS = (*np.arange(0.02, 0.99, 0.02).round(2).tolist(), 0.985, 0.99, 0.995, 2.0)
DELAYS_S = (0.0, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
TIMEOUTS_S = (0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0, 2.3)
SHORTEST_HOLD_S = 0.2
NEVER_S = 2.6
"""Latency of an end at which nothing fires: as long as the other party waits."""

_EARLY_S = 0.15
"""Firing so long before the end of a turn's speech is no cut-off: its last consonant is no speech to the models."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of speech. `seen`: (n, 3), seconds after its end, pause as the system counts it, probability. `hold_s`: the
    pause after it, None where it ends its turn."""

    seen: NDArray[np.float64]
    hold_s: float | None


@dataclass(frozen=True, slots=True)
class Policy:
    threshold: float
    delay_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a policy: cut-offs in per cent of the pauses inside turns, mean latency."""

    policy: Policy
    cutoff_pct: float
    latency_ms: float


def runs(leg: Leg, seen: Sequence[Seen]) -> list[Run]:
    """Of a leg, with what a system estimated there."""
    table = np.array([(one.now_s, one.pause.silence_s, one.probability) for one in seen]).reshape(-1, 3)
    began = table[:, 0] - table[:, 1]
    found = []
    for number, speech in enumerate(leg.speech):
        following = leg.speech[number + 1].start_s if number + 1 < len(leg.speech) else np.inf
        own = table[(began >= speech.start_s) & (began < following)] - np.array([speech.end_s, 0.0, 0.0])
        hold_s = None if speech.ends_turn else following - speech.end_s
        if hold_s is None or hold_s >= SHORTEST_HOLD_S:
            found.append(Run(own, hold_s))
    return found


def sweep(of_runs: Sequence[Run], policies: Iterable[Policy] | None = None) -> list[Outcome]:
    """The outcome of each policy; of all on the grid by default."""
    holds = np.array([np.nan if run.hold_s is None else run.hold_s for run in of_runs])
    sure: dict[tuple[float, float], NDArray[np.float64]] = {}
    late: dict[float, NDArray[np.float64]] = {}
    outcomes = []
    for policy in grid() if policies is None else policies:
        threshold, delay_s, timeout_s = policy.threshold, policy.delay_s, policy.timeout_s
        if (threshold, delay_s) not in sure:
            sure[threshold, delay_s] = _first(of_runs, threshold, delay_s)
        if timeout_s not in late:
            late[timeout_s] = _first(of_runs, 0.0, timeout_s)
        fired = np.minimum(sure[threshold, delay_s], late[timeout_s])
        outcomes.append(_outcome(policy, fired, holds))
    return outcomes


def grid() -> list[Policy]:
    return [
        Policy(threshold, delay_s, timeout_s)
        for threshold in THRESHOLDS
        for delay_s in DELAYS_S
        for timeout_s in TIMEOUTS_S
        if timeout_s >= delay_s
    ]


def _first(of_runs: Sequence[Run], threshold: float, pause_s: float) -> NDArray[np.float64]:
    """When each run is first as probable and has been silent as long; infinite where it never is."""
    found = np.full(len(of_runs), np.inf)
    for number, run in enumerate(of_runs):
        fits = (run.seen[:, 2] >= threshold) & (run.seen[:, 1] >= pause_s - 1e-6)
        if fits.any():
            found[number] = run.seen[fits.argmax(), 0]
    return found


def _outcome(policy: Policy, fired: NDArray[np.float64], holds: NDArray[np.float64]) -> Outcome:
    ends = np.isnan(holds)
    cut = np.isfinite(fired[~ends]).sum() + (fired[ends] < -_EARLY_S).sum()
    waits = np.clip(np.minimum(fired[ends], NEVER_S), 0.0, None)
    return Outcome(policy, 100 * float(cut) / max(int((~ends).sum()), 1), 1000 * float(waits.mean()))


def fewest_cutoffs(outcomes: Sequence[Outcome], latency_ms: float) -> Outcome | None:
    """Within this mean latency; None where no policy is."""
    within = [one for one in outcomes if one.latency_ms <= latency_ms]
    return min(within, key=lambda one: (one.cutoff_pct, one.latency_ms), default=None)


def shortest_latency(outcomes: Sequence[Outcome], cutoff_pct: float) -> Outcome | None:
    """With no more cut-offs than that; None where no policy has so few."""
    within = [one for one in outcomes if one.cutoff_pct <= cutoff_pct]
    return min(within, key=lambda one: (one.latency_ms, one.cutoff_pct), default=None)
