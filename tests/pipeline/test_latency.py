import numpy as np
import pytest

from pipeline.latency import LatencyHistogram


def test_without_values_there_is_no_percentile() -> None:
    assert LatencyHistogram().percentile(50) is None


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_percentiles_are_right_within_a_bucket(percent: int) -> None:
    histogram = LatencyHistogram()
    values = np.random.default_rng(0).lognormal(4.5, 0.8, 5000)
    for value in values:
        histogram.add(float(value))
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.011)


def test_memory_is_bounded_whatever_the_values() -> None:
    histogram = LatencyHistogram()
    for exponent in np.linspace(-5, 12, 20_000):
        histogram.add(float(10**exponent))
    assert histogram.count == 20_000
    assert len(histogram._buckets) < 700
    assert histogram.percentile(100) == pytest.approx(600_000, rel=0.01)
