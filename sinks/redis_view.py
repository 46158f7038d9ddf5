"""The live view in Redis, for screens served by other processes than the one that takes the calls.

Keys, with the configured prefix (`trunkline:` by default); the braces are Redis Cluster hash tags and part of the key:

    calls                 sorted set of call ids by start, in ms since 1970
    call:{ID}             hash: the fields of `CallSnapshot.call` (`metadata`, `legs`, `statistics` as JSON; absent
                          where null), `dtmf` (JSON list of records), `version`
    segments:{ID}         hash: segment id -> newest transcript record of it, JSON
    events:{ID}           stream, field `record`: every record but partials, JSON; the newest 1,000
    live:{ID}             channel: every record, JSON

Keys of a running call expire when the server that writes them is gone for `lease_s`, keys of an ended call after
`retain_s`. Members of `calls` whose call hash is gone are leftovers, which readers ignore and the sink removes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sinks.calls import CallBook, CallStatus, MirroredCall, epoch_ms
from sinks.config import RedisConfig
from sinks.errors import SinkMisconfigured, ViewUnavailable
from sinks.live import CallSnapshot
from sinks.record import AnyRecord, TranscriptRecord, encode
from sinks.subscription import JsonRecord, Subscription
from supervision import Supervisor, cancel_and_wait

log = logging.getLogger(__name__)

RETRY_S = 1.0
CALLS_PER_TRIP = 100
PUBSUB_POLL_S = 5.0
_JSON_FIELDS = frozenset({"metadata", "legs", "statistics"})


class _Keys:
    def __init__(self, prefix: str) -> None:
        self.calls = f"{prefix}calls"
        self._prefix = prefix

    def call(self, call_id: str) -> str:
        return f"{self._prefix}call:{{{call_id}}}"

    def segments(self, call_id: str) -> str:
        return f"{self._prefix}segments:{{{call_id}}}"

    def events(self, call_id: str) -> str:
        return f"{self._prefix}events:{{{call_id}}}"

    def channel(self, call_id: str) -> str:
        return f"{self._prefix}live:{{{call_id}}}"

    def every_channel(self) -> str:
        """Pattern of all channels; characters of the prefix that mean something in a pattern are escaped."""
        return "".join(f"\\{char}" if char in "*?[]\\" else char for char in self._prefix) + "live:*"


def connect(config: RedisConfig) -> "Redis":
    """A client that neither repeats a command nor hides a lost connection. Connects with the first command."""
    try:
        return Redis.from_url(
            config.url,
            socket_timeout=config.timeout_s,
            socket_connect_timeout=config.timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=10,
        )
    except ValueError as error:
        raise SinkMisconfigured(f"redis url: {error}") from error


class RedisSink:
    """Keeps the live view in Redis up to date.

    Writing never fails and never waits for a Redis that is away: the running calls are mirrored here, and once the
    server answers again, or is found to have lost them, they are written anew. Everything written is guarded by
    revision and version on the server, so writing twice does no harm. Of several partials of a segment in one batch
    only the last is sent.
    """

    name = "redis"

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._keys = _Keys(config.key_prefix)
        self._client = connect(config)
        self._book = CallBook(retain_s=float("inf"), max_calls=config.max_calls, history=config.stream_entries)
        self._set_ttl_ms = round(1000 * (config.retain_s + config.lease_s))
        self._scripts: dict[str, str] = {}  # file name -> SHA-1, of the server connected to
        self._unsent: set[str] = set()  # calls to write anew before the view is current
        self._held: set[str] = set()  # running calls that the server is known to have
        self._current = False
        self._reported = False
        self._closing = False
        self._wake = asyncio.Event()
        self.supervisor = Supervisor()
        self._keeper: asyncio.Task[object] | None = None

    @property
    def current(self) -> bool:
        """Whether Redis holds all that was written. False from a failure until the view is rebuilt."""
        return self._current

    async def start(self) -> None:
        """Tries to connect once; a server that is away is tried again in the background."""
        await self._attempt()
        self._keeper = self.supervisor.keep(self._keep(), "redis view keeper", returns=True)

    async def write(self, records: Sequence[AnyRecord]) -> None:
        accepted: dict[tuple[str, str], tuple[MirroredCall, int, AnyRecord]] = {}
        for record in records:
            state = self._book.apply(record)
            if state is None:
                continue
            unique = record.segment_id if isinstance(record, TranscriptRecord) else record.event_id
            accepted.pop((record.call_id, unique), None)  # keeps the order of versions
            accepted[record.call_id, unique] = (state, state.version, record)
        if not accepted:
            return
        if not self._current:
            self._unsent.update(call_id for call_id, _ in accepted)
            return
        try:
            pipeline = self._client.pipeline(transaction=False)
            for state, version, record in accepted.values():
                self._add(pipeline, state, version, record)
            await self._execute(pipeline)
        except (RedisError, OSError) as error:
            self._lost(error)
        else:
            for call_id, _ in accepted:
                self._has(call_id)

    async def close(self) -> None:
        """Writes once more what Redis does not have yet. Keys of calls still running are left to expire."""
        if self._keeper is not None:
            self._closing = True
            await cancel_and_wait(self._keeper)
            if not self._current:
                await self._attempt()
        await self._client.aclose()

    def _ttl_ms(self, state: MirroredCall) -> int:
        ended = state.call["status"] is CallStatus.ENDED
        return round(1000 * (self._config.retain_s if ended else self._config.lease_s))

    def _call_keys(self, call_id: str) -> tuple[str, str, str]:
        return self._keys.call(call_id), self._keys.segments(call_id), self._keys.events(call_id)

    def _run(
        self, pipeline: "Pipeline", script: str, state: MirroredCall, version: int, *args: str | int | bytes
    ) -> None:
        keys = self._call_keys(state.call_id)
        channel = self._keys.channel(state.call_id)
        common = self._ttl_ms(state), self._config.stream_entries, channel, version
        pipeline.evalsha(self._scripts[script], len(keys), *keys, *common, *args)

    def _add(self, pipeline: "Pipeline", state: MirroredCall, version: int, record: AnyRecord) -> None:
        if isinstance(record, TranscriptRecord):
            self._add_segment(pipeline, state, version, record, quiet=False)
        else:
            self._add_call(pipeline, state, version, encode(record))

    def _add_segment(
        self, pipeline: "Pipeline", state: MirroredCall, version: int, record: TranscriptRecord, *, quiet: bool
    ) -> None:
        segment = record.segment_id, record.revision, int(record.is_final), encode(record)
        self._run(pipeline, "redis_segment.lua", state, version, *segment, int(quiet))

    def _add_call(self, pipeline: "Pipeline", state: MirroredCall, version: int, record: bytes) -> None:
        self._run(pipeline, "redis_call.lua", state, version, state.started_at, record, *_to_hash(state))
        # After the hash, so that a member without one is always a leftover.
        pipeline.zadd(self._keys.calls, {state.call_id: epoch_ms(state.started_at)})
        pipeline.pexpire(self._keys.calls, self._set_ttl_ms)

    async def _execute(self, pipeline: "Pipeline") -> list[Any]:
        answers = await pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            if answer == -1:
                raise RedisError("the server lost a running call")
        return answers

    def _lost(self, error: Exception) -> None:
        if not self._reported:
            log.warning("redis live view is behind, trying again: %s", error)
        self._reported = True
        self._current = False
        self._held.clear()
        self._unsent.update(state.call_id for state in self._book.newest_first())
        self._wake.set()

    async def _keep(self) -> None:
        while not self._closing:  # redis-py may swallow a cancellation
            interval_s = self._config.heartbeat_s if self._current else min(RETRY_S, self._config.heartbeat_s)
            try:
                async with asyncio.timeout(interval_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._attempt()
            except Exception as error:  # noqa: BLE001 - the next attempt is another one
                self.supervisor.fault("redis view keeper", error, "trying again")

    async def _attempt(self) -> None:
        """Prolong what Redis holds, or write what it lacks."""
        try:
            if self._current:
                await self._prolong()
            else:
                await self._restore()
        except (RedisError, OSError) as error:
            again = self._current  # a loss found just now is mended at once, a server that is away later
            self._lost(error)
            if not again:
                self._wake.clear()

    async def _restore(self) -> None:
        """Write every call in `_unsent` anew; calls that change meanwhile are in it again."""
        for script in ("redis_call.lua", "redis_segment.lua", "redis_history.lua"):
            source = files("sinks").joinpath(script).read_text(encoding="utf-8")
            self._scripts[script] = await self._client.script_load(source)
        while self._unsent:
            call_id = next(iter(self._unsent))
            self._unsent.discard(call_id)
            state = self._book.get(call_id)
            if state is None:
                continue
            pipeline = self._client.pipeline(transaction=False)
            self._add_call(pipeline, state, state.version, b"")
            for segment in state.in_order():
                # Finals are published from the history, once.
                self._add_segment(pipeline, state, state.version, segment, quiet=segment.is_final)
            history: list[int | bytes] = []
            for version, record in state.history:
                history += version, encode(record)
            self._run(pipeline, "redis_history.lua", state, state.version, *history)
            await self._execute(pipeline)
            if call_id not in self._unsent:
                self._has(call_id)
        self._current = True
        if self._reported:
            log.info("redis live view is current again")
        self._reported = False

    def _has(self, call_id: str) -> None:
        """The server has all of the call. An ended one needs no mirror any more: nothing follows its END."""
        state = self._book.get(call_id)
        if state is not None and state.call["status"] is CallStatus.ENDED:
            self._book.forget(call_id)
            self._held.discard(call_id)
        else:
            self._held.add(call_id)

    async def _prolong(self) -> None:
        """Prolong the running calls' keys; raises `RedisError` if one is gone. Remove leftovers from the sorted set."""
        states = [state for state in self._book.newest_first() if state.call_id in self._held]
        for first in range(0, len(states), CALLS_PER_TRIP):
            pipeline = self._client.pipeline(transaction=False)
            for state in states[first : first + CALLS_PER_TRIP]:
                for key in self._call_keys(state.call_id):
                    pipeline.pexpire(key, self._ttl_ms(state))
            answers = await self._execute(pipeline)
            if not all(answers[::3]):
                raise RedisError("the server lost a running call")
        members: list[bytes] = await self._client.zrange(self._keys.calls, 0, -1)  # type: ignore[assignment]
        pipeline = self._client.pipeline(transaction=False)
        for member in members:
            pipeline.exists(self._keys.call(member.decode()))
        alive = await self._execute(pipeline) if members else []
        leftovers = [member for member, exists in zip(members, alive, strict=True) if not exists]
        if leftovers:
            await self._client.zrem(self._keys.calls, *leftovers)
        elif members:
            await self._client.pexpire(self._keys.calls, self._set_ttl_ms)


class RedisView:
    """Reads what `RedisSink` writes, from any process. `close` it in the end."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._keys = _Keys(config.key_prefix)
        self._client = connect(config)
        self.supervisor = Supervisor()

    async def close(self) -> None:
        await self._client.aclose()

    async def calls(self) -> list[JsonRecord]:
        """The newest `max_calls` calls."""
        try:
            newest = 0, self._config.max_calls - 1
            ids: list[bytes] = await self._client.zrevrange(self._keys.calls, *newest)  # type: ignore[assignment]
            hashes: list[dict[bytes, bytes]] = []
            for first in range(0, len(ids), CALLS_PER_TRIP):
                pipeline = self._client.pipeline(transaction=False)
                for call_id in ids[first : first + CALLS_PER_TRIP]:
                    pipeline.hgetall(self._keys.call(call_id.decode()))
                hashes += await pipeline.execute()
        except (RedisError, OSError) as error:
            raise ViewUnavailable(f"redis: {error}") from error
        return [_from_hash(fields)[0] for fields in hashes if fields]

    async def snapshot(self, call_id: str) -> CallSnapshot | None:
        try:
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hgetall(self._keys.call(call_id))
            pipeline.hvals(self._keys.segments(call_id))
            fields, segments = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise ViewUnavailable(f"redis: {error}") from error
        if not fields:
            return None
        call, dtmf, version = _from_hash(fields)
        records: list[JsonRecord] = [msgspec.json.decode(segment) for segment in segments]
        records.sort(key=lambda record: (record["start"], record["leg"], record["segment_id"]))
        return CallSnapshot(call=call, segments=records, dtmf=dtmf, version=version)

    @asynccontextmanager
    async def subscribe(self, call_id: str | None = None) -> AsyncIterator[AsyncIterator[JsonRecord]]:
        subscription = Subscription(call_id, self._config.queue_records)
        pubsub = self._client.pubsub()
        try:
            try:
                if call_id is None:
                    await pubsub.psubscribe(self._keys.every_channel())
                else:
                    await pubsub.subscribe(self._keys.channel(call_id))
                # The server's confirmation: from here on nothing is missed.
                await pubsub.get_message(timeout=self._config.timeout_s)
            except (RedisError, OSError) as error:
                raise ViewUnavailable(f"redis: {error}") from error
            pump = self.supervisor.spawn(_pump(pubsub, subscription), "redis view subscription")
            try:
                yield subscription
            finally:
                await cancel_and_wait(pump)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]


async def _pump(pubsub: "PubSub", subscription: Subscription) -> None:
    """Messages of the server into the subscription, until the connection is lost."""
    try:
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=PUBSUB_POLL_S)
            if message is not None:
                with suppress(msgspec.DecodeError):  # by somebody else, on a channel of ours
                    subscription.offer(msgspec.json.decode(message["data"]))
    except (RedisError, OSError) as error:
        log.warning("redis live view: a subscription was lost: %s", error)
    finally:
        subscription.close()


def _to_hash(state: MirroredCall) -> Iterable[str | bytes]:
    """Names and values in turn."""
    for name, value in state.call.items():
        if value is not None:
            yield name
            yield msgspec.json.encode(value) if name in _JSON_FIELDS else str(value)
    yield "dtmf"
    yield msgspec.json.encode(list(state.dtmf.values()))


def _from_hash(fields: dict[bytes, bytes]) -> tuple[JsonRecord, list[JsonRecord], int]:
    """The call, its key presses and its version."""
    texts = {name.decode(): value.decode() for name, value in fields.items()}
    version = int(texts.pop("version"))
    dtmf: list[JsonRecord] = msgspec.json.decode(texts.pop("dtmf"))
    call: JsonRecord = dict.fromkeys(("from", "to", "ended_at", "reason", "statistics"))
    for name, text in texts.items():
        call[name] = msgspec.json.decode(text) if name in _JSON_FIELDS else text
    return call, dtmf, version


__all__ = ["RedisConfig", "RedisSink", "RedisView"]
