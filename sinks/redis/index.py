"""The sorted set of all calls, which several servers write.

In a cluster it is in another slot than the calls, so it is written after them and by itself: a member without a call
hash is always a leftover. Every member is written again with each heartbeat, so what one server removes by mistake, or
Redis evicts, the server of that call puts back.
"""

from collections.abc import Collection, Iterable

from sinks.calls import MirroredCall, epoch_ms
from sinks.redis.client import RedisClient
from sinks.redis.keys import Keys

TRIP_CHECKS = 100


class Index:
    """Every method raises `SinkUnavailable`. `ttl_ms`: how long the set lives without a server that writes it."""

    def __init__(self, client: RedisClient, keys: Keys, ttl_ms: int) -> None:
        self._client = client
        self._keys = keys
        self._ttl_ms = ttl_ms

    async def prolong(self) -> None:
        """Also tells whether Redis takes anything at all."""
        await self._client.require(("PEXPIRE", self._keys.calls, self._ttl_ms))

    async def enter(self, calls: Iterable[MirroredCall]) -> None:
        pairs = [part for call in calls for part in (epoch_ms(call.started_at), call.call_id)]
        name = self._keys.calls
        await self._client.require(("ZADD", name, *pairs), ("PEXPIRE", name, self._ttl_ms))

    async def sweep(self, known: Collection[str]) -> None:
        """Remove what no call hash is behind; `known` are looked after otherwise."""
        [members] = await self._client.require(("ZRANGE", self._keys.calls, 0, -1))
        strangers = [member for member in members if member.decode() not in known]
        for first in range(0, len(strangers), TRIP_CHECKS):
            some = strangers[first : first + TRIP_CHECKS]
            there = await self._client.require(*(("EXISTS", self._keys.call(one.decode())) for one in some))
            gone = [member for member, exists in zip(some, there, strict=True) if not exists]
            if gone:
                await self._client.require(("ZREM", self._keys.calls, *gone))
