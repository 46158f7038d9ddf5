"""All calls of the process: who may start, the tick that feeds their audio to the recogniser, and the end of them."""

import asyncio
from collections.abc import Sequence

from engine.api import Recognizer
from pipeline.bots import Bot, Bots
from pipeline.call import Call
from pipeline.clock import Clock, next_tick
from pipeline.config import PipelineConfig
from pipeline.dispatch import Dispatch, Publish
from pipeline.errors import CallError, CallsFull, Draining, DuplicateCall
from pipeline.ingest import Ingest
from pipeline.playback import Pacer
from pipeline.records import CallInfo, RecordMaker
from pipeline.stats import PipelineStats
from pipeline.tap import Listener, Tap
from pipeline.turns.detector import TurnDetector
from sinks.record import AnyRecord
from supervision import Supervisor


class Calls:
    """All running calls of the process, and the tick that feeds their audio to the recogniser. `turns`: detects those
    of all legs; None: there are no turn records. `bots`: attend the calls, the first that wants one."""

    def __init__(
        self,
        recognizer: Recognizer,
        publish: Publish,
        config: PipelineConfig | None = None,
        *,
        clock: Clock | None = None,
        turns: TurnDetector | None = None,
        bots: Sequence[Bot] = (),
    ) -> None:
        self.turns = turns
        self.config = config or PipelineConfig()
        self.recognizer = recognizer
        self.clock = clock or Clock()
        self.supervisor = Supervisor()
        self.bots = Bots(bots, self.supervisor)
        listeners: list[Listener] = [*([] if turns is None else [turns]), *([self.bots] if bots else [])]
        self.ingest = Ingest(
            Tap(recognizer, listeners) if listeners else recognizer,
            queue_s=self.config.queue_ms / 1000,
            max_gap_s=self.config.max_gap_ms / 1000,
            supervisor=self.supervisor,
        )
        self.dispatch = Dispatch(recognizer, self.publish, self.clock, self.supervisor)
        self.pacer = Pacer(self.supervisor)
        self._publish = publish
        self._stats = PipelineStats()
        self._calls: dict[str, Call] = {}
        self._draining = False
        self._awake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()

    @property
    def active(self) -> int:
        """Calls started whose END is not published yet."""
        return len(self._calls)

    @property
    def stats(self) -> PipelineStats:
        """Counters for the metrics."""
        self._stats.unflushed_legs = self.dispatch.abandoned
        return self._stats

    def publish(self, records: Sequence[AnyRecord]) -> None:
        """To the sinks. Raises nothing: where they are broken, calls go on."""
        try:
            self._publish(records)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no call's
            self.supervisor.fault("publish", error, f"{len(records)} records are lost")
        self.bots.publish(records)

    def get(self, call_id: str) -> Call | None:
        """The running call of this id."""
        return self._calls.get(call_id)

    def start(self, info: CallInfo, *, announce: bool = True) -> Call:
        """Begin a call and publish its START. `announce` False: nothing is published of it before `Call.announce`, and
        where it ends before, as one that the engine refuses, nothing at all.

        Raises `DuplicateCall`, `CallsFull` (retryable), `Draining` (retryable).
        """
        try:
            if self._draining:
                raise Draining("the server is shutting down and takes no new calls")
            if info.call_id in self._calls:
                raise DuplicateCall(f"call {info.call_id} is running")
            if len(self._calls) >= self.config.max_calls:
                raise CallsFull(f"{self.config.max_calls} calls are running, the most that max_calls allows")
        except CallError:
            self._stats.calls_refused += 1
            raise
        call = self._calls[info.call_id] = Call(self, info, RecordMaker(info))
        self._idle.clear()
        if announce:
            call.announce()
        return call

    async def run(self) -> None:
        """Tick until cancelled. Ticks keep to a grid of `tick_ms`: one that takes long makes the next come at the
        next point of the grid, and those in between are left out and counted. Sleeps while there are no legs."""
        loop = asyncio.get_running_loop()
        tick_s = self.config.tick_ms / 1000
        due = loop.time()
        while True:
            if not self.ingest.legs:
                self._awake.clear()
                await self._awake.wait()
                due = loop.time()
            due, skipped = next_tick(due, loop.time(), tick_s)
            self._stats.skipped_ticks += skipped
            await asyncio.sleep(max(due - loop.time(), 0.0))
            try:
                self.ingest.tick()
            except Exception as error:  # noqa: BLE001 - the next tick is another one
                self.supervisor.fault("tick", error)

    async def drain(self, timeout_s: float) -> None:
        """Refuse new calls, wait for the running ones, end those left after `timeout_s`. `run` must go on meanwhile."""
        self._draining = True
        waits = [asyncio.ensure_future(event.wait()) for event in (self._idle, self._hurry)]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._calls:
            ends = (call.end("server shutting down") for call in list(self._calls.values()))
            await asyncio.gather(*ends, return_exceptions=True)  # what failed was reported by its task

    def hurry(self) -> None:
        """A `drain`, running or to come, ends the calls at once."""
        self._hurry.set()

    def wake(self) -> None:
        """There is a leg: tick."""
        self._awake.set()

    def announced(self, call: Call) -> None:
        """A call's START is about to be published."""
        self.bots.announced(call)

    def forget(self, call: Call) -> None:
        """A call is over."""
        self.bots.over(call)
        del self._calls[call.info.call_id]
        if call.announced:
            self._stats.calls_ended += 1
        else:
            self._stats.calls_refused += 1
        for leg in call.all_legs:
            self._stats.audio.add(leg.intake.stats)
        if not self._calls:
            self._idle.set()
