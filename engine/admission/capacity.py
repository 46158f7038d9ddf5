"""What one engine can carry and how it fares: its admission, its meters, and the measurement at its start.

Two questions are answered. Whether one more session is taken (`Capacity.refusal`) is asked at every `open` and costs
one forecast. How many more would be taken, of every class (`Capacity.compute_load`), is asked by monitoring; a search
over forecasts takes milliseconds. So a `LoadSnapshot` is taken under the engine's lock, and the search is done outside
of it, once a second at most, from the numbers found before.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from engine.admission.admission import MARGIN, MEASURED_ROWS, Admission, Forecast
from engine.admission.lasting import Lasting
from engine.admission.meter import Meter
from engine.api import ClassLoad, EngineLoad, Precision
from engine.config import ModelConfig
from engine.model.state import ring_chunks
from engine.precision import RING_DTYPES

_ENOUGH_LAGS = 20.0
"""Recent observations of lag from which on they count."""

_LATE_SHARE = 0.05
"""Share of late rows that lasts from which on their lag refuses others: more than the 95th percentile leaves."""

_HEADROOMS_S = 1.0
_MEMORY_SHARE = 0.3
_MOST_SESSIONS = 1024
_MOST_SESSIONS_CUDA = 16384

_TRIES = 4


@dataclass(frozen=True, slots=True)
class LoadSnapshot:
    """What the load of an engine is computed from: taken under the engine's lock, worked with outside of it."""

    at: float
    open_rows: Mapping[int, int]
    slots: int
    meters: Mapping[int, Meter]
    lags_p95_s: Mapping[int, float]
    forecast: Forecast


class Capacity:
    """Not thread-safe: the engine holds its lock, but for `compute_load`, which takes milliseconds.

    `admits`: sessions are refused for want of time, too.
    """

    def __init__(self, classes: tuple[int, ...], max_batch: int, *, admits: bool) -> None:
        self.admission = Admission(classes, max_batch)
        self.admits = admits
        self._max_batch = max_batch
        self._meters = {chunk_ms: Meter() for chunk_ms in classes}
        self._late = {chunk_ms: Lasting(0.0) for chunk_ms in classes}
        self._counting = threading.Lock()
        self._headrooms = dict.fromkeys(classes, (0, 0))
        self._headrooms_at = float("-inf")

    def stepped(self, chunk_ms: int, rows: int, open_rows: int, step_s: float, lags: list[float], now: float) -> None:
        """A batch was stepped and reported. lags: seconds, of its rows with live audio."""
        self._meters[chunk_ms].stepped(rows, min(open_rows, self._max_batch), step_s, lags, now)
        self.admission.observed(chunk_ms, rows, step_s, now)
        if lags:
            limit_s = MARGIN * chunk_ms / 1000
            self._late[chunk_ms].add(len([lag for lag in lags if lag > limit_s]), len(lags), now)

    def refusal(self, open_rows: Mapping[int, int], chunk_ms: int, now: float) -> str | None:
        """Why one more session of the class has no place; None where it has one."""
        if not self.admits:
            return None
        return self.admission.forecast(now).refusal(open_rows, chunk_ms, self._lags_p95(now))

    def snapshot(self, open_rows: Mapping[int, int], slots: int, now: float) -> LoadSnapshot:
        """slots: the most sessions of one class, and of all together."""
        meters = {chunk_ms: meter.copy() for chunk_ms, meter in self._meters.items()}
        return LoadSnapshot(now, open_rows, slots, meters, self._lags_p95(now), self.admission.forecast(now))

    def compute_load(self, snapshot: LoadSnapshot) -> EngineLoad:
        """How busy the engine was. Headrooms and capacities are a second old at most. On any thread."""
        with self._counting:
            if snapshot.at - self._headrooms_at >= _HEADROOMS_S:
                self._headrooms, self._headrooms_at = self._count_headrooms(snapshot), snapshot.at
            headrooms = self._headrooms
        slots, open_rows, sessions = snapshot.slots, snapshot.open_rows, sum(snapshot.open_rows.values())
        classes = []
        for ms, meter in snapshot.meters.items():
            headroom, capacity = headrooms[ms]
            p50, p95, p99 = (meter.lag.quantile(share, snapshot.at) for share in (0.5, 0.95, 0.99))
            classes.append(
                ClassLoad(
                    chunk_ms=ms,
                    open=open_rows.get(ms, 0),
                    slots=slots,
                    headroom=max(0, min(headroom, slots - sessions)),
                    capacity=capacity,
                    steps=meter.steps,
                    rows=meter.rows,
                    step_s=meter.step_s,
                    mean_step_s=meter.mean_step_s,
                    fill=meter.fill,
                    lag_p50_s=p50,
                    lag_p95_s=p95,
                    lag_p99_s=p99,
                )
            )
        return EngineLoad(sessions, slots, snapshot.forecast.utilisation(open_rows), tuple(classes))

    def _count_headrooms(self, snapshot: LoadSnapshot) -> dict[int, tuple[int, int]]:
        """Sessions that each class would be given now, and in an otherwise empty engine. Searched for from those
        before: at hundreds of sessions in five classes it is tens of milliseconds of work otherwise."""
        slots, forecast, before = snapshot.slots, snapshot.forecast, self._headrooms
        if not self.admits:
            return dict.fromkeys(self._meters, (slots, slots))
        return {
            ms: (
                forecast.headroom(snapshot.open_rows, ms, snapshot.lags_p95_s, slots, near=before[ms][0]),
                forecast.capacity(ms, slots, near=before[ms][1]),
            )
            for ms in self._meters
        }

    def _lags_p95(self, now: float) -> dict[int, float]:
        """Of the classes whose sessions have been answered late for a while."""
        return {
            ms: meter.lag.quantile(0.95, now)
            for ms, meter in self._meters.items()
            if self._late[ms].median(now) > _LATE_SHARE and meter.lag.weight(now) >= _ENOUGH_LAGS
        }


def measure(step: Callable[[int], object], slots: int, chunk_ms: int, budget_s: float) -> dict[int, float]:
    """Time of a step at a few batch sizes: rows -> seconds.

    `step(rows)` steps a batch once. Larger batches are left out once a step takes longer than its chunk or the budget
    is spent; two sizes are measured whatever they take.
    """
    step(1)  # the very first step pays for compilation and allocations
    began, times = time.perf_counter(), dict[int, float]()
    for rows in MEASURED_ROWS:
        spent = time.perf_counter() - began
        if rows > slots or (len(times) >= 2 and (spent > budget_s or max(times.values()) > chunk_ms / 1000)):
            break
        tries = list[float]()
        while len(tries) < _TRIES and (len(tries) < 2 or time.perf_counter() - began < budget_s):
            at = time.perf_counter()
            step(rows)
            tries.append(time.perf_counter() - at)
        times[rows] = min(tries)
    return times


def most_sessions(config: ModelConfig, device: str, precision: Precision) -> int:
    """Sessions for whose slots there is memory, where their number was left open."""
    frames = max(config.chunk_frames)
    ring = ring_chunks(config.encoder.left_context, frames) * frames
    slot = 2.2 * config.encoder.layers * ring * config.encoder.d_model * RING_DTYPES[precision].itemsize
    if device.startswith("cuda"):
        free, most = torch.cuda.mem_get_info(device)[0], _MOST_SESSIONS_CUDA
    else:
        free, most = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), _MOST_SESSIONS
    return max(1, min(most, int(_MEMORY_SHARE * free / slot)))
