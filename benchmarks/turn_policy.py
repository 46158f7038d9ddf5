"""The policy sweep of eot-bench: how often a speaker is cut off, against how long an answer waits.

A policy has three knobs: the probability from which on a turn ends, the pause before which it may not (`delay_s`), and
the pause after which it does anyway (`timeout_s`). It is tried at every pause by itself, those inside turns and the
ends; pauses begin where the speech is known to end. It fires at the later of `delay_s` and the first time in the pause
at which the system is as sure as the threshold, at the latest at `timeout_s`. Fired before the end of a pause inside a
turn it has cut the speaker off; at the end of a turn the time until it fires is the latency. The rate is a share of the
pauses inside turns of 0.2 to 5 s, the latency a mean over the ends, the knobs' values those of eot-bench. So the time
that a system takes to notice a pause counts, and speech that it does not hear at all is only late by the timeout.

Source: github.com/livekit/eot-bench, `eot_harness/metrics.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.turn_legs import Leg
from training.turn_traces import Seen

THRESHOLDS = np.arange(0.0, 1.005, 0.01).round(2)
DELAYS_S = np.arange(0.2, 1.05, 0.1).round(1)
TIMEOUTS_S = np.arange(1.0, 3.55, 0.5).round(1)
HOLD_S = (0.2, 5.0)


@dataclass(frozen=True, slots=True)
class Pause:
    """`now_s`, `probability`: (n,), what a system said in it, seconds after its begin. `hold_s`: its length, None where
    it ends a turn."""

    now_s: NDArray[np.float64]
    probability: NDArray[np.float64]
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


def pauses(leg: Leg, seen: Sequence[Seen]) -> list[Pause]:
    """Of a leg, with what a system estimated in them."""
    now = np.array([one.now_s for one in seen])
    probability = np.array([one.probability for one in seen])
    found = []
    for number, speech in enumerate(leg.speech):
        following_s = leg.speech[number + 1].start_s if number + 1 < len(leg.speech) else np.inf
        hold_s = None if speech.ends_turn else following_s - speech.end_s
        if hold_s is None or HOLD_S[0] <= hold_s <= HOLD_S[1]:
            inside = (now >= speech.end_s) & (now < following_s)
            found.append(Pause(now[inside] - speech.end_s, probability[inside], hold_s))
    return found


def sweep(of_pauses: Sequence[Pause]) -> list[Outcome]:
    """The outcome of every policy."""
    outcomes = []
    for threshold in THRESHOLDS:
        first = _first(of_pauses, threshold)
        for delay_s in DELAYS_S:
            for timeout_s in TIMEOUTS_S:
                outcomes.append(_outcome(of_pauses, first, Policy(float(threshold), float(delay_s), float(timeout_s))))
    return outcomes


def outcome(of_pauses: Sequence[Pause], policy: Policy) -> Outcome:
    """Of one policy."""
    return _outcome(of_pauses, _first(of_pauses, policy.threshold), policy)


def _first(of_pauses: Sequence[Pause], threshold: float) -> NDArray[np.float64]:
    """When the system is first as sure in each pause; infinite where it never is."""
    found = np.full(len(of_pauses), np.inf)
    for number, pause in enumerate(of_pauses):
        sure = pause.probability >= threshold
        if sure.any():
            found[number] = pause.now_s[sure.argmax()]
    return found


def _outcome(of_pauses: Sequence[Pause], first: NDArray[np.float64], policy: Policy) -> Outcome:
    holds = np.array([np.nan if pause.hold_s is None else pause.hold_s for pause in of_pauses])
    fired = np.minimum(np.maximum(first, policy.delay_s), policy.timeout_s)
    ends = np.isnan(holds)
    cut = (holds > fired + 1e-9).sum()
    return Outcome(policy, 100 * float(cut) / max(int((~ends).sum()), 1), 1000 * float(fired[ends].mean()))


def fewest_cutoffs(outcomes: Sequence[Outcome], latency_ms: float) -> Outcome | None:
    """Within this mean latency; None where no policy is."""
    within = [one for one in outcomes if one.latency_ms <= latency_ms]
    return min(within, key=lambda one: (one.cutoff_pct, one.latency_ms), default=None)


def shortest_latency(outcomes: Sequence[Outcome], cutoff_pct: float) -> Outcome | None:
    """With no more cut-offs than that; None where no policy has so few."""
    within = [one for one in outcomes if one.cutoff_pct <= cutoff_pct]
    return min(within, key=lambda one: (one.latency_ms, one.cutoff_pct), default=None)


def frontier(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those to which no other is better in both, by latency."""
    best: list[Outcome] = []
    for one in sorted(outcomes, key=lambda one: (one.latency_ms, one.cutoff_pct)):
        if not best or one.cutoff_pct < best[-1].cutoff_pct:
            best.append(one)
    return best
