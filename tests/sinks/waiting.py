"""Waiting for what happens elsewhere: until a condition holds, not for a length of time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sinks.fanout import FanOut
from sinks.record import AnyRecord
from sinks.redis.sink import RedisSink
from sinks.sink import Sink

LIMIT_S = 30.0


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Returns once the condition holds; fails the test if that takes unreasonably long."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            held = condition()
            if await held if isinstance(held, Awaitable) else held:
                return
            await asyncio.sleep(0.01)


def taken(fan: FanOut, sink: str) -> int:
    """Records that the destination has, partials included."""
    delivery = fan.deliveries[sink]
    return delivery.delivered + delivery.delivered_partials


async def shown(sink: Sink, records: Sequence[AnyRecord]) -> None:
    """Write them and wait until they are in the view behind the sink."""
    await sink.write(records)
    if isinstance(sink, RedisSink):
        await until(lambda: sink.current)
