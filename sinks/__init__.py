"""Records and where they go: schema, fan-out, files, Kafka and the live views.

Nothing here knows calls, audio or the engine. The Kafka and Redis clients are imported only when their sink is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sinks.errors import SinkError, SinkMisconfigured, SinkRejected, SinkUnavailable, ViewUnavailable
from sinks.fanout import FanOut, SinkStats
from sinks.jsonl import JsonlConfig, JsonlSink
from sinks.live import CallSnapshot, LiveConfig, LiveView, View
from sinks.schema import load_schema
from sinks.sink import Sink

if TYPE_CHECKING:
    from sinks.kafka import KafkaConfig, KafkaSink
    from sinks.redis_view import RedisConfig, RedisSink, RedisView

_LAZY = {
    "KafkaConfig": "sinks.kafka",
    "KafkaSink": "sinks.kafka",
    "RedisConfig": "sinks.redis_view",
    "RedisSink": "sinks.redis_view",
    "RedisView": "sinks.redis_view",
}

__all__ = [
    "CallSnapshot",
    "FanOut",
    "JsonlConfig",
    "JsonlSink",
    "KafkaConfig",
    "KafkaSink",
    "LiveConfig",
    "LiveView",
    "RedisConfig",
    "RedisSink",
    "RedisView",
    "Sink",
    "SinkError",
    "SinkMisconfigured",
    "SinkRejected",
    "SinkStats",
    "SinkUnavailable",
    "View",
    "ViewUnavailable",
    "load_schema",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
