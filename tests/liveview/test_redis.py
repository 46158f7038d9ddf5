"""The live page over a real Redis, as it is served apart from the process that takes the calls."""

from contextlib import aclosing
from uuid import uuid4

from liveview.api import LiveViewConfig
from sinks.config import RedisConfig
from sinks.redis.sink import RedisSink
from sinks.redis.view import RedisView
from tests.liveview.calls import ScriptedCall
from tests.liveview.server import events, live_page, next_of
from tests.sinks.waiting import shown


async def test_the_page_follows_calls_through_redis(redis_url: str) -> None:
    redis = RedisConfig(url=redis_url, key_prefix=f"liveview-{uuid4().hex}:")
    call = ScriptedCall("CA1", queue="Billing")
    sink, view = RedisSink(redis), RedisView(redis)
    await sink.start()
    try:
        async with live_page(LiveViewConfig(list_interval_ms=20), view=view) as page:
            await shown(sink, [call.start(), call.final("outbound-1", 0.5, "Hello.", "en-US")])
            async with page.client.get("/api/events?call_id=CA1") as stream, aclosing(events(stream)) as incoming:
                await next_of("ready", incoming)
                snapshot = await (await page.client.get("/api/calls/CA1")).json()
                await shown(sink, [call.partial("inbound-1", 2.0, "buenos", "es-US", "detected")])
                await shown(sink, [call.final("inbound-1", 2.0, "Buenos días.", "es-US"), call.hold(4.0)])
                records = [(await next_of("record", incoming)).data for _ in range(3)]
                listed = (await next_of("calls", incoming)).data
                while not (listed["calls"] and listed["calls"][0]["status"] == "held"):
                    listed = (await next_of("calls", incoming)).data
    finally:
        await sink.close()
        await view.close()
    assert [one["transcript"] for one in snapshot["segments"]] == ["Hello."]
    assert [one.get("transcript", one.get("action")) for one in records] == ["buenos", "Buenos días.", "HOLD"]
    assert listed["calls"][0]["metadata"] == {"queue": "Billing"}
