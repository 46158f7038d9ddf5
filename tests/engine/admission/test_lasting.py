"""What counts only once it lasts."""

import random

import pytest

from engine.admission.lasting import SLICE_S, SLICES, Lasting

WINDOW_S = SLICE_S * SLICES


def fed(values: list[tuple[float, float]], usual: float = 1.0) -> Lasting:
    """values: (until, value), twenty a second."""
    made, now = Lasting(usual), 0.0
    for until, value in values:
        while now < until - 1e-9:
            made.add(value, 1.0, now)
            now += 0.05
    return made


def test_nothing_observed_is_as_usual() -> None:
    assert Lasting(1.0).median(5.0) == 1.0
    assert Lasting(0.0).median(5.0) == 0.0


@pytest.mark.parametrize("moment_s", [0.05, 0.5, 1.0, 2.0, 3.0])
def test_a_moment_is_not_seen_while_it_is_there_nor_after_it(moment_s: float) -> None:
    made, now = Lasting(1.0), 0.0
    while now < 20.0:
        made.add(50.0 if 10.0 <= now < 10.0 + moment_s else 1.0, 1.0, now)
        assert made.median(now) == pytest.approx(1.0), now
        now += 0.05


def test_moments_again_and_again_are_not_seen() -> None:
    rng, made = random.Random(1), Lasting(1.0)
    for step in range(2_000):
        now = 0.05 * step
        made.add(rng.uniform(5, 50) if now % 5.0 < 1.5 else 1.0, 1.0, now)
        assert made.median(now) == pytest.approx(1.0), now


def test_what_lasts_is_seen_within_four_seconds_and_gone_within_four() -> None:
    assert fed([(10.0, 1.0), (14.0, 3.0)]).median(14.0) == pytest.approx(3.0)
    assert fed([(10.0, 1.0), (60.0, 3.0), (64.0, 1.0)]).median(64.0) == pytest.approx(1.0)


def test_it_is_seen_at_the_beginning_as_late_as_at_any_time() -> None:
    assert fed([(2.9, 3.0)]).median(2.9) == 1.0
    assert fed([(4.0, 3.0)]).median(4.0) == pytest.approx(3.0)


def test_observations_are_weighed_by_what_they_are_made_from() -> None:
    """A short step that takes twice as long tells little of the long ones beside it."""
    made = Lasting(1.0)
    for second in range(20):
        made.add(0.002, 0.001, second / 2)
        made.add(0.100, 0.100, second / 2)
    assert made.median(10.0) == pytest.approx(1.0, abs=0.02)


def test_rare_observations_count_like_frequent_ones() -> None:
    """Of a class whose chunks are longer than a slice."""
    made = Lasting(1.0)
    for chunk in range(12):
        made.add(2.0, 1.0, 1.12 * chunk)
    assert made.median(1.12 * 12) > 1.5


def test_what_is_old_is_forgotten_and_does_not_come_back() -> None:
    made = fed([(20.0, 16.0)])
    assert made.median(20.0) == pytest.approx(16.0)
    assert made.median(20.0 + WINDOW_S + 60.0) < 1.3
    made.add(1.0, 1.0, 200.0)
    assert made.median(200.0) < 1.01
