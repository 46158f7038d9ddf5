"""Reads the live view in Redis, for screens served by whatever process."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sinks.calls import CallStatus
from sinks.config import RedisConfig
from sinks.errors import SinkUnavailable, ViewUnavailable
from sinks.live import CallSnapshot
from sinks.redis.client import Command, Listener, RedisClient, is_forbidden
from sinks.redis.keys import Keys, from_hash
from sinks.subscription import JsonRecord, Subscription
from supervision import Supervisor, cancel_and_wait

log = logging.getLogger(__name__)

CALLS_PER_TRIP = 100

LOST_SHARE = 0.25
"""Of the lease: a running call whose keys nobody has prolonged for so long has lost its server. The server prolongs
them with every heartbeat, and they expire after the whole."""


class RedisView:
    """Reads what `RedisSink` writes, from any process. `close` it in the end.

    A running call whose server is gone has the status `lost` and `lost_at`, until its keys expire. `lease_s` must be
    that of the server. It is known from `PTTL`; where the user may not ask for that, no call is called lost.
    """

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._keys = Keys(config.key_prefix)
        self._client = RedisClient(config)
        self._lost: dict[tuple[str, str], str] = {}  # (call id, run) -> since when
        self._may_ask_age = True
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
        calls = [from_hash(fields)[0] for fields in hashes if fields]
        await self._mark_lost(calls)
        known = set(map(_key, calls))
        self._lost = {key: at for key, at in self._lost.items() if key in known}
        return calls

    async def snapshot(self, call_id: str) -> CallSnapshot | None:
        segments_key = self._keys.segments(call_id)
        fields, segments = await self._read(
            ("HGETALL", self._keys.call(call_id)), ("HVALS", segments_key), transaction=True
        )
        if not fields:
            return None
        call, dtmf, version = from_hash(fields)
        await self._mark_lost([call])
        records: list[JsonRecord] = [msgspec.json.decode(segment) for segment in segments]
        records.sort(key=lambda record: (record["start"], record["leg"], record["segment_id"]))
        return CallSnapshot(call=call, segments=records, dtmf=dtmf, version=version)

    async def _mark_lost(self, calls: Sequence[JsonRecord]) -> None:
        running = [call for call in calls if call["status"] != CallStatus.ENDED]
        lease_s = self._config.lease_s
        for first in range(0, len(running), CALLS_PER_TRIP):
            some = running[first : first + CALLS_PER_TRIP]
            for call, left_ms in zip(some, await self._left_ms(some), strict=True):
                key, age_s = _key(call), lease_s - left_ms / 1000
                if left_ms < 0 or age_s < lease_s * LOST_SHARE:
                    self._lost.pop(key, None)
                    continue
                heard = datetime.now(UTC) - timedelta(seconds=age_s)
                at = self._lost.setdefault(key, heard.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
                call.update(status=CallStatus.LOST, lost_at=at)

    async def _left_ms(self, calls: Sequence[JsonRecord]) -> Sequence[int]:
        """How long the calls' keys still live; -1: not known."""
        unknown = [-1] * len(calls)
        if not self._may_ask_age:
            return unknown
        try:
            return await self._client.require(*(("PTTL", self._keys.call(call["call_id"])) for call in calls))
        except SinkUnavailable as error:
            if is_forbidden(error):
                self._may_ask_age = False
                log.warning("redis live view: calls of a server that is gone are not known: allow the user +pttl")
            return unknown

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


def _key(call: JsonRecord) -> tuple[str, str]:
    return call["call_id"], call["run"] or ""


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
