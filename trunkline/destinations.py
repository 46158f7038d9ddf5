"""Where the records go: the sinks that the configuration names, each made from its section.

They are made before the engine is loaded, which takes seconds: what cannot be is told at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sinks
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.live import LiveView, View
from sinks.sink import Sink
from trunkline.config import Config


@dataclass(frozen=True, slots=True)
class Destinations:
    """`view`: what the live page reads; `redis_view`: the view where it is in Redis. `jsonl`: the file, if there is
    one."""

    fanout: FanOut
    view: View
    redis_view: "sinks.RedisView | None"
    jsonl: JsonlSink | None


def make_destinations(config: Config, extra_sinks: Sequence[Sink] = ()) -> Destinations:
    """Not started yet; it needs no event loop. Raises `SinkMisconfigured`."""
    jsonl = JsonlSink(config.jsonl) if config.jsonl.path else None
    made: list[Sink] = [] if jsonl is None else [jsonl]
    if config.kafka is not None:
        made.append(sinks.KafkaSink(config.kafka))
    if config.webhooks is not None:
        made.append(sinks.WebhookSink(config.webhooks))
    made += map(sinks.load_plugin, config.sinks.plugins)
    if config.redis is None:
        live = LiveView(config.live)
        return Destinations(FanOut([*made, live, *extra_sinks]), live, None, jsonl)
    made.append(sinks.RedisSink(config.redis))
    redis_view = sinks.RedisView(config.redis)
    return Destinations(FanOut([*made, *extra_sinks]), redis_view, redis_view, jsonl)
