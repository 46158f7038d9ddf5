"""Which rows step next."""

from engine.scheduler import Scheduler

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
    assert rows.next(2.0, {80: 1, 1_120: 1}) == (80, ["fast"])
    rows.add("fast", 80, 1.1)
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
