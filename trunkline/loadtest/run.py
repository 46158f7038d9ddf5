"""Runs a plan: lines that call one after the other, the server's records beside them, the report at the end."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from supervision import Supervisor, cancel_and_wait
from trunkline.errors import LoadTestBroken
from trunkline.loadtest.outcome import Caller, CallOutcome, CallOutcomes
from trunkline.loadtest.plan import Plan
from trunkline.loadtest.report import LoadReport, Thresholds, make_report
from trunkline.loadtest.sources import RecordSource
from trunkline.loadtest.tally import RecordTally

RECORDS_WAIT_S = 15.0
"""How long after a call its END may take to come."""

PAUSE_S = 0.5
"""Between two calls of a line, and longer each time the server refuses."""

MAX_PAUSE_S = 5.0
POLL_S = 0.1
LOOK_S = 0.5
"""How often the run looks whether all of it still works."""


class LoadTest:
    """One run. `on_change`: called when a figure has changed, for a display."""

    def __init__(
        self,
        plan: Plan,
        caller: Caller,
        tally: RecordTally,
        source: RecordSource | None,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.active = 0
        self.outcomes = CallOutcomes()
        self._plan, self._caller, self._tally, self._source = plan, caller, tally, source
        self._on_change = on_change
        self.supervisor = Supervisor()
        self.supervisor.include_of(caller, source)
        self._began = 0.0
        self._judging: set[asyncio.Task[None]] = set()

    async def run(self, thresholds: Thresholds) -> LoadReport:
        """Returns when all calls are over and their records are there. Raises `ConfigError` where the server or its
        records cannot be reached, `LoadTestBroken` where a part of the test itself fails; a cancelled run hangs up at
        once."""
        plan, caller, source = self._plan, self._caller, self._source
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(caller.close)
            await caller.start()
            if source is not None:
                stack.push_async_callback(source.close)
                await source.start()
            loop = asyncio.get_running_loop()
            self._began = loop.time()
            await self._unless_broken(self._lines(plan.calls))
            seconds = loop.time() - self._began
            if self._judging:
                await asyncio.wait(self._judging)
        return make_report(
            self.outcomes.calls,
            self._tally.totals,
            thresholds,
            kind=caller.kind,
            setup=caller.setup,
            records="not read" if source is None else source.title,
            most_at_once=self.outcomes.most_at_once,
            ramp_s=plan.calls / plan.rate,
            seconds=seconds,
        )

    async def _lines(self, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for line in range(count):
                group.create_task(self._line(line))

    async def _unless_broken(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises `LoadTestBroken` as soon as something has ended that sends or reads."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_S)
                if self.supervisor.failures:
                    raise LoadTestBroken("; ".join(f"{name}: {why}" for name, why in self.supervisor.failures.items()))
            await task
        finally:
            await cancel_and_wait(task)

    async def _line(self, line: int) -> None:
        """Calls until the plan is over."""
        pause, at = PAUSE_S, self._plan.begins_at(line)
        await asyncio.sleep(at)
        while (play_s := self._plan.next_call_s(at)) is not None:
            outcome = await self._call(at, play_s)
            pause = PAUSE_S if outcome.refused is None else min(2 * pause, MAX_PAUSE_S)
            await asyncio.sleep(pause)
            at = asyncio.get_running_loop().time() - self._began

    async def _call(self, at: float, play_s: float) -> CallOutcome:
        key = self._caller.new_key()
        self._tally.expect(key)
        if self._source is not None:
            self._source.follow(key)
        self.active += 1
        self.outcomes.most_at_once = max(self.outcomes.most_at_once, self.active)
        try:
            outcome = await self._caller.call(key, play_s)
        finally:
            self.active -= 1
        outcome.placed_s = at
        self.outcomes.calls.append(outcome)
        self._on_change()
        judging = self.supervisor.spawn(self._judge(outcome), "records of a call")
        self._judging.add(judging)
        judging.add_done_callback(self._judging.discard)
        return outcome

    async def _judge(self, outcome: CallOutcome) -> None:
        """Wait for the call's END and add its records up."""
        if self._source is not None:
            if outcome.refused is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECORDS_WAIT_S):
                        while not self._tally.has_ended(outcome.key):  # noqa: ASYNC110 - a state of another process
                            await asyncio.sleep(POLL_S)
            self._source.unfollow(outcome.key)
        if outcome.refused is None:
            self._tally.judge(outcome.key, outcome.packets, outcome.played_s)
        else:
            self._tally.forget(outcome.key)
        self._on_change()
