"""Records and where they go: schema, fan-out, files, Kafka and the live views.

Nothing here knows calls, audio or the engine. The Kafka and Redis clients are imported only when their sink is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sinks.config import JsonlConfig, KafkaConfig, LiveConfig, RedisConfig
from sinks.delivery import Accounting, Delivery
from sinks.errors import SinkError, SinkMisconfigured, SinkRejected, SinkUnavailable, ViewUnavailable
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.live import CallSnapshot, LiveView, View
from sinks.schema import load_schema
from sinks.sink import Sink

if TYPE_CHECKING:
    from sinks.kafka import KafkaSink
    from sinks.redis_sink import RedisSink
    from sinks.redis_view import RedisView

_LAZY = {
    "KafkaSink": "sinks.kafka",
    "RedisSink": "sinks.redis_sink",
    "RedisView": "sinks.redis_view",
}

__all__ = [
    "Accounting",
    "CallSnapshot",
    "Delivery",
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
    "SinkUnavailable",
    "View",
    "ViewUnavailable",
    "load_schema",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
