"""Schedules carried out: a group of emitters on one world, the faults at their times, and the count at the end."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from sinks.record import TranscriptRecord
from testing.faults import count
from testing.faults.disk import Disk
from testing.faults.emitter import DRAIN_S, MISCONFIGURED, Options
from testing.faults.journal import Journal
from testing.faults.records import record
from testing.faults.schedule import TOO_LARGE_FOR_CLIENT, TOPICS, Fault, Kind, Schedule
from testing.faults.world import World
from testing.layout import ROOT

POLL_S = 0.05
UP_S = 60.0
STOP_S = 3 * DRAIN_S
LIVENESS_WAIT_S = 30.0
"""What takes longer counts as this."""

AFTERWARDS_S = 1.0
"""Records still come for so long after the last fault."""

_COMMANDS = {
    Kind.KILLED_AT: "die",
    Kind.DELIVERY_KILLED: "orphan",
    Kind.RECORD_REJECTED: "large",
    Kind.CLOCK_STEPPED: "clock",
}
"""Faults that the emitter does to itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`ended_in_order`: the process did, when told to, within its time. `liveness_s`: from the end of the last fault to
    the acknowledgement of a record published after it, on each topic; the slower one. `quiet_lag_s`,
    `disturbed_lag_s`: of the event loop, without faults and while they lasted. `publish_s`: each call's time. `folder`:
    what is left to look at."""

    schedule: Schedule
    ended_in_order: bool
    tally: count.Tally
    liveness_s: float
    quiet_lag_s: tuple[float, ...]
    disturbed_lag_s: tuple[float, ...]
    publish_s: tuple[float, ...]
    folder: Path


class Emission:
    """One emitter of a group, over all its processes. `run` is its course; `up` is set once the first one delivers: a
    fault that came before would find nothing on its way."""

    def __init__(self, schedule: Schedule, world: World, folder: Path, library: Path, mutant: str | None) -> None:
        self._schedule, self._world, self._mutant = schedule, world, mutant
        self._folder = folder
        self._disk = Disk(folder, library)
        self._spool = self._disk.folder / "kafka.spool"
        self._journal = Journal(folder / "journal")
        self._user = f"{folder.name}-{os.urandom(4).hex()}"
        self._topics = {kind: f"{self._user}.{kind}" for kind in TOPICS}
        self._dead_letters = f"{self._user}.dead-letters"
        self._process: asyncio.subprocess.Process | None = None
        self._gone_at: dict[str, float] = {}  # topics that were deleted, and when
        self._ended_at = 0.0
        self._away = asyncio.Lock()
        self.up = asyncio.Event()

    async def run(self, started: asyncio.Event, broker_ended: asyncio.Task[None]) -> Outcome:
        """`started`: the faults' times begin. `broker_ended`: those of the broker are over."""
        world = self._world
        await asyncio.to_thread(world.create, *self._topics.values())
        await asyncio.to_thread(world.create, self._dead_letters, max_bytes=TOO_LARGE_FOR_CLIENT)
        await asyncio.to_thread(world.add_user, self._user)
        watcher = asyncio.create_task(self._keep_up())
        try:
            await started.wait()
            began = time.monotonic()
            await asyncio.gather(*(self._suffer(fault, began) for fault in self._schedule.own))
            await broker_ended
            ended = self._ended_at = time.monotonic()
            liveness_s = await self._under_way()
            await asyncio.sleep(AFTERWARDS_S)
            ended_in_order = await self._stopped()
        finally:
            watcher.cancel()
            self._kill()
        consumed = await asyncio.to_thread(count.consume, world.bootstrap, list(self._topics.values()))
        letters = await asyncio.to_thread(count.consume, world.bootstrap, [self._dead_letters])
        dead = {one.record.seq for one in letters} | set(count.dead_letters(self._spool))
        found = self._journal.follow()
        outcome = Outcome(
            self._schedule,
            ended_in_order,
            count.tally(found, consumed, dead, self._spool, self._destroyed()),
            liveness_s,
            tuple(lag for at, lag in found.lags if not began <= at <= ended),
            tuple(lag for at, lag in found.lags if began <= at <= ended),
            tuple(found.publish_s),
            self._folder,
        )
        await asyncio.to_thread(world.delete, *self._topics.values(), self._dead_letters)
        return outcome

    async def _keep_up(self) -> None:
        """What supervises a server does: one that has died is started again."""
        while True:
            async with self._away:
                if self._process is None or self._process.returncode not in (None, 0):
                    await self._start()
            await asyncio.sleep(POLL_S)

    async def _start(self) -> None:
        found = self._journal.follow()
        ups = len(found.ups)
        settings = self._world.settings(self._user) | {
            "transcripts_topic": self._topics["transcripts"],
            "events_topic": self._topics["events"],
            "partials_topic": "",
            "dead_letters_topic": self._dead_letters,
            "spool": str(self._spool),
            "close_timeout_s": DRAIN_S,
        }
        options = {
            "seed": self._schedule.seed,
            "first": max(found.published, default=-1) + 1,
            "journal": str(found.path),
            "kafka": settings,
            "mutant": self._mutant,
        }
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", Options.__module__, json.dumps(options)),
                cwd=ROOT,
                start_new_session=True,
                env={**os.environ, **self._disk.environment()},
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + UP_S
        while len(found.follow().ups) == ups or not (self.up.is_set() or self._is_delivered(found)):
            if self._process.returncode is not None:  # a disk that refuses lets no server start
                if self._process.returncode not in (MISCONFIGURED, -signal.SIGKILL):
                    raise RuntimeError(f"the emitter ends at its start: see {self._folder / 'log'}")
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the emitter does not start: see {self._folder / 'log'}")
            await asyncio.sleep(POLL_S)
        self.up.set()

    async def _suffer(self, fault: Fault, began: float) -> None:
        await asyncio.sleep(max(began + fault.at_s - time.monotonic(), 0.0))
        world = self._world
        match fault.kind:
            case Kind.SERVER_KILLED | Kind.POWER_LOST:
                async with self._away:
                    if fault.kind is Kind.POWER_LOST:
                        await self._kill_all()
                    else:
                        self._kill()
                    if self._process is not None:
                        await self._process.wait()
                    if fault.kind is Kind.POWER_LOST:
                        await asyncio.to_thread(self._disk.lose_power, Random(fault.detail))
                    await asyncio.sleep(fault.for_s)
            case kind if kind in _COMMANDS:
                await self._command(_COMMANDS[kind], *fault.detail.split(":"))
            case Kind.DISK:
                self._disk.refuse(fault.detail)
                await asyncio.sleep(fault.for_s)
                self._disk.recover()
            case Kind.TOPIC_DELETED:
                topic = self._topics[fault.detail]
                await asyncio.to_thread(world.delete, topic)
                self._gone_at[fault.detail] = time.monotonic()
                await asyncio.sleep(fault.for_s)
                await asyncio.to_thread(world.create, topic)
            case Kind.CREDENTIALS_REVOKED:
                await asyncio.to_thread(world.remove_user, self._user)
                await asyncio.sleep(fault.for_s)
                await asyncio.to_thread(world.add_user, self._user)
            case Kind.WRITE_DENIED:
                topic = self._topics[fault.detail]
                await asyncio.to_thread(world.deny, self._user, topic)
                await asyncio.sleep(fault.for_s)
                await asyncio.to_thread(world.permit, self._user, topic)
            case _:
                raise ValueError(f"no fault of one emitter: {fault}")

    async def _command(self, *words: str) -> None:
        process = self._process
        if process is not None and process.stdin is not None and process.returncode is None:
            process.stdin.write(" ".join(words).encode() + b"\n")

    async def _under_way(self) -> float:
        """Wait for a record of each topic that was published after the faults, and acknowledged. A process that dies
        meanwhile, of a point set before, begins the wait anew."""
        deadline = time.monotonic() + LIVENESS_WAIT_S
        while time.monotonic() < deadline:
            found = self._journal.follow()
            since = max(self._ended_at, found.ups[-1])
            times: dict[str, float] = {}
            for n, at in found.acknowledged.items():
                if found.published[n] > since:
                    topic = self._topic_of(n)
                    times[topic] = min(at - since, times.get(topic, LIVENESS_WAIT_S))
            if len(times) == len(TOPICS):
                return max(times.values())
            await asyncio.sleep(2 * POLL_S)
        return LIVENESS_WAIT_S

    def _is_delivered(self, found: Journal) -> bool:
        """Something of each topic."""
        return {self._topic_of(n) for n in found.acknowledged} == set(TOPICS)

    def _topic_of(self, n: int) -> str:
        return TOPICS[0] if isinstance(record(self._schedule.seed, n), TranscriptRecord) else TOPICS[1]

    def _destroyed(self) -> set[int]:
        gone = self._gone_at
        return {n for n, at in self._journal.acknowledged.items() if at <= gone.get(self._topic_of(n), 0.0)}

    async def _stopped(self) -> bool:
        """Told to, until it does; one that dies of it, of a point set before, is started again by `_keep_up`."""
        deadline = time.monotonic() + STOP_S
        while self._process is None or self._process.returncode != 0:
            if time.monotonic() > deadline:
                return False
            await self._command("stop")
            await asyncio.sleep(0.5)
        return True

    async def _kill_all(self) -> None:
        """The delivery process as well; after it nobody has a file open."""
        with suppress(ProcessLookupError):
            while self._process is not None:
                os.killpg(self._process.pid, signal.SIGKILL)
                await asyncio.wait_for(self._process.wait(), UP_S)
                await asyncio.sleep(POLL_S)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


async def run_group(
    world: World,
    schedules: Sequence[Schedule],
    base: Path,
    library: Path,
    *,
    mutants: Mapping[int, str] = MappingProxyType({}),
) -> list[Outcome]:
    """Schedules that share the brokers' faults, at the same time on one world. `base`: gets a folder for each;
    `library`: of `disk.built`; `mutants`: by seed, a name from `breaking.MUTANTS`."""
    emissions = [Emission(one, world, base / f"seed-{one.seed}", library, mutants.get(one.seed)) for one in schedules]
    started = asyncio.Event()
    broker = asyncio.create_task(_suffer_together(world, schedules[0].broker, started))
    runs = [asyncio.create_task(emission.run(started, broker)) for emission in emissions]
    up = asyncio.create_task(_all_up(emissions))
    tasks: list[asyncio.Task[Any]] = [up, broker, *runs]
    try:
        await asyncio.wait([up, *runs], return_when=asyncio.FIRST_COMPLETED)
        started.set()
        return await asyncio.gather(*runs)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _all_up(emissions: Sequence[Emission]) -> None:
    for emission in emissions:
        await emission.up.wait()


async def _suffer_together(world: World, faults: Sequence[Fault], started: asyncio.Event) -> None:
    await started.wait()
    began = time.monotonic()
    for fault in faults:
        await asyncio.sleep(max(began + fault.at_s - time.monotonic(), 0.0))
        await world.suffer(fault)
