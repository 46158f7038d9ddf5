"""Reads the live view in Redis, for screens served by whatever process."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec

from sinks.config import RedisConfig
from sinks.errors import SinkUnavailable, ViewUnavailable
from sinks.live import CallSnapshot
from sinks.redis.client import Command, Listener, RedisClient
from sinks.redis.keys import Keys, from_hash
from sinks.subscription import JsonRecord, Subscription
from supervision import Supervisor, cancel_and_wait

log = logging.getLogger(__name__)

CALLS_PER_TRIP = 100


class RedisView:
    """Reads what `RedisSink` writes, from any process. `close` it in the end."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._keys = Keys(config.key_prefix)
        self._client = RedisClient(config)
        self.supervisor = Supervisor()

    async def close(self) -> None:
        await self._client.close()

    async def calls(self) -> list[JsonRecord]:
        """The newest `max_calls` calls."""
        [ids] = await self._read(("ZREVRANGE", self._keys.calls, 0, self._config.max_calls - 1))
        hashes: list[dict[bytes, bytes]] = []
        for first in range(0, len(ids), CALLS_PER_TRIP):
            some = [("HGETALL", self._keys.call(one.decode())) for one in ids[first : first + CALLS_PER_TRIP]]
            hashes += await self._read(*some)
        return [from_hash(fields)[0] for fields in hashes if fields]

    async def snapshot(self, call_id: str) -> CallSnapshot | None:
        segments_key = self._keys.segments(call_id)
        fields, segments = await self._read(
            ("HGETALL", self._keys.call(call_id)), ("HVALS", segments_key), transaction=True
        )
        if not fields:
            return None
        call, dtmf, version = from_hash(fields)
        records: list[JsonRecord] = [msgspec.json.decode(segment) for segment in segments]
        records.sort(key=lambda record: (record["start"], record["leg"], record["segment_id"]))
        return CallSnapshot(call=call, segments=records, dtmf=dtmf, version=version)

    async def _read(self, *commands: Command, transaction: bool = False) -> list[Any]:
        try:
            return await self._client.require(*commands, transaction=transaction)
        except SinkUnavailable as error:
            raise ViewUnavailable(str(error)) from error

    @asynccontextmanager
    async def subscribe(self, call_id: str | None = None) -> AsyncIterator[AsyncIterator[JsonRecord]]:
        subscription = Subscription(call_id, self._config.queue_records)
        channel = self._keys.every_channel() if call_id is None else self._keys.channel(call_id)
        async with AsyncExitStack() as stack:
            try:
                listening = self._client.listening(channel, pattern=call_id is None)
                listener = await stack.enter_async_context(listening)
            except SinkUnavailable as error:
                raise ViewUnavailable(str(error)) from error
            pump = self.supervisor.spawn(_pump(listener, subscription), "redis view subscription")
            stack.push_async_callback(cancel_and_wait, pump)
            yield subscription


async def _pump(listener: Listener, subscription: Subscription) -> None:
    """Messages of the server into the subscription, until the connection is lost."""
    try:
        while True:
            data = await listener.next()
            with suppress(msgspec.DecodeError):  # by somebody else, on a channel of ours
                subscription.offer(msgspec.json.decode(data))
    except SinkUnavailable as error:
        log.warning("redis live view: a subscription was lost: %s", error)
    finally:
        subscription.close()


__all__ = ["RedisConfig", "RedisView"]
