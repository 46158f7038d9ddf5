"""The policy sweep of eot-bench, on pauses that can be reckoned by hand."""

import numpy as np
import pytest

from benchmarks.turn_policy import Pause, Policy, fewest_cutoffs, frontier, outcome, pauses, shortest_latency, sweep
from pipeline.turns import fusion
from training.turn_legs import Leg, Line, Speech
from training.turn_traces import Seen

NOW = np.arange(0.1, 2.0, 0.1)


def pause(hold_s: float | None, sure_from_s: float) -> Pause:
    inside = (9 if hold_s is None else hold_s) > NOW
    return Pause(NOW[inside], np.where(NOW[inside] >= sure_from_s - 1e-9, 0.9, 0.1), hold_s)


def test_a_policy_fires_once_sure_not_before_its_delay_and_at_its_timeout() -> None:
    ends = [pause(None, 0.1), pause(None, 0.6), pause(None, 9.0)]
    found = outcome(ends, Policy(0.5, 0.3, 1.5))
    assert found.latency_ms == pytest.approx(1000 * (0.3 + 0.6 + 1.5) / 3)


def test_a_pause_in_a_turn_is_cut_off_where_it_fires_before_its_end() -> None:
    holds = [pause(0.25, 0.1), pause(0.4, 0.1), pause(0.8, 0.5), pause(0.8, 9.0), pause(1.8, 9.0)]
    assert outcome([*holds, pause(None, 0.1)], Policy(0.5, 0.3, 1.0)).cutoff_pct == 60.0


def test_pauses_are_those_of_known_length_and_their_own_estimates() -> None:
    speech = (Speech(0.0, 1.0, False), Speech(1.1, 2.0, False), Speech(2.5, 3.0, True), Speech(6.0, 7.0, True))
    leg = Leg("en-US", "none", Line.CLEAN, np.zeros(0, np.float32), speech)
    seen = [Seen(now, fusion.Pause(0.1, 1.0), now / 10) for now in (0.5, 1.05, 2.2, 2.4, 2.7, 3.2, 7.5)]
    found = pauses(leg, seen)
    assert [one.hold_s for one in found] == [pytest.approx(0.5), None, None]
    assert [one.now_s.tolist() for one in found] == [
        pytest.approx([0.2, 0.4]),
        pytest.approx([0.2]),
        pytest.approx([0.5]),
    ]
    assert found[0].probability == pytest.approx([0.22, 0.24])


def test_silence_alone_cuts_off_what_outlasts_its_latency() -> None:
    rng = np.random.default_rng(1)
    by_time = [Pause(NOW, NOW / 2, float(hold_s)) for hold_s in rng.uniform(0.2, 1.2, 400)] + [
        Pause(NOW, NOW / 2, None)
    ]
    best = fewest_cutoffs(sweep(by_time), 300)
    assert best is not None
    assert best.cutoff_pct == pytest.approx(90, abs=4)


def test_budgets_choose_and_say_where_nothing_fits() -> None:
    outcomes = sweep([pause(0.5, 9.0), pause(None, 0.4)])
    quick, safe = fewest_cutoffs(outcomes, 400.0), shortest_latency(outcomes, 5.0)
    assert quick is not None
    assert safe is not None
    assert quick.cutoff_pct == 0.0
    assert safe.latency_ms == pytest.approx(400.0)
    assert fewest_cutoffs(outcomes, 100.0) is None
    assert shortest_latency([one for one in outcomes if one.cutoff_pct > 50], 5.0) is None
    best = frontier(outcomes)
    assert [one.latency_ms for one in best] == sorted(one.latency_ms for one in best)
    assert [one.cutoff_pct for one in best] == sorted((one.cutoff_pct for one in best), reverse=True)
