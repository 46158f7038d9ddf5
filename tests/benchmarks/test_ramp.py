"""How the capacity benchmark finds the largest number of streams."""

import pytest

from benchmarks.capacity.ramp import Ramp


def climb(limit: int, start: int, **options: float) -> tuple[int, list[int]]:
    """What is found where up to `limit` streams hold, and the numbers that were tried."""
    ramp, levels = Ramp(start, **options), list[int]()  # type: ignore[arg-type]
    while ramp.level is not None:
        levels.append(ramp.level)
        ramp.tried(ramp.level <= limit)
    return ramp.best, levels


@pytest.mark.parametrize("start", [1, 3, 20, 500])
@pytest.mark.parametrize("limit", [0, 1, 2, 7, 12, 19, 20, 21, 211, 2_400])
def test_the_largest_number_that_holds_is_found_to_within_the_resolution(limit: int, start: int) -> None:
    best, levels = climb(limit, start)
    assert best <= limit
    assert limit - best <= max(0, 0.05 * best)
    assert len(levels) < 25
    assert len(set(levels)) == len(levels)


def test_it_goes_up_by_the_factor_and_then_halves() -> None:
    assert climb(200, 64) == (198, [64, 96, 144, 216, 180, 198, 207])


def test_no_more_than_the_most_are_tried() -> None:
    best, levels = climb(10_000, 64, most=100)
    assert best == 100
    assert levels == [64, 96, 100]
