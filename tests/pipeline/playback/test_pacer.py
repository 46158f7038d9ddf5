"""The timer of everything that is played, on the real clock."""

import asyncio
import time

import numpy as np

from pipeline.playback.pacer import SLOT_MS, Pacer
from supervision import Supervisor


class Steps:
    """Notes its steps; `wait` slots apart, `count` of them."""

    def __init__(self, wait: int, count: int) -> None:
        self.wait, self.count = wait, count
        self.at: list[float] = []
        self.late: list[int] = []
        self.done = asyncio.Event()

    def step(self, at: float, late: int) -> int | None:
        self.at.append(at)
        self.late.append(late)
        if len(self.at) == self.count:
            self.done.set()
            return None
        return self.wait


class Broken(Steps):
    def step(self, at: float, late: int) -> int | None:
        super().step(at, late)
        raise RuntimeError("broken")


async def test_steps_keep_to_the_grid_and_many_legs_are_spread() -> None:
    pacer, steps = Pacer(), [Steps(4, 10) for _ in range(40)]
    for one in steps:
        pacer.begin(one)
    await asyncio.wait_for(asyncio.gather(*(one.done.wait() for one in steps)), 10)
    for one in steps:
        np.testing.assert_allclose(np.diff(one.at)[np.array(one.late[1:]) == 0], 4 * SLOT_MS / 1000, atol=1e-9)
    phases = [round((one.at[0] - steps[0].at[0]) * 1000 / SLOT_MS) % 4 for one in steps]
    assert [phases.count(phase) for phase in range(4)] == [10] * 4
    assert not pacer._slots
    assert pacer._timer is None


async def test_a_loop_that_was_held_up_makes_up_for_little_and_passes_over_much() -> None:
    pacer, little, much = Pacer(), Steps(4, 6), Steps(4, 3)
    pacer.begin(little)
    await asyncio.sleep(0.03)
    time.sleep(0.06)  # noqa: ASYNC251 - the loop is held up
    await asyncio.wait_for(little.done.wait(), 10)
    np.testing.assert_allclose(np.diff(little.at)[np.array(little.late[1:]) == 0], 0.02, atol=1e-9)
    pacer.begin(much)
    await asyncio.sleep(0.025)
    time.sleep(0.3)  # noqa: ASYNC251 - the loop is held up
    await asyncio.wait_for(much.done.wait(), 10)
    assert sum(much.late) * SLOT_MS >= 250


async def test_one_that_fails_is_counted_and_keeps_no_other_from_its_steps() -> None:
    supervisor = Supervisor()
    pacer, broken, sound = Pacer(supervisor), Broken(4, 5), Steps(4, 5)
    pacer.begin(broken)
    pacer.begin(sound)
    await asyncio.wait_for(sound.done.wait(), 10)
    assert len(broken.at) == 1
    assert supervisor.faults["playback"] == 1
