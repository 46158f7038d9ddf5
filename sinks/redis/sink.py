"""Keeps the live view in Redis up to date, in batches of `batch_ms`, whatever becomes of the Redis.

`write` folds records into a mirror of the calls and returns; one task brings Redis up to the mirror. So the view lags
while Redis is away, full, read-only or being failed over, and equals the mirror again soon after: every attempt is safe
to repeat, as the scripts guard each write by version and revision.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from sinks.calls import CallBook
from sinks.config import RedisConfig
from sinks.delivery import Delivery
from sinks.errors import SinkUnavailable
from sinks.record import AnyRecord, encode, is_partial
from sinks.redis.client import CHECK, WRITE, Command, RedisClient
from sinks.redis.index import TRIP_CHECKS, Index
from sinks.redis.keys import Keys, to_hash
from sinks.redis.standing import Standing, Taken
from supervision import Supervisor, cancel_and_wait

log = logging.getLogger(__name__)

RETRY_S = 0.25
SHARE = 0.7
"""Of the time, at most, in which batches are made and waited for: where there is no time for more, partials are
coalesced, and the calls do not wait for them."""

TRIP_RECORDS = 100
"""Records that go out together at most, but for those of one call: the event loop waits for a batch to be made."""

TURN_S = 0.02
"""In which batches of partials are made and waited for at one go, before the event loop is left to the calls."""

PROBES = 3
"""Calls that are tried first where calls were refused."""

SWEEP_HEARTBEATS = 10
PRUNE_S = 1.0
REPAIRS_TOLD_S = 60.0


class RedisSink:
    """Of several partials of a segment in one batch only the last is sent. What Redis refuses is tried again whole, and
    keys that it evicted or lost are written anew within a heartbeat.

    Delivered is what the view in Redis has; what waits for that counts as spooled. It is lost where the call leaves the
    mirror first: `retain_s` after its end, or beyond `max_calls`.
    """

    name = "redis"

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._keys = Keys(config.key_prefix)
        self._client = RedisClient(config)
        self._book = CallBook(retain_s=config.retain_s, max_calls=config.max_calls, history=config.stream_entries)
        self._index = Index(self._client, self._keys, round(1000 * (config.retain_s + config.lease_s)))
        self._standings: dict[str, Standing] = {}
        self._due: dict[str, None] = {}  # calls that go out with the next batch
        self._refused: dict[str, None] = {}  # calls that wait for the next repetition
        self._unchecked: list[str] = []
        self._counted = Delivery()
        self._away = True  # until Redis has answered
        self._sending = False
        self._behind_since_s: float | None = None
        self._failures = self._rewritten = self._repairs = 0  # for the log
        self._repairs_told_s = 0.0
        self._retry_s = self._heartbeat_s = self._batch_s = self._prune_s = 0.0  # not before these times
        self._heartbeats = 0
        self._closing = False
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self.supervisor = Supervisor()
        self._keeper: asyncio.Task[object] | None = None

    @property
    def current(self) -> bool:
        """Whether Redis holds all that was written."""
        return not (self._away or self._behind_since_s is not None or self._due or self._sending)

    def delivery(self) -> Delivery:
        """`connected`: the last attempt was a success and nothing is refused."""
        found = Delivery(
            delivered=self._counted.delivered,
            delivered_partials=self._counted.delivered_partials,
            lost=self._counted.lost,
            dropped_partials=self._counted.dropped_partials,
            coalesced_partials=self._counted.coalesced_partials,
            errors=self._counted.errors,
            connected=not self._away and self._behind_since_s is None,
        )
        now_s = time.monotonic()
        for standing in self._standings.values():
            found.spooled += standing.durable
            found.coalesced_partials += standing.coalesced
            if standing.durable:
                found.oldest_age_s = max(found.oldest_age_s, now_s - standing.since_s)
        return found

    async def start(self) -> None:
        """Waits for the first attempt, at most `timeout_s`; a server that is away is tried again in the background."""
        self._keeper = self.supervisor.keep(self._keep(), "redis view keeper", returns=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.timeout_s):
                await self._tried.wait()

    async def write(self, records: Sequence[AnyRecord]) -> None:
        encoded = [encode(record) for record in records]  # before any is taken: what this raises concerns them all
        now_s = time.monotonic()
        for record, data in zip(records, encoded, strict=True):
            self._take_over(record, data, now_s)
        if self._due:
            self._wake.set()

    def _take_over(self, record: AnyRecord, data: bytes, now_s: float) -> None:
        state = self._book.apply(record)
        if state is None:
            self._count_unused(record)
            return
        standing = self._standings.get(record.call_id)
        if standing is None or standing.state is not state:
            if standing is not None:
                self._give_up(standing)
            standing = self._standings[record.call_id] = Standing(state, whole=standing is not None)
        if self._away:
            standing.lacks()  # changes are not kept
        standing.add(record, data, now_s)
        if record.call_id not in self._refused:
            self._due[record.call_id] = None

    def _count_unused(self, record: AnyRecord) -> None:
        """A record that changes nothing: of a call that is not mirrored, or known already."""
        unknown = self._book.get(record.call_id) is None
        if is_partial(record):
            self._counted.dropped_partials += unknown
            self._counted.coalesced_partials += not unknown
        else:
            self._counted.lost += unknown
            self._counted.delivered += not unknown

    def _give_up(self, standing: Standing) -> None:
        """The call has left the mirror."""
        self._counted.lost += standing.durable
        self._counted.dropped_partials += len(standing.partials)
        self._counted.coalesced_partials += standing.coalesced

    async def close(self) -> None:
        """Writes once more what Redis does not have yet. Keys of calls still running are left to expire."""
        self._closing = True
        if self._keeper is not None:
            await cancel_and_wait(self._keeper)
            if not self.current:
                self._retry_s = 0.0
                await self._turn()
                if not self.current:
                    waiting = sum(standing.durable for standing in self._standings.values())
                    log.warning("redis live view is behind at the end: it lacks %d records", waiting)
        await self._client.close()

    async def _keep(self) -> None:
        while not self._closing:  # redis-py may swallow a cancellation
            await self._pause()
            try:
                await self._turn()
            except Exception as error:  # noqa: BLE001 - the next turn is another one
                self.supervisor.fault("redis view keeper", error, "trying again")
                self._retry_s = time.monotonic() + RETRY_S
            self._tried.set()

    async def _pause(self) -> None:
        """Until records may go out, a repetition or a heartbeat is due."""
        while not self._closing:
            now_s = time.monotonic()
            pause_s = min((self._retry_s if self._behind_since_s is not None else self._heartbeat_s), self._heartbeat_s)
            if self._away:
                pause_s = self._retry_s
            elif self._due or self._unchecked:
                pause_s = min(pause_s, self._batch_s)
            if pause_s <= now_s:
                return
            self._wake.clear()
            if self._away or self._due or self._unchecked:
                await asyncio.sleep(pause_s - now_s)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s - now_s):
                        await self._wake.wait()

    async def _turn(self) -> None:
        """Bring Redis up to the mirror as far as it lets us."""
        now_s = time.monotonic()
        self._batch_s = now_s + self._config.batch_ms / 1000
        if now_s >= self._prune_s:
            self._prune_s = now_s + PRUNE_S
            for call_id in list(self._standings):
                self._mirrored(call_id)
        retry = self._behind_since_s is not None and now_s >= self._retry_s
        beat = now_s >= self._heartbeat_s
        if (self._away or retry or beat) and not await self._reach():
            return
        if retry:
            for call_id in list(self._refused)[:PROBES]:
                del self._refused[call_id]
                self._due[call_id] = None
            self._retry_s = now_s + RETRY_S
        if beat:
            self._heartbeat_s = now_s + self._config.heartbeat_s
            self._heartbeats += 1
            self._unchecked = self._unchecked or list(self._standings)  # of the heartbeat before some may be left
        left, urgent = len(self._due) + len(self._unchecked), 0
        if len(self._due) > TRIP_RECORDS:
            order = sorted((self._urgency(call_id, now_s), call_id) for call_id in self._due)
            urgent = sum(group == 0 for (group, _), _ in order)
            self._due = {call_id: None for _, call_id in order}
        began_s = time.monotonic()
        while left > 0 and not self._away and (batch := list(self._batch())):
            await self._send(batch)
            left, urgent = left - len(batch), urgent - len(batch)
            if urgent <= 0 and time.monotonic() > began_s + TURN_S:
                break
        self._batch_s = max(self._batch_s, now_s + (time.monotonic() - now_s) / SHARE)
        self._tell()

    def _urgency(self, call_id: str, now_s: float) -> tuple[int, float]:
        standing = self._standings.get(call_id)
        return (0, 0.0) if standing is None else standing.urgency(now_s)

    async def _reach(self) -> bool:
        """Whether Redis takes anything at all."""
        try:
            await self._index.prolong()
            if self._heartbeats % SWEEP_HEARTBEATS == 0:
                await self._index.sweep(self._standings)
        except SinkUnavailable as error:
            self._lost(error)
            return False
        if self._away:  # for the first time, or again
            self._away = False
            self._due |= self._refused
            self._refused.clear()
        return True

    def _lost(self, error: SinkUnavailable) -> None:
        """What was not on its way may still be there: it is looked after when the server answers again."""
        self._away = True
        self._retry_s = time.monotonic() + RETRY_S
        self._heartbeat_s = 0.0
        self._unchecked.clear()
        for call_id in self._due:
            if call_id in self._standings:
                self._standings[call_id].lacks()
            self._refused[call_id] = None
        self._due.clear()
        self._behind(str(error))

    def _behind(self, why: str) -> None:
        self._counted.errors += 1
        self._failures += 1
        if self._behind_since_s is None:
            self._behind_since_s = time.monotonic()
            log.warning("redis live view is behind, trying again: %s", why)

    def _tell(self) -> None:
        """In the log: that the view is current again, and repairs."""
        now_s = time.monotonic()
        if self._behind_since_s is not None and not (self._away or self._refused or self._due):
            lasted_s, self._behind_since_s = now_s - self._behind_since_s, None
            message = "redis live view is current again after %.1f s: %d attempts failed, %d calls were written anew"
            log.info(message, lasted_s, self._failures, self._rewritten)
            self._failures = self._rewritten = 0
        if self._repairs and now_s >= self._repairs_told_s:
            log.warning("redis lost keys of %d calls, evicted or removed: they were written anew", self._repairs)
            self._repairs, self._repairs_told_s = 0, now_s + REPAIRS_TOLD_S

    def _batch(self) -> "Iterator[tuple[Standing, Taken | None, Command]]":
        """Changes and checks that go out together; calls that have left the mirror are given up."""
        now_s, records = time.monotonic(), 0
        while self._due and records < TRIP_RECORDS:
            call_id = next(iter(self._due))
            del self._due[call_id]
            standing = self._mirrored(call_id)
            if standing is None:
                continue
            try:
                taken = standing.take(now_s)
                command = self._write(standing, taken)
            except Exception as error:  # noqa: BLE001 - the other calls are shown all the same
                self.supervisor.fault("redis view", error, f"call {call_id} is not shown any more")
                self._book.forget(call_id)
                self._mirrored(call_id)
                continue
            records += 1 + len(taken.items)
            yield standing, taken, command
        checked, self._unchecked = self._unchecked[:TRIP_CHECKS], self._unchecked[TRIP_CHECKS:]
        for call_id in checked:
            standing = self._mirrored(call_id)
            if standing is not None and not standing.whole:
                yield standing, None, self._check(standing)

    def _mirrored(self, call_id: str) -> Standing | None:
        standing = self._standings.get(call_id)
        if standing is not None and self._book.get(call_id) is not standing.state:
            self._give_up(standing)
            del self._standings[call_id]
            return None
        return standing

    def _write(self, standing: Standing, taken: Taken) -> Command:
        state, config = standing.state, self._config
        ttl_s = config.lease_s if not standing.ended else self._book.retained_s(state)
        told = (
            max(round(1000 * ttl_s), 1),
            config.stream_entries,
            self._keys.channel(state.call_id),
            taken.version,
            state.run,
            taken.expected,
            list(to_hash(state)) if taken.with_call else [],
            [item[:-1] for item in taken.items],
        )
        records = (item.record for item in taken.items)
        return self._client.script(WRITE, self._keys.of_call(state.call_id), msgspec.json.encode(told), *records)

    def _check(self, standing: Standing) -> Command:
        """Of an ended call the keys are not prolonged."""
        state = standing.state
        ttl_ms = 0 if standing.ended else round(1000 * self._config.lease_s)
        keys = self._keys.of_call(state.call_id)
        return self._client.script(CHECK, keys, ttl_ms, *standing.acknowledged, state.run)

    async def _send(self, batch: "list[tuple[Standing, Taken | None, Command]]") -> None:
        self._sending = True
        try:
            answers = await self._client.execute([command for _, _, command in batch])
        except BaseException as error:
            for standing, taken, _ in batch:
                standing.lacks(taken)
                self._refused[standing.state.call_id] = None
            if not isinstance(error, SinkUnavailable):
                raise
            self._lost(error)
            return
        finally:
            self._sending = False
        there: list[Standing] = []
        anew = False
        why: Exception | None = None
        for (standing, taken, _), answer in zip(batch, answers, strict=True):
            call_id = standing.state.call_id
            if answer == 1:
                if taken is not None:
                    self._acknowledge(standing, taken)
                    anew |= taken.whole
                if taken is None or taken.whole or not standing.indexed:
                    there.append(standing)
                continue
            standing.lacks(taken)
            if isinstance(answer, Exception):
                why = answer
                self._due.pop(call_id, None)
                self._refused[call_id] = None
            else:
                self._repairs += 1
                self._due[call_id] = None
        if anew and self._refused and why is None:  # of those that were refused, one was taken: try the others
            self._due |= self._refused
            self._refused.clear()
        if why is not None:
            self._retry_s = time.monotonic() + RETRY_S
            self._behind(self._client.describe(why))
        await self._enter(there)

    def _acknowledge(self, standing: Standing, taken: Taken) -> None:
        self._rewritten += taken.whole
        standing.acknowledge(taken)
        self._counted.delivered += taken.durable
        self._counted.delivered_partials += len(taken.partials)

    async def _enter(self, there: Sequence[Standing]) -> None:
        """Into the sorted set, after the hashes are written."""
        if not there:
            return
        try:
            await self._index.enter(standing.state for standing in there)
        except SinkUnavailable as error:
            self._lost(error)
            return
        for standing in there:
            standing.indexed = True


__all__ = ["RedisConfig", "RedisSink"]
