"""Which calls go first where there is not time for all, without a server."""

import time

from sinks.config import RedisConfig
from sinks.redis.sink import RedisSink
from sinks.redis.standing import FRESH_S, STALE_S
from tests.sinks.records import start, transcript


async def test_finals_go_first_then_what_nothing_newer_follows_then_what_is_fresh() -> None:
    sink = RedisSink(RedisConfig(url="redis://127.0.0.1:9/0"))
    now_s = time.monotonic()
    ages = {"fresh": 0.0, "fresh, sent before": 0.0, "waits for the next": 2 * FRESH_S, "silent": 2 * STALE_S}
    for call_id in (*ages, "final"):
        await sink.write([start(call_id)])
        sink._standings[call_id].durable = 0  # acknowledged
        await sink.write([transcript("word", call_id=call_id)])
    for call_id, age_s in ages.items():
        sink._standings[call_id].newest_s = now_s - age_s
    sink._standings["fresh"].sent_s = now_s
    await sink.write([transcript("Word.", 1, final=True, call_id="final")])
    order = sorted(sink._due, key=lambda call_id: sink._urgency(call_id, now_s))
    assert order == ["final", "silent", "fresh, sent before", "fresh", "waits for the next"]
