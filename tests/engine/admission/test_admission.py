"""How many sessions the engine takes, and that those it has taken are answered in time."""

import random
from collections import Counter

import pytest

from engine.admission.admission import Admission, StepCurve, largest
from engine.sessions.scheduler import Scheduler
from tests.engine.admission.devices import CLASSES, DEVICES
from tests.engine.virtual import Caller, World, crowd, lags, quantile


def admission(device: str = "small model", max_batch: int = 64, classes: tuple[int, ...] = (160,)) -> Admission:
    made = Admission(CLASSES, max_batch)
    for ms in classes:
        made.measured(ms, {rows: DEVICES[device](ms, rows) for rows in (1, 4, 16, 64) if rows <= max_batch})
    return made


def fill(made: Admission, wanted: list[int]) -> Counter[int]:
    """Sessions of each class, after all that were wanted have asked for a place."""
    open_rows: Counter[int] = Counter()
    for ms in wanted:
        if made.forecast(0.0).refusal(open_rows, ms, {}) is None:
            open_rows[ms] += 1
    return open_rows


def simulate(device: str, max_batch: int, made: Admission, open_rows: Counter[int], seed: int) -> list[Caller]:
    rng, scheduler = random.Random(seed), Scheduler[Caller](CLASSES, max_batch, 0.005)
    for ms, rows in made.forecast(0.0).limits(open_rows).items():
        scheduler.limit(ms, rows)
    callers = [caller for ms, count in open_rows.items() for caller in crowd(rng, count, ms, 8.0)]
    World(scheduler, DEVICES[device]).run(callers)
    return callers


# The curve -----------------------------------------------------------------------------------------------------------


def test_a_curve_goes_through_its_points_and_straight_between_and_beyond_them() -> None:
    curve = StepCurve({1: 0.010, 4: 0.016, 16: 0.040})
    assert [curve(rows) for rows in (1, 4, 16)] == [0.010, 0.016, 0.040]
    assert curve(10) == pytest.approx(0.028)
    assert curve(32) == pytest.approx(0.072)


def test_a_curve_of_one_point_expects_no_gain_from_batches() -> None:
    curve = StepCurve({1: 0.010})
    assert curve(3) == pytest.approx(0.030)


def test_a_larger_batch_is_never_taken_for_faster() -> None:
    curve = StepCurve({1: 0.010, 4: 0.030, 16: 0.020})
    assert curve(16) == 0.030
    assert curve(64) >= curve(16)


def test_a_class_that_was_not_measured_follows_from_the_nearest() -> None:
    made, all_measured = admission(classes=(160,)), admission(classes=CLASSES)
    for ms in CLASSES:
        assert made.forecast(0.0).capacity(ms) == pytest.approx(all_measured.forecast(0.0).capacity(ms), rel=0.1), ms


@pytest.mark.parametrize("most", [0, 1, 7, 8, 1_000])
def test_the_largest_that_fits(most: int) -> None:
    for limit in (0, 1, 2, 3, 7, 8, 9, 500):
        assert largest(lambda n, limit=limit: n <= limit, most) == min(limit, most)  # type: ignore[misc]


# The decision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("max_batch", [16, 64, 512])
@pytest.mark.parametrize("ms", [80, 160, 1_120])
def test_sessions_that_were_admitted_are_answered_within_a_chunk(device: str, max_batch: int, ms: int) -> None:
    made = admission(device, max_batch, (ms,))
    count = made.forecast(0.0).capacity(ms)
    if count > 3_000:
        pytest.skip("too many callers for a test")
    callers = simulate(device, max_batch, made, Counter({ms: count}), seed=1)
    assert quantile(lags(callers, 1.0, 8.0), 0.95) < ms / 1000


@pytest.mark.parametrize("device", ["two cores", "small model"])
@pytest.mark.parametrize("ms", [80, 160, 1_120])
def test_not_many_more_could_have_been_admitted(device: str, ms: int) -> None:
    """With half as many again the deadline is missed: the prediction is no excuse for an idle machine."""
    made = admission(device, 64, (ms,))
    count = made.forecast(0.0).capacity(ms)
    callers = simulate(device, 64, made, Counter({ms: 1 + count * 3 // 2}), seed=2)
    assert quantile(lags(callers, 1.0, 8.0), 0.95) > ms / 1000


@pytest.mark.parametrize("seed", range(16))
def test_any_mixture_that_was_admitted_is_answered_within_its_chunks(seed: int) -> None:
    rng = random.Random(seed)
    device = rng.choice(list(DEVICES))
    made = admission(device, 64, CLASSES)
    kinds = rng.sample(CLASSES, rng.randint(2, 5))
    open_rows = fill(made, [rng.choice(kinds) for _ in range(1_500)])
    callers = simulate(device, 64, made, open_rows, seed)
    for ms in open_rows:
        late = lags((caller for caller in callers if caller.chunk_ms == ms), 1.5, 8.0)
        assert quantile(late, 0.95) < ms / 1000, (device, open_rows)


def test_room_is_what_is_admitted_one_by_one() -> None:
    made = admission()
    open_rows = Counter({160: 40, 1_120: 60})
    room = made.forecast(0.0).headroom(open_rows, 80, {})
    for _ in range(room):
        assert made.forecast(0.0).refusal(open_rows, 80, {}) is None
        open_rows[80] += 1
    assert room > 3
    assert made.forecast(0.0).refusal(open_rows, 80, {}) is not None


def test_an_empty_engine_takes_a_session_even_if_it_is_too_slow_for_it() -> None:
    made = Admission(CLASSES, 64)
    made.measured(80, {1: 0.150, 4: 0.200})
    assert made.forecast(0.0).refusal({}, 80, {}) is None
    assert made.forecast(0.0).refusal({80: 1}, 80, {}) is not None
    assert made.forecast(0.0).capacity(80) == 0
    assert made.forecast(0.0).capacity(1_120) > 0


def test_without_a_measurement_everybody_is_admitted() -> None:
    made = Admission(CLASSES, 64)
    assert made.forecast(0.0).refusal({80: 5_000}, 80, {80: 9.0}) is None
    assert not made.forecast(0.0).curves
    made.observed(80, 4, 0.5, 1.0)
    assert made.forecast(1.0).utilisation({80: 5_000}) == 0.0


def test_an_observed_lag_near_the_deadline_refuses_whatever_was_measured() -> None:
    made = admission()
    assert made.forecast(0.0).refusal({160: 5}, 80, {160: 0.100}) is None
    refusal = made.forecast(0.0).refusal({160: 5}, 80, {160: 0.140})
    assert refusal is not None
    assert "160 ms" in refusal
    assert "140 ms" in refusal
    assert made.forecast(0.0).refusal({160: 5}, 80, {1_120: 2.0}) is None, "nobody of that class is open"


def test_slower_steps_than_measured_lower_the_capacity_and_faster_ones_raise_it() -> None:
    made = admission()
    before = made.forecast(0.0).capacity(160)
    for step in range(200):
        made.observed(160, 32, 2 * DEVICES["small model"](160, 32), step * 0.02)
    slower = made.forecast(4.0).capacity(160)
    assert slower < 0.6 * before
    for step in range(200):
        made.observed(160, 32, DEVICES["small model"](160, 32) / 2, 4 + step * 0.02)
    assert made.forecast(8.0).capacity(160) > 1.5 * before


def test_one_slow_step_changes_little() -> None:
    made = admission()
    before = made.forecast(0.0).capacity(160)
    made.observed(160, 1, 1.0, 0.1)
    assert made.forecast(0.1).capacity(160) > before / 2


def test_a_slowdown_is_forgotten_while_nothing_is_stepped() -> None:
    """Or an engine that refuses everybody would never learn that it could serve them again."""
    made = admission()
    before = made.forecast(0.0).capacity(160)
    for step in range(200):
        made.observed(160, 4, 1.0, step * 0.02)
    assert made.forecast(4.0).capacity(160) <= 1
    assert made.forecast(120.0).capacity(160) > 0.95 * before


def test_batches_of_slow_classes_leave_the_fast_one_its_time() -> None:
    made = admission("two cores", 64, CLASSES)
    assert set(made.forecast(0.0).limits({1_120: 20}).values()) == {64}
    limits = made.forecast(0.0).limits({80: 1, 1_120: 20})
    assert limits[80] == 64
    assert limits[1_120] == 1
    small = admission("small model", 64, CLASSES).forecast(0.0).limits({160: 1, 1_120: 20})
    assert DEVICES["small model"](1_120, small[1_120]) <= 0.040 < DEVICES["small model"](1_120, small[1_120] + 1)
