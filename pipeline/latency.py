"""Latencies of a call as a histogram: percentiles in bounded memory, however long the call."""

from collections import Counter
from math import ceil, exp, log

_STEP = log(1.02)  # buckets 2 % wide: a percentile is right within 1 %
_LARGEST_MS = 600_000.0


class LatencyHistogram:
    """Counts milliseconds in logarithmic buckets, at most about 700 of them."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, latency_ms: float) -> None:
        """Values under 1 ms count as 1 ms."""
        self._buckets[round(log(min(max(latency_ms, 1.0), _LARGEST_MS)) / _STEP)] += 1
        self.count += 1

    def percentile(self, percent: float) -> float | None:
        """The latency that `percent` of the values do not exceed, ms; None without values."""
        rank = max(ceil(self.count * percent / 100), 1)
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return round(exp(bucket * _STEP), 1)
        return None
