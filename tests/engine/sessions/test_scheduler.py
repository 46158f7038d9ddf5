"""Which rows step next."""

import random

import pytest

from engine.sessions.scheduler import Scheduler
from tests.engine.virtual import FLUSH_CHUNKS, Caller, World, crowd, lags, quantile

CLASSES = (80, 160, 1_120)


def scheduler(max_batch: int = 4, gather_s: float = 0.002) -> Scheduler[str]:
    return Scheduler(CLASSES, max_batch, gather_s)


def test_nothing_ready_is_nothing_to_do() -> None:
    assert scheduler().next(0.0, {}) is None
    assert scheduler().wake_at({}) is None


def test_a_row_waits_a_bounded_moment_for_company() -> None:
    rows = scheduler()
    rows.add("a", 80, 1.0)
    assert rows.next(1.001, {80: 3}) is None
    assert rows.wake_at({80: 3}) == 1.002
    assert rows.next(1.002, {80: 3}) == (80, ["a"])
    assert len(rows) == 0


def test_nobody_is_waited_for_when_all_are_ready() -> None:
    rows = scheduler()
    rows.add("a", 80, 1.0)
    rows.add("b", 80, 1.001)
    assert rows.next(1.001, {80: 2}) == (80, ["a", "b"])


def test_a_batch_is_bounded_and_the_longest_ready_go_first() -> None:
    rows = scheduler(max_batch=2)
    for number, name in enumerate("abcde"):
        rows.add(name, 160, float(number))
    assert rows.next(9.0, {160: 5}) == (160, ["a", "b"])
    assert rows.next(9.0, {160: 5}) == (160, ["c", "d"])
    assert rows.next(9.0, {160: 5}) == (160, ["e"])


def test_a_row_stands_in_line_once() -> None:
    rows = scheduler()
    rows.add("a", 80, 1.0)
    rows.add("a", 80, 2.0)
    assert rows.next(5.0, {80: 1}) == (80, ["a"])
    assert rows.next(5.0, {80: 1}) is None


def test_urgent_rows_go_first_and_at_once() -> None:
    rows = scheduler(max_batch=2)
    rows.add("a", 80, 1.0)
    rows.add("b", 80, 1.0)
    rows.add("c", 80, 1.0, urgent=True)
    assert rows.next(1.0, {80: 9}) == (80, ["c", "a"])


def test_a_waiting_row_can_become_urgent() -> None:
    rows = scheduler()
    rows.add("a", 80, 1.0)
    rows.add("b", 80, 1.0)
    rows.add("b", 80, 1.0, urgent=True)
    assert rows.next(1.0, {80: 9}) == (80, ["b", "a"])
    assert len(rows) == 0


def test_the_class_whose_row_is_due_first_goes_first() -> None:
    rows = scheduler()
    rows.add("slow", 1_120, 0.0)
    rows.add("fast", 80, 1.0)
    assert rows.next(2.0, {80: 1, 1_120: 1}) == (1_120, ["slow"])
    assert rows.next(2.0, {80: 1, 1_120: 1}) == (80, ["fast"])
    rows.add("slow", 1_120, 0.0)
    rows.add("fast", 80, 0.5)
    assert rows.next(2.0, {80: 1, 1_120: 1}) == (80, ["fast"])
    assert rows.next(2.0, {80: 1, 1_120: 1}) == (1_120, ["slow"])


def test_no_class_starves_under_a_flood_of_another() -> None:
    rows, served, now = scheduler(max_batch=1), list[int](), 0.0
    rows.add("slow", 1_120, 0.0)
    for number in range(100):
        rows.add(f"fast {number}", 80, now)
        rows.add(f"more {number}", 80, now)
        batch = rows.next(now, {80: 200, 1_120: 1})
        now += 0.05
        if batch is not None:
            served.append(batch[0])
    assert 1_120 in served


def test_a_discarded_row_is_not_stepped() -> None:
    rows = scheduler()
    rows.add("a", 80, 1.0)
    rows.discard("a", 80)
    rows.discard("b", 160)
    assert rows.next(9.0, {80: 1}) is None


def test_a_class_can_be_held_to_smaller_batches() -> None:
    rows = scheduler(max_batch=4)
    rows.limit(1_120, 2)
    rows.limit(80, 99)
    for number, name in enumerate("abcdef"):
        rows.add(name, 1_120, float(number))
        rows.add(name, 80, float(number))
    assert rows.next(9.0, {80: 6, 1_120: 6}) == (80, ["a", "b", "c", "d"])
    assert rows.next(9.0, {80: 6, 1_120: 6}) == (1_120, ["a", "b"])


def test_late_audio_goes_ahead_of_flushes() -> None:
    rows = scheduler(max_batch=2)
    rows.add("late", 80, 1.0)
    for name in "abc":
        rows.add(name, 80, 1.2, urgent=True)
    assert rows.next(1.2, {80: 9}) == (80, ["late", "a"])


# Under a virtual clock -----------------------------------------------------------------------------------------------

STEP_S = {80: (0.004, 20e-6), 160: (0.004, 30e-6), 1_120: (0.006, 150e-6)}
"""A device's time of a step of each class: for any step, and for each row."""


def step_s(chunk_ms: int, rows: int) -> float:
    base, each = STEP_S[chunk_ms]
    return base + each * rows


def world(max_batch: int = 512, gather_s: float = 0.005) -> World:
    return World(Scheduler(CLASSES, max_batch, gather_s), step_s)


def test_thousands_of_callers_of_all_classes_are_heard_within_their_chunk() -> None:
    """Each chunk once and in time; batches of one class, of ready rows only, none twice.

    A batch of 512 rows of the slowest class would take longer than the fastest has; so it is held to smaller ones.
    """
    rng, stage = random.Random(1), world()
    stage.scheduler.limit(1_120, 128)
    callers = [*crowd(rng, 600, 80, 4), *crowd(rng, 1_200, 160, 4), *crowd(rng, 1_200, 1_120, 4)]
    stage.run(callers)
    for caller in callers:
        assert len(caller.lags) == len(caller.arrivals())
        assert caller.flushed is not None
    for batch in stage.batches:
        assert len(set(batch.rows)) == len(batch.rows) <= 512
        assert {caller.chunk_ms for caller in batch.rows} == {batch.chunk_ms}
    for chunk_ms in CLASSES:
        of_class = [caller for caller in callers if caller.chunk_ms == chunk_ms]
        assert quantile(lags(of_class, before=4.0), 0.95) < chunk_ms / 1000, chunk_ms


def test_the_engine_is_asked_about_as_often_as_it_steps() -> None:
    """Waking up for every arrival costs nothing much; being woken without anything happening would."""
    rng, stage = random.Random(2), world()
    callers = crowd(rng, 300, 160, 3)
    stage.run(callers)
    arrivals = sum(len(caller.arrivals()) for caller in callers)
    assert stage.calls < 2 * len(stage.batches) + arrivals + 2 * len(callers)


def test_no_row_waits_longer_than_the_gathering_when_the_engine_is_idle() -> None:
    stage = world(gather_s=0.005)
    callers = [Caller(160, 0.013 * n, 0.013 * n + 2) for n in range(5)]
    stage.run(callers)
    assert max(lags(callers)) <= 0.005 + step_s(160, 5) + step_s(160, 5)
    assert min(lags(callers)) >= step_s(160, 1)


def test_gathering_brings_rows_together_that_come_within_moments() -> None:
    callers = [Caller(160, 0.0004 * n, 0.0004 * n + 2) for n in range(10)]
    stage = world(gather_s=0.005)
    stage.run(callers)
    live = [batch for batch in stage.batches if batch.at < 1.9]
    assert {len(batch.rows) for batch in live} == {10}


def test_a_burst_after_a_stalled_network_is_worked_off_and_holds_nobody_up() -> None:
    """Half of the callers' packets are held for a second and come at once."""
    rng, stage = random.Random(3), world()
    steady = crowd(rng, 400, 160, 5)
    stalled = crowd(rng, 400, 160, 5)
    for caller in stalled:
        begin = caller.joins
        caller.delay = lambda chunk, begin=begin: max(0.0, 3.0 - (begin + chunk * 0.16)) if chunk > 12 else 0.0  # type: ignore[misc]
    stage.run([*steady, *stalled])
    assert quantile(lags(steady), 0.95) < 0.16
    assert max(lags(steady)) < 0.16 + 2 * step_s(160, 512)
    assert quantile(lags(stalled, after=4.0), 0.95) < 0.16


def test_silent_callers_take_no_part() -> None:
    rng, stage = random.Random(4), world()
    speaking, silent = crowd(rng, 100, 160, 4), crowd(rng, 2_000, 160, 4)
    for caller in silent:
        caller.silence = (0.5, 3.5)
    stage.run([*speaking, *silent])
    quiet = [batch for batch in stage.batches if 1.0 < batch.at < 3.0]
    assert {caller for batch in quiet for caller in batch.rows} == set(speaking)
    assert quantile(lags(speaking, 1.0, 3.0), 0.99) < 0.005 + 2 * step_s(160, 100)


def test_callers_who_come_and_go_disturb_nobody() -> None:
    rng, stage = random.Random(5), world()
    staying = crowd(rng, 500, 160, 6)
    passing = [
        Caller(rng.choice(CLASSES), joins := rng.uniform(0, 5), joins + rng.uniform(0.05, 2)) for _ in range(2_000)
    ]
    stage.run([*staying, *passing])
    assert quantile(lags(staying), 0.95) < 0.16
    assert all(caller.flushed is not None for caller in passing)


def test_finals_come_soon_in_a_loaded_engine() -> None:
    """Eight steps of flushing, one after the other, each beside a full load."""
    rng, stage = random.Random(6), world()
    crowded = crowd(rng, 2_000, 160, 4)
    ending = [Caller(160, 0.001 * n, 2 + 0.01 * n) for n in range(100)]
    stage.run([*crowded, *ending])
    assert quantile([caller.flushed or 9.0 for caller in ending], 0.95) < FLUSH_CHUNKS * 2 * step_s(160, 512)


def test_a_mass_hang_up_does_not_silence_those_who_stay() -> None:
    """3,000 flushes at once are two seconds of work, live audio waits for no more than one round of them."""
    rng = random.Random(7)
    stage = world(max_batch=64)
    staying, leaving = crowd(rng, 200, 160, 6), [Caller(160, 1.9, 2.0) for _ in range(3_000)]
    stage.run([*staying, *leaving])
    assert max(caller.flushed or 9.0 for caller in leaving) > 1.0
    round_s = 3_200 / 64 * step_s(160, 64)
    assert max(lags(staying)) < 0.16 + round_s


def test_flushes_of_one_class_do_not_hold_up_another() -> None:
    rng = random.Random(8)
    stage = world(max_batch=64)
    staying, leaving = crowd(rng, 200, 1_120, 6), [Caller(80, 1.9, 2.0) for _ in range(3_000)]
    stage.run([*staying, *leaving])
    assert max(lags(staying)) < 1.12


@pytest.mark.parametrize("seed", range(20))
def test_overload_is_shared_by_all_classes(seed: int) -> None:
    """Three times too many callers: nobody waits much longer than it takes to work off the rest."""
    rng = random.Random(seed)
    stage = World(Scheduler(CLASSES, 8, 0.005), lambda chunk_ms, rows: 0.02 + 0.001 * rows)
    callers = [*crowd(rng, 60, 80, 3), *crowd(rng, 60, 160, 3), *crowd(rng, 10, 1_120, 3)]
    stage.run(callers)
    backlog = max(batch.at for batch in stage.batches) - 3.0
    assert backlog > 5.0
    assert max(lags(callers)) < backlog + 1.0
    assert all(len(caller.lags) == len(caller.arrivals()) for caller in callers)
