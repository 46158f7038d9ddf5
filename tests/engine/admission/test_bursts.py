"""Admission in a machine that others use, too: under the virtual clock, callers that come and go by its decisions."""

import random
from collections.abc import Callable, Mapping

import pytest

from engine.admission.capacity import Capacity
from engine.sessions.scheduler import Scheduler
from tests.engine.admission.devices import CLASSES, DEVICES
from tests.engine.virtual import Caller, World, lags, quantile

BATCH = 64
Slowness = Callable[[float], float]


class Gate:
    """The engine's own admission. `predicted`: the largest share of time that it ever took sessions to need."""

    def __init__(self, device: str, classes: tuple[int, ...] = CLASSES) -> None:
        self.capacity = Capacity(CLASSES, BATCH, admits=True)
        for ms in classes:
            self.capacity.admission.measured(ms, {rows: DEVICES[device](ms, rows) for rows in (1, 4, 16, 64)})
        self.scheduler = Scheduler[Caller](CLASSES, BATCH, 0.005)
        self.predicted = 0.0

    def admits(self, open_rows: Mapping[int, int], chunk_ms: int, now: float) -> bool:
        self.predicted = max(self.predicted, self.capacity.admission.forecast(now).utilisation(open_rows))
        if self.capacity.refusal(open_rows, chunk_ms, now) is not None:
            return False
        rows = {**open_rows, chunk_ms: open_rows.get(chunk_ms, 0) + 1}
        for ms, limit in self.capacity.admission.forecast(now).limits(rows).items():
            self.scheduler.limit(ms, limit)
        return True

    def observe(self, chunk_ms: int, rows: int, open_rows: int, step_s: float, lags: list[float], now: float) -> None:
        self.capacity.stepped(chunk_ms, rows, open_rows, step_s, lags, now)

    def holds(self, chunk_ms: int) -> int:
        """Sessions of the class that it takes when the machine is as it was measured."""
        return self.capacity.admission.forecast(0.0).capacity(chunk_ms)


def play(gate: Gate, callers: list[Caller], device: str, slowness: Slowness = lambda _now: 1.0) -> World:
    world = World(gate.scheduler, DEVICES[device], slowness, gate)
    world.run(callers)
    return world


def traffic(rng: random.Random, at_once: float, ms: int, seconds: float, call_s: float = 20.0) -> list[Caller]:
    """Two-legged calls that come at random, so that about so many legs are there at once."""
    callers, now = list[Caller](), 0.0
    while (now := now + rng.expovariate(at_once / 2 / call_s)) < seconds:
        callers += [Caller(ms, now, now + rng.uniform(0.5, 1.5) * call_s) for _ in range(2)]
    return callers


def bursts(rng: random.Random, seconds: float, length_s: float, times: float, every_s: float) -> Slowness:
    """Somebody else's work: now and then everything takes `times` as long."""
    begins, now = list[float](), 3.0
    while now < seconds:
        begins.append(now)
        now += length_s + every_s * rng.uniform(0.7, 1.3)
    return lambda at: times if any(begin <= at < begin + length_s for begin in begins) else 1.0


@pytest.mark.parametrize("ms", [80, 160])
@pytest.mark.parametrize(
    ("length_s", "times"), [(0.4, 40.0), (1.0, 16.0), (2.0, 8.0)], ids=["a stop", "a second", "two seconds"]
)
def test_bursts_of_others_refuse_nobody(ms: int, length_s: float, times: float) -> None:
    """A third of what the machine carries."""
    rng, device = random.Random(ms), "small model"
    gate = Gate(device)
    callers = traffic(rng, gate.holds(ms) / 3, ms, 60.0)
    world = play(gate, callers, device, bursts(rng, 60.0, length_s, times, every_s=6.0))
    assert len(callers) > 100
    assert world.refused == {}
    assert gate.predicted < 0.6


def test_one_step_that_hangs_refuses_nobody() -> None:
    rng, device = random.Random(5), "two cores"
    gate = Gate(device)
    callers = traffic(rng, gate.holds(160) / 2, 160, 40.0)
    world = play(gate, callers, device, bursts(rng, 40.0, 0.03, 60.0, every_s=12.0))
    assert world.refused == {}


@pytest.mark.parametrize("device", ["two cores", "small model"])
@pytest.mark.parametrize("ms", [80, 160, 1_120])
def test_a_machine_that_is_slower_than_it_was_measured_refuses_before_anybody_is_late(device: str, ms: int) -> None:
    """By half, from the start to the end: the sessions come one by one, more than it can carry."""
    gate = Gate(device)
    coming = 2 * gate.holds(ms)
    callers = [Caller(ms, 40.0 * number / coming, 60.0) for number in range(coming)]
    world = play(gate, callers, device, lambda _now: 1.5)
    assert len(world.refused) > coming // 3
    assert quantile(lags(callers, 2.0, 60.0), 0.95) < ms / 1000


@pytest.mark.parametrize("ms", [80, 160])
def test_a_machine_that_becomes_slower_for_good_takes_nobody_any_more_within_seconds(ms: int) -> None:
    """With two thirds of its sessions open it becomes slower by two thirds, while others go on coming."""
    device, rng = "small model", random.Random(7)
    gate = Gate(device)
    there = [Caller(ms, rng.uniform(0, 1), 40.0) for _ in range(gate.holds(ms) * 2 // 3)]
    others = [Caller(ms, 10.0 + 0.25 * number, 40.0) for number in range(100)]
    world = play(gate, there + others, device, lambda now: 1.0 if now < 12.0 else 1.6)
    admitted = [caller for caller in others if caller not in world.refused]
    assert max(caller.joins for caller in admitted) < 12.0 + 4.0
    assert not any(caller in world.refused for caller in there)


def test_a_crowd_at_once_is_refused_by_what_was_measured_without_waiting_for_a_lag() -> None:
    device, ms = "small model", 160
    gate = Gate(device)
    most = gate.holds(ms)
    callers = [Caller(ms, 5.0 + 0.001 * number, 20.0) for number in range(2 * most)]
    world = play(gate, callers, device)
    assert len(callers) - len(world.refused) == most
    assert quantile(lags(callers, 6.0, 20.0), 0.95) < ms / 1000


def test_when_the_slowness_is_over_callers_are_taken_again_within_seconds() -> None:
    device, ms = "small model", 160
    gate = Gate(device)
    there = [Caller(ms, 0.003 * number, 60.0) for number in range(gate.holds(ms) * 2 // 3)]
    others = [Caller(ms, 1.0 + 0.5 * number, 5.0 + 0.5 * number) for number in range(100)]
    world = play(gate, there + others, device, lambda now: 2.0 if 10.0 <= now < 30.0 else 1.0)
    times = sorted(world.refused.values())
    assert times
    assert times[0] > 10.0
    assert times[-1] < 30.0 + 6.0


@pytest.mark.parametrize("seed", range(8))
def test_a_mixture_with_bursts_is_refused_as_one_without(seed: int) -> None:
    """Of whatever classes, up to what the measured curves allow."""
    rng, device = random.Random(seed), "small model"
    kinds = rng.sample(CLASSES, 3)
    gate, calm = Gate(device), Gate(device)
    wanted = [rng.choice(kinds) for _ in range(300)]
    callers = [Caller(ms, 0.1 * number, 45.0) for number, ms in enumerate(wanted)]
    refused = play(calm, callers, device).refused
    again = [Caller(ms, 0.1 * number, 45.0) for number, ms in enumerate(wanted)]
    world = play(gate, again, device, bursts(rng, 30.0, 0.5, 10.0, every_s=8.0))
    numbers = {number for number, caller in enumerate(again) if caller in world.refused}
    assert numbers <= {number for number, caller in enumerate(callers) if caller in refused}
