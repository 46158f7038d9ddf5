"""CPU and tick lateness of this process over a stretch of time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.calls import Calls

SCHEDSTAT = Path("/proc/self/schedstat")
"""Linux: nanoseconds on a core, nanoseconds ready and waiting for one, turns; of the first thread."""


@dataclass(frozen=True, slots=True)
class Window:
    """`packets`: handled in `seconds`, at `us_per_packet` of this process's CPU, the kernel's part included.
    `tick_lag_p99_ms`, `tick_lag_max_ms`: how late the pipeline's ticks came; of a tick that made up for others that
    were left out, how late the first of them was. `starved_percent`: of the time this process was ready to run and had
    no core, because others had them all; None where the system does not tell."""

    seconds: float
    packets: int
    us_per_packet: float
    cpu_percent: float
    tick_lag_p99_ms: float
    tick_lag_max_ms: float
    skipped_ticks: int
    starved_percent: float | None


class TickClock:
    """Notes when every tick begins. Replaces `calls.ingest.tick` by itself."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._tick = calls.ingest.tick
        self._at: list[tuple[float, int]] = []
        setattr(calls.ingest, "tick", self.__call__)  # noqa: B010 - a method of an instance

    def __call__(self) -> None:
        self._at.append((time.monotonic(), self._calls.stats.skipped_ticks))
        self._tick()

    def clear(self) -> None:
        self._at.clear()

    def lags(self) -> list[float]:
        """Seconds, sorted."""
        return sorted(lateness(self._at, self._calls.config.tick_ms / 1000))


def lateness(ticks: list[tuple[float, int]], step: float) -> list[float]:
    """How late each tick was, by (time, ticks left out so far), due on a grid of `step` seconds.

    The tick that was earliest against the grid tells where the grid lies. A tick after some that were left out is as
    late as the first of those.
    """
    first = ticks[0][1]
    against = [at - step * (index + left_out - first) for index, (at, left_out) in enumerate(ticks)]
    grid, before, late = min(against), first, []
    for offset, (_, left_out) in zip(against, ticks, strict=True):
        late.append(offset - grid + step * (left_out - before))
        before = left_out
    return late


async def measure(calls: Calls, ticks: TickClock, packets: Callable[[], int], seconds: float) -> Window:
    """`packets()`: a counter of what was handled so far."""
    ticks.clear()
    skipped, packets_before, starved = calls.stats.skipped_ticks, packets(), _starved_s()
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    cpu, took = time.process_time() - cpu, time.monotonic() - began
    handled, lags, starved_now = packets() - packets_before, ticks.lags(), _starved_s()
    return Window(
        seconds=took,
        packets=handled,
        us_per_packet=1e6 * cpu / max(handled, 1),
        cpu_percent=100 * cpu / took,
        tick_lag_p99_ms=1e3 * lags[len(lags) * 99 // 100],
        tick_lag_max_ms=1e3 * lags[-1],
        skipped_ticks=calls.stats.skipped_ticks - skipped,
        starved_percent=None if starved is None or starved_now is None else 100 * (starved_now - starved) / took,
    )


def _starved_s() -> float | None:
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
