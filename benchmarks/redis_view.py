"""From the emission of a record to a screen that reads the Redis live view, with a thousand calls at once.

`python -m benchmarks.redis_view --url redis://127.0.0.1:6379/0 [--calls 1000] [--legs 2] [--seconds 20]`

Each leg emits 8 partials and 0.3 finals a second, evenly spread over time. They go through `FanOut` and the sink, as in
the server; screens of some of the calls subscribe in another process. At the end all keys are removed, and it is
measured how long the view is incomplete then. Keys have a prefix of their own. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from sinks.config import RedisConfig
from sinks.fanout import FanOut
from sinks.record import CallAction, CallRecord, LegInfo, SpeakerRole, TranscriptRecord, Word, event_id
from sinks.redis.sink import RedisSink
from sinks.redis.view import RedisView
from trunkline import loop

PARTIALS_S, FINALS_S = 8.0, 0.3
TICK_S = 0.005
GOAL_P99_MS, GOAL_REPAIR_S = 40.0, 2.0
WORDS = [
    Word(word=word, punctuated_word=word, start=0.0, end=0.3, confidence=0.9, language="en-US")
    for word in ("thank", "you", "for", "calling", "how", "may", "I", "help", "you", "with", "your", "order", "today")
]


class Leg:
    """Its transcripts, one after the other."""

    def __init__(self, call_id: str, name: str) -> None:
        self._call_id, self._name = call_id, name
        self._segment = self._revision = self._seq = 0
        self._partials = 0.0

    def next(self) -> TranscriptRecord:
        self._revision += 1
        self._seq += 1
        self._partials += FINALS_S / (PARTIALS_S + FINALS_S)
        final = self._partials >= 1
        words = tuple(WORDS[: 1 + self._revision % len(WORDS)])
        record = TranscriptRecord(
            event_id=event_id(self._call_id, "0123456789ab", self._name, "transcript", self._segment, self._revision),
            call_id=self._call_id,
            leg=self._name,
            seq=self._seq,
            at=_now(),
            segment_id=f"{self._name}-{self._segment}",
            revision=self._revision,
            is_final=final,
            speech_final=final,
            speaker_role=SpeakerRole.CUSTOMER,
            channel_index=0,
            start=float(self._segment),
            duration=0.8,
            transcript=" ".join(word.word for word in words),
            confidence=0.9,
            stability=0.5,
            language="en-US",
            languages=("en-US",),
            language_source="detected",
            words=words,
            latency_ms=81.5,
        )
        if final:
            self._partials -= 1
            self._segment += 1
            self._revision = 0
        return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _start(call_id: str, legs: int) -> CallRecord:
    return CallRecord(
        event_id=event_id(call_id, "0123456789ab", "", "call", 0),
        call_id=call_id,
        leg="",
        seq=0,
        at=_now(),
        action=CallAction.START,
        connector="benchmark",
        legs=tuple(LegInfo(leg=str(i), speaker_role=SpeakerRole.CUSTOMER, channel_index=i) for i in range(legs)),
    )


async def main() -> None:
    options = _options()
    prefix = f"benchmark-{os.getpid()}:"
    config = RedisConfig(url=options.url, key_prefix=prefix, batch_ms=options.batch_ms)
    sink = RedisSink(config)
    fan = FanOut([sink], queue_records=100_000)
    await fan.start()
    calls = [f"call-{i}" for i in range(options.calls)]
    legs = [Leg(call_id, str(i)) for call_id in calls for i in range(options.legs)]
    fan.publish([_start(call_id, options.legs) for call_id in calls])
    screens = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load.redis_screen", options.url, prefix, *calls[: options.screens]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert screens.stdout is not None
    await screens.stdout.readline()
    cpu_s = time.process_time()
    late_ms = await _emit(fan, legs, options.seconds)
    cpu_s = time.process_time() - cpu_s
    await asyncio.sleep(1.0)
    seen, _ = await screens.communicate(b"")
    repaired_s = await _repair(config)
    delivery = fan.deliveries["redis"]
    await fan.close(10.0)
    emitted = delivery.delivered + delivery.delivered_partials + delivery.coalesced_partials
    result: dict[str, Any] = {
        "benchmark": "redis_view",
        "calls": options.calls,
        "legs": options.legs,
        "batch_ms": options.batch_ms,
        "url": options.url.partition("://")[0],
        **json.loads(seen),
        "goal_p99_ms": GOAL_P99_MS,
        "us_a_record": round(1e6 * cpu_s / emitted, 1),
        "cpu_percent": round(100 * cpu_s / options.seconds, 1),
        "late_p99_ms": round(late_ms, 1),
        "repaired_s": round(repaired_s, 2),
        "goal_repaired_s": GOAL_REPAIR_S,
        "delivery": {"lost": delivery.lost, "dropped_partials": delivery.dropped_partials, "errors": delivery.errors},
        "load_before": options.load,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))


async def _emit(fan: FanOut, legs: list[Leg], seconds: float) -> float:
    """In real time; how late records were emitted against their time, p99, ms."""
    random.Random(0).shuffle(legs)
    rate = len(legs) * (PARTIALS_S + FINALS_S)
    turns = _turns(legs)
    began, emitted, lates = time.monotonic(), 0, []
    while (now := time.monotonic() - began) < seconds:
        due = int(now * rate) - emitted
        if due:
            lates.append(now - emitted / rate)
            fan.publish([next(turns).next() for _ in range(due)])
            emitted += due
        await asyncio.sleep(TICK_S)
    return 1000 * sorted(lates)[int(0.99 * len(lates))]


def _turns(legs: list[Leg]) -> Iterator[Leg]:
    while True:
        yield from legs


async def _repair(config: RedisConfig) -> float:
    """From the loss of all keys to a view that is as before, seconds. Of a single server only; else 0."""
    if "+" in config.url.partition(":")[0]:
        return 0.0
    view = RedisView(config)
    before = sorted(msgspec.json.encode(one) for one in await view.calls())
    async with Redis.from_url(config.url) as client:
        keys = await _keys(client, config)
        for first in range(0, len(keys), 1000):
            await client.delete(*keys[first : first + 1000])
        began_s = time.monotonic()
        there = 0
        while there < len(keys):
            await asyncio.sleep(0.02)
            there = len(await _keys(client, config))
        took_s = time.monotonic() - began_s
    assert sorted(msgspec.json.encode(one) for one in await view.calls()) == before
    await view.close()
    return took_s


async def _keys(client: "Redis", config: RedisConfig) -> list[bytes]:
    return [key async for key in client.scan_iter(f"{config.key_prefix}*", count=1000)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--legs", type=int, default=2)
    parser.add_argument("--screens", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch-ms", type=float, default=20.0)
    options = parser.parse_args()
    options.load = os.getloadavg()[0]
    return options


if __name__ == "__main__":
    loop.run(main())
