"""Records to all sinks at once. It stands between the pipeline and the sinks, so that no sink can hold up a call."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from sinks.dead_letters import LetterFile
from sinks.delivery import Accounting, Delivery
from sinks.errors import SinkError, SinkMisconfigured
from sinks.record import AnyRecord, is_partial
from sinks.shedding import SheddingQueue
from sinks.sink import Sink
from sinks.spool import Spool
from supervision import Supervisor

log = logging.getLogger(__name__)

BATCH_RECORDS = 500
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 5.0
CLOSE_GRACE_S = 1.0


@runtime_checkable
class Spooling(Protocol):
    """A sink with a spool, and its file of dead letters."""

    spool: Spool


class FanOut:
    """One bounded queue and one task per sink: a slow or failing sink delays neither another nor the caller.

    Overflow of a queue drops its oldest partials first; when it holds none, the new record is dropped. Both are
    counted, everything that is not a partial as `lost`. Besides its queue, a sink holds at most one batch. A
    write that fails with a retryable error is repeated until it succeeds or the fan-out closes; after any other failure
    the batch is written call by call, and the records of the call at fault are dropped and counted. `supervisor`
    watches the tasks, and what the sinks run themselves. Raises `SinkMisconfigured` for two sinks of one name.
    """

    def __init__(self, sinks: Sequence[Sink], *, queue_records: int = 10_000) -> None:
        names = [sink.name for sink in sinks]
        if len(set(names)) != len(names):
            raise SinkMisconfigured(f"two sinks share a name: {', '.join(sorted(names))}: rename one")
        self.supervisor = Supervisor()
        self._lanes = [_Lane(sink, queue_records, self.supervisor) for sink in sinks]
        self.supervisor.include_of(*sinks)

    @property
    def deliveries(self) -> Mapping[str, Delivery]:
        """By name of the sink, as of now; what waits in the queues counts as spooled."""
        return {lane.sink.name: lane.delivery() for lane in self._lanes}

    def warnings(self) -> list[str]:
        """What of the delivery is not as it should be, a line each, as of now."""
        return [f"sink {lane.sink.name}: {text}" for lane in self._lanes for text in lane.warnings()]

    async def start(self) -> None:
        """Start every sink. Raises what the first failing `start` raised, after closing those already started."""
        started: list[_Lane] = []
        try:
            for lane in self._lanes:
                await lane.sink.start()
                started.append(lane)
        except BaseException:
            for lane in started:
                await lane.close_sink(CLOSE_GRACE_S)
            raise
        for lane in self._lanes:
            lane.task = self.supervisor.keep(lane.run(), f"sink {lane.sink.name}", returns=True)

    def publish(self, records: Sequence[AnyRecord]) -> None:
        """Queue the records for every sink, in order. Never blocks; to be called on the event loop's thread."""
        for lane in self._lanes:
            try:
                lane.offer(records)
            except Exception as error:  # noqa: BLE001 - the other sinks get theirs
                self.supervisor.fault(f"sink {lane.sink.name}", error, f"{len(records)} records are lost")

    async def close(self, timeout_s: float) -> None:
        """Write what is queued and close the sinks, all at once. What is not written in time is dropped and counted.

        Records published from now on are dropped and counted. `Sink.close` gets the time that is left, at least 1 s.
        """
        outcomes = await asyncio.gather(*(lane.close(timeout_s) for lane in self._lanes), return_exceptions=True)
        for lane, outcome in zip(self._lanes, outcomes, strict=True):
            if isinstance(outcome, Exception):  # the others are closed all the same
                self.supervisor.fault(f"sink {lane.sink.name}", outcome, "it is not closed in order")


class _Lane:
    """One sink with its queue and its task."""

    def __init__(self, sink: Sink, queue_records: int, supervisor: Supervisor) -> None:
        self.sink = sink
        self.stats = Delivery()
        self.task: asyncio.Task[object] | None = None
        self._supervisor = supervisor
        self._queue: SheddingQueue[tuple[float, AnyRecord]] = SheddingQueue(queue_records)  # offered when
        self._batch: list[AnyRecord] = []
        self._batch_at = 0.0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._failing = False
        self._letters = LetterFile(sink.spool.dead_letters) if isinstance(sink, Spooling) else None

    def offer(self, records: Sequence[AnyRecord]) -> None:
        if self._closing.is_set():
            self._count_dropped(records)
            return
        now = time.monotonic()
        for record in records:
            if not self._queue.put((now, record), partial=is_partial(record)):
                self._count_dropped((record,))
        self.stats.dropped_partials += self._queue.shed_partials
        self._queue.shed_partials = 0
        self._wake.set()

    def delivery(self) -> Delivery:
        """What the sink says of itself, or what was written to it; and what waits here."""
        found = replace(self.stats, connected=not self._failing)
        if isinstance(self.sink, Accounting):
            own = self.sink.delivery()
            own.errors += found.errors
            own.lost += found.lost
            own.dropped_partials += found.dropped_partials
            own.connected &= found.connected
            found = own
        durable = sum(not is_partial(record) for record in self._batch)
        waits_since = self._batch_at if durable else None
        if self._queue:
            durable += self._queue.durable
            waits_since = waits_since or self._queue.oldest()[0]
        found.spooled += durable
        if durable and waits_since is not None:
            found.oldest_age_s = max(found.oldest_age_s, time.monotonic() - waits_since)
        return found

    def warnings(self) -> list[str]:
        """Of dead letters those that are in the file now; where the sink has none, those since the start."""
        found = self.delivery()
        if self._letters is not None:
            return found.warnings() + self._letters.warnings()
        counts = ", ".join(f"{count} {reason}" for reason, count in found.dead_lettered.items() if count)
        return found.warnings() + ([f"dead letters since the start: {counts}"] if counts else [])

    async def run(self) -> None:
        while True:
            if self._queue:
                self._take(BATCH_RECORDS)
                await self._deliver()
            elif self._closing.is_set():
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self, limit: int) -> None:
        taken = self._queue.take(limit)
        self._batch_at = taken[0][0]
        self._batch = [record for _, record in taken]

    async def _deliver(self) -> None:
        """The batch; where it is refused, call by call, so that no call loses records by another's."""
        if await self._write(self._batch):
            self._batch = []
            return
        by_call: dict[str, list[AnyRecord]] = {}
        for record in self._batch:
            by_call.setdefault(record.call_id, []).append(record)
        several = len(by_call) > 1
        for call_id, records in by_call.items():
            if not several or not await self._write(records):
                self._count_dropped(records)
            self._batch = [record for record in self._batch if record.call_id != call_id]

    async def _write(self, records: list[AnyRecord]) -> bool:
        """Until they are written; False: they never will be."""
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await self.sink.write(records)
            except SinkError as error:
                self.stats.errors += 1
                if not error.retryable:
                    log.warning("sink %s refused %d records: %s", self.sink.name, len(records), error)
                    return False
                if not self._failing:
                    log.warning("sink %s cannot write, trying again: %s", self.sink.name, error)
                self._failing = True
                await self._pause(delay_s)
                delay_s = min(2 * delay_s, RETRY_MAX_S)
            except asyncio.CancelledError as error:
                if self.task is None or self.task.cancelling():
                    raise
                return self._failed(error, records)  # by something that the sink waited for
            except Exception as error:  # noqa: BLE001 - the next records are others
                return self._failed(error, records)
            else:
                partials = sum(map(is_partial, records))
                self.stats.delivered_partials += partials
                self.stats.delivered += len(records) - partials
                if self._failing:
                    log.info("sink %s writes again", self.sink.name)
                self._failing = False
                return True

    def _failed(self, error: BaseException, records: Sequence[AnyRecord]) -> bool:
        self.stats.errors += 1
        self._supervisor.fault(f"sink {self.sink.name}", error, f"{len(records)} records at once are refused")
        return False

    async def _pause(self, delay_s: float) -> None:
        """Wait before a repetition; the start of closing cuts the first such wait short."""
        if self._closing.is_set():
            await asyncio.sleep(delay_s)
            return
        try:
            async with asyncio.timeout(delay_s):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def close(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        self._closing.set()
        self._wake.set()
        if self.task is not None:
            await asyncio.wait({self.task}, timeout=timeout_s)
            if not self.task.done():
                self.task.cancel()
                await asyncio.wait({self.task}, timeout=CLOSE_GRACE_S)
        try:
            left = self._batch + [record for _, record in self._queue.take(len(self._queue))]
            self._batch = []
            if left:
                self._count_dropped(left)
                log.error("sink %s: %d records were not written before the end", self.sink.name, len(left))
        finally:
            await self.close_sink(max(deadline - loop.time(), CLOSE_GRACE_S))

    async def close_sink(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self.sink.close()
        except TimeoutError:
            log.warning("sink %s did not close in time", self.sink.name)
        except Exception:
            log.exception("sink %s failed to close", self.sink.name)

    def _count_dropped(self, records: Sequence[AnyRecord]) -> None:
        for record in records:
            if is_partial(record):
                self.stats.dropped_partials += 1
            else:
                self.stats.lost += 1
