"""Whether Redis takes what the live view writes, asked without writing to the view."""

import time
from dataclasses import dataclass

from sinks.config import RedisConfig
from sinks.redis.client import RedisClient


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """`ahead_s`: of the server's clock, good to half of `round_trip_s`; None where this user may not ask for it, and of
    a cluster, which has many."""

    round_trip_s: float
    ahead_s: float | None


async def probe(config: RedisConfig) -> RedisProbe:
    """By a key of our prefix that is gone after a second. Raises `SinkMisconfigured` for files that
    cannot be used, `SinkUnavailable`."""
    key = f"{config.key_prefix}doctor"
    client = RedisClient(config)
    try:
        for _ in range(2):  # the first connects
            began = time.monotonic()
            await client.require(("HSET", key, "at", "now"), ("PEXPIRE", key, 1000))
            took = time.monotonic() - began
        began, wall = time.monotonic(), time.time()
        [now] = await client.execute([("TIME",)])
        asked = time.monotonic() - began
    finally:
        await client.close()
    if isinstance(now, Exception):
        return RedisProbe(took, None)
    return RedisProbe(max(took, asked), int(now[0]) + int(now[1]) / 1e6 - (wall + asked / 2))
