"""Whether Redis takes what the live view writes, asked without writing to the view."""

import time
from contextlib import aclosing
from dataclasses import dataclass

from redis.exceptions import RedisError

from sinks.config import RedisConfig
from sinks.errors import SinkUnavailable
from sinks.redis_view import connect

_SCRIPT = "redis.call('SET', KEYS[1], '', 'PX', 1000) return redis.call('TIME')"


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """`ahead_s`: of the server's clock, good to half of `round_trip_s`."""

    round_trip_s: float
    ahead_s: float


async def probe(config: RedisConfig) -> RedisProbe:
    """By a script, as the view's writer uses them, and a key of our prefix that is gone after a second. Raises
    `SinkMisconfigured` for a URL that is none, `SinkUnavailable`."""
    async with aclosing(connect(config)) as client:
        try:
            await client.eval(_SCRIPT, 1, f"{config.key_prefix}doctor")
            began, wall = time.monotonic(), time.time()
            seconds, microseconds = await client.eval(_SCRIPT, 1, f"{config.key_prefix}doctor")
            took = time.monotonic() - began
        except (RedisError, OSError) as error:
            raise SinkUnavailable(f"redis: {error}") from error
    return RedisProbe(took, int(seconds) + int(microseconds) / 1e6 - (wall + took / 2))
