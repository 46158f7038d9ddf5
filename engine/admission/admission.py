"""Whether the engine can carry one more session. Pure: measured step times and observed lags in, a decision out.

The idea. A session of a class has a chunk to step every C seconds. The device steps one batch after the other, and a
batch is faster than its rows one by one: s(b), the time of a step of b rows, is measured at a few b (`StepCurve`).
Under load the device never waits: while one batch is stepped the rows of the next become ready. So a batch is as large
as the time before it was long, and that time is as long as its batches were large. Where both agree, the engine has
settled.

The fix-point. A round steps every class once, each with the rows that became ready during the round before:

    round  = sum over classes of s(b)
    b      = min(n, max(1, n * round / C))       n: open sessions of the class

`_Load._settled` begins with b = 1 and puts each b into the next round. s does not fall with b, so b only grows,
towards the least solution. It stops where no b grows by more than 1 %; where 64 rounds do not get there, b = n. This is
the mean value of a polling system with gated service: a visit serves whatever was there when the round began (H.
Takagi, Analysis of Polling Systems, MIT Press 1986).

From b follows the lag of a row, from the time its chunk is complete to its result (`_Load.lags`): the wait for the
step that runs then, of its own class or a slower one, plus the steps of its own class and of all faster ones, which
are due before it. For a slower class it waits twice: one such step runs, and another may be overdue and go first.
Batches of a slower class are limited, so that one takes a quarter of the fastest chunk at most, or has one row
(`Forecast.limits`).

A session is admitted where none is open, and where with it (`Forecast.refusal`)

    busy = sum over classes of s(n) / C <= 0.8   in batches as large as possible; 0.72 with several classes
    lag <= 0.8 C                                 of every class, predicted, and the observed 95th percentile too

Example: C = 160 ms, s(b) = 8 + 2 b ms, at most 64 rows.

    n = 40:  b = 4,   round s(4) = 16 ms, lag 16 + 16 ms, busy 0.55
    n = 60:  b = 12,  round s(12) = 32 ms, lag 32 + 32 ms, busy 0.80: the last session that is admitted
    n = 80:  b = 80,  n * s(b) / C = 4 + b is more than every b: the engine falls behind, busy 1.10

The invariant: fewer sessions never fare worse. s, busy and lag do not fall with n, so `headroom` and `capacity` may
look for the last n that fits by bisection (`largest`).

What is observed corrects what was measured: step times of the running engine over the measured ones scale s
(`Admission.slowness`), and an observed lag refuses whatever the prediction says. Both count only once they last
(`engine.admission.lasting`): a slow moment of the machine refuses nobody.
"""

import bisect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.admission.lasting import Lasting

MEASURED_ROWS = (1, 4, 16, 64, 256, 1024)
"""Batch sizes at which a step is timed, as far as there are slots."""

MARGIN = 0.8
"""Share of a chunk that the lag of its class may take."""

_UTILISATION = 0.8
"""Share of time that stepping may take."""

_SLOWEST = 16.0
"""A step that takes longer than so many times what was measured counts as this."""

_BLOCKING = 0.25
"""Share of the fastest open class's chunk that a batch of a slower class may take."""

_MIXED = 0.9
"""Part of the utilisation that is allowed where several classes are open: they come into each other's way."""


class StepCurve:
    """Time of one step by its rows: linear between the measured sizes, and beyond them with the last slope."""

    def __init__(self, times: Mapping[int, float]) -> None:
        """times: rows -> seconds, at least one; a larger batch never counts as faster than a smaller one."""
        self._rows = sorted(times)
        self._times = [max(times[size] for size in self._rows[: i + 1]) for i in range(len(self._rows))]

    def __call__(self, rows: float) -> float:
        if len(self._rows) == 1 or rows <= self._rows[0]:
            return self._times[0] * max(1.0, rows / self._rows[0])
        right = min(bisect.bisect_left(self._rows, rows), len(self._rows) - 1)
        low, high = self._rows[right - 1], self._rows[right]
        slope = (self._times[right] - self._times[right - 1]) / (high - low)
        return self._times[right - 1] + slope * (rows - low)

    def within(self, seconds: float, most: int) -> int:
        """The largest batch that takes no longer, from 1 to `most` rows."""
        return max(1, largest(lambda rows: self(rows) <= seconds, most))

    def stretched(self, factor: float) -> "StepCurve":
        """The curve of a class whose chunk is `factor` times as long: a row there is as much work as `factor` here."""
        sizes = sorted({max(1, round(rows / factor)) for rows in self._rows})
        return StepCurve({rows: self(rows * factor) for rows in sizes})


class Admission:
    """What was measured and observed of each class; decisions are those of `forecast`. Not thread-safe.

    `classes`: chunks in milliseconds. `max_batch`: rows of the largest step.
    """

    def __init__(self, classes: tuple[int, ...], max_batch: int) -> None:
        self._classes = classes
        self._max_batch = max_batch
        self._measured: dict[int, StepCurve] = {}
        self._curves: dict[int, StepCurve] = {}
        self._slowness = {ms: Lasting(1.0) for ms in classes}

    def measured(self, chunk_ms: int, times: Mapping[int, float]) -> None:
        """Steps of a class take so long: rows -> seconds. A class without any follows from the nearest one."""
        self._measured[chunk_ms] = StepCurve(times)
        curves = {}
        for other in self._classes:
            nearest = min(self._measured, key=lambda ms: abs(math.log(ms / other)))
            curve = self._measured[nearest]
            curves[other] = curve if nearest == other else curve.stretched(other / nearest)
        self._curves = curves  # forecasts keep those they were made with

    def observed(self, chunk_ms: int, rows: int, step_s: float, now: float) -> None:
        """A step of the running engine took `step_s`."""
        if self._curves:
            expected_s = self._curves[chunk_ms](rows)
            self._slowness[chunk_ms].add(min(step_s, _SLOWEST * expected_s), expected_s, now)

    def slowness(self, chunk_ms: int, now: float) -> float:
        """Observed step times over the measured ones, as far as it lasts; drifts back to 1 while nothing is stepped."""
        return max(self._slowness[chunk_ms].median(now), 1 / _SLOWEST)

    def forecast(self, now: float) -> "Forecast":
        """By what is known now. It does not change and may be used on any thread."""
        slowness = {ms: self.slowness(ms, now) for ms in self._classes}
        return Forecast(self._classes, self._curves, slowness, self._max_batch)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What so many sessions would mean for an engine, by its curves and how slow it is at one time. Immutable.

    `curves`, `slowness`: of each class; without curves, as nothing was measured, everybody is admitted.
    """

    classes: tuple[int, ...]
    curves: Mapping[int, StepCurve]
    slowness: Mapping[int, float]
    max_batch: int

    def refusal(self, open_rows: Mapping[int, int], chunk_ms: int, lag_p95_s: Mapping[int, float]) -> str | None:
        """Why one more session of the class has no place; None where it has one.

        `lag_p95_s`: observed, of the classes that have enough observations. An empty engine takes any session: there
        is nobody to protect.
        """
        if not self.curves or not any(open_rows.values()):
            return None
        for ms, lag in lag_p95_s.items():
            if open_rows.get(ms) and lag > MARGIN * ms / 1000:
                return f"its {ms} ms sessions are answered {1000 * lag:.0f} ms after their audio"
        rows = {ms: count for ms, count in open_rows.items() if count}
        rows[chunk_ms] = rows.get(chunk_ms, 0) + 1
        load = self._load(rows)
        if (busy := load.busy) > _UTILISATION * (1.0 if len(rows) == 1 else _MIXED):
            return f"one more session of {chunk_ms} ms would keep it stepping {busy:.0%} of the time"
        for ms, lag in load.lags.items():
            if lag > MARGIN * ms / 1000:
                return f"with one more session of {chunk_ms} ms those of {ms} ms would be {1000 * lag:.0f} ms late"
        return None

    def headroom(
        self,
        open_rows: Mapping[int, int],
        chunk_ms: int,
        lag_p95_s: Mapping[int, float],
        most: int = 1 << 16,
        near: int = 0,
    ) -> int:
        """How many more sessions of the class would be admitted, `most` at most. `near`: a guess, which saves time."""

        def fits(more: int) -> bool:
            rows = {**open_rows, chunk_ms: open_rows.get(chunk_ms, 0) + more - 1}
            return self.refusal(rows, chunk_ms, lag_p95_s) is None

        return largest(fits, most, near)

    def capacity(self, chunk_ms: int, most: int = 1 << 16, near: int = 0) -> int:
        """Sessions of this class that an otherwise empty engine admits, `most` at most; 0 where not even one is in
        time. `near`: a guess, which saves time."""
        if self.curves and self._load({chunk_ms: 1}).busy > 1:
            return 0
        return self.headroom({}, chunk_ms, {}, most, near)

    def utilisation(self, open_rows: Mapping[int, int]) -> float:
        """Share of time that stepping the open rows takes, in batches as large as they can be."""
        rows = {ms: count for ms, count in open_rows.items() if count}
        return self._load(rows).busy if self.curves else 0.0

    def limits(self, open_rows: Mapping[int, int]) -> dict[int, int]:
        """Rows that a batch of each class may have, so that no batch of a slow class holds up a faster one."""
        rows = {ms: count for ms, count in open_rows.items() if count}
        limits = dict.fromkeys(self.classes, self.max_batch)
        return limits | self._load(rows).limits if self.curves else limits

    def _load(self, rows: Mapping[int, int]) -> "_Load":
        """rows: of each class that has any."""
        fastest, limits = min(rows, default=0), {}
        for ms in rows:
            most = self.max_batch
            if ms > fastest:
                most = self.curves[ms].within(_BLOCKING * fastest / 1000 / self.slowness[ms], most)
            limits[ms] = most
        return _Load(rows, limits, self.curves, self.slowness)


@dataclass(frozen=True, slots=True)
class _Load:
    """What so many open rows of each class mean. `rows`, `limits`: of the classes that have any; the others may have
    more classes."""

    rows: Mapping[int, int]
    limits: dict[int, int]
    curves: Mapping[int, StepCurve]
    slowness: Mapping[int, float]

    def one_s(self, chunk_ms: int, rows: float) -> float:
        """Time of one step."""
        return self.curves[chunk_ms](rows) * self.slowness[chunk_ms]

    def step_s(self, chunk_ms: int, rows: float) -> float:
        """Time to step so many rows once, in as many batches as it takes."""
        limit = self.limits[chunk_ms]
        if rows <= limit:
            return self.one_s(chunk_ms, rows)
        whole, remainder = divmod(rows, limit)
        return whole * self.one_s(chunk_ms, limit) + (self.one_s(chunk_ms, remainder) if remainder else 0.0)

    @property
    def busy(self) -> float:
        """Share of time that stepping takes, in batches as large as they can be."""
        return sum(self.step_s(ms, count) * 1000 / ms for ms, count in self.rows.items())

    @property
    def lags(self) -> dict[int, float]:
        """Lag of the unluckier rows of each class, when batches have settled."""
        size, found = self._settled(), {}
        for ms, count in self.rows.items():
            own = sum(self.step_s(other, size[other]) for other in self.rows if other <= ms)
            one = {other: self.one_s(other, min(size[other], self.limits[other])) for other in self.rows if other >= ms}
            slower = max((seconds for other, seconds in one.items() if other > ms), default=0.0)
            # One step of a slower class runs, another may be overdue by then and go first.
            found[ms] = own + max(2 * slower, one[ms] if count > 1 else 0.0)
        return found

    def _settled(self) -> dict[int, float]:
        """Rows of each class in a round of all classes, when a round brings in the rows of the next; all rows
        where no round is long enough for that."""
        size = dict.fromkeys(self.rows, 1.0)
        for _ in range(64):
            round_s = sum(self.step_s(ms, rows) for ms, rows in size.items())
            grown = {ms: min(float(count), max(1.0, count * round_s * 1000 / ms)) for ms, count in self.rows.items()}
            if all(grown[ms] <= rows * 1.01 for ms, rows in size.items()):
                return grown
            size = grown
        return {ms: float(count) for ms, count in self.rows.items()}


def largest(fits: Callable[[int], bool], most: int, near: int = 0) -> int:
    """The largest number from 0 to `most` that fits, where whatever is smaller than one that fits does too.

    `near`: where to begin. The search widens from there, so that a good guess costs a few trials whatever the number.
    """
    if most <= 0:
        return 0
    low, high = 0, most + 1  # the first fits, the last does not
    at, stride = min(max(near, 1), most), 1
    while low < at < high:
        if fits(at):
            low, at = at, at + stride
        else:
            high, at = at, at - stride
        stride *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
