"""Screens of the Redis live view, one for each call id on the command line, in a process of their own.

`python -m benchmarks.load.redis_screen URL PREFIX CALL_ID...` prints `ready`, then, at the end of its standard input,
one line of JSON: how many transcripts came, and quantiles of how long after their `at`, in ms.
"""

import asyncio
import json
import sys
import time
from datetime import datetime

import numpy as np

from sinks.config import RedisConfig
from sinks.redis.view import RedisView


async def main(url: str, prefix: str, *call_ids: str) -> None:
    view = RedisView(RedisConfig(url=url, key_prefix=prefix))
    waits_ms: list[float] = []

    async def watch(call_id: str, ready: asyncio.Event) -> None:
        async with view.subscribe(call_id) as records:
            ready.set()
            async for record in records:
                if record["type"] == "transcript":
                    waits_ms.append(1000 * (time.time() - datetime.fromisoformat(record["at"]).timestamp()))

    watching = []
    for call_id in call_ids:
        ready = asyncio.Event()
        watching.append(asyncio.create_task(watch(call_id, ready)))
        await ready.wait()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    await view.close()
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(waits_ms, (50, 95, 99)))
    print(json.dumps({"transcripts": len(waits_ms), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
