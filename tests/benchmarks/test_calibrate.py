"""Finding the bias that gives a rate of tokens."""

import math

import pytest

from benchmarks.capacity.calibrate import calibrate


@pytest.mark.parametrize("wanted", [0.5, 4.0, 11.0])
def test_the_bias_of_a_rate_is_found(wanted: float) -> None:
    tried = []

    def rate_at(bias: float) -> float:
        tried.append(bias)
        return 12.5 / (1 + math.exp(3 * (bias - 7.3)))

    found = calibrate(rate_at, wanted, 0.1, -30, 30)
    assert abs(found.rate - wanted) <= 0.1
    assert found.rate == rate_at(found.bias)
    assert len(tried) < 20


def test_where_the_rate_jumps_the_nearest_is_taken() -> None:
    found = calibrate(lambda bias: 12.5 if bias < 2 else 3.1 if bias < 5 else 0.0, 4.0, 0.5, -30, 30)
    assert found.rate == 3.1
    assert 2 <= found.bias < 5
