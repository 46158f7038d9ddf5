"""Records and where they go: schema, fan-out, files, Kafka, webhooks and the live views.

Nothing here knows calls, audio or the engine. The clients are imported only when their sink is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sinks.config import JsonlConfig, KafkaConfig, LiveConfig, RedisConfig, SinkPlugin, SinksConfig
from sinks.delivery import Accounting, Delivery
from sinks.errors import SinkError, SinkMisconfigured, SinkRejected, SinkUnavailable, ViewUnavailable
from sinks.fanout import FanOut
from sinks.jsonl import JsonlSink
from sinks.live import CallSnapshot, LiveView, View
from sinks.plugin import load_plugin
from sinks.record import as_builtins, encode, is_partial
from sinks.schema import load_schema
from sinks.sink import Sink
from sinks.webhooks.config import WebhookConfig, WebhooksConfig

if TYPE_CHECKING:
    from sinks.kafka.sink import KafkaSink
    from sinks.redis.sink import RedisSink
    from sinks.redis.view import RedisView
    from sinks.webhooks.sink import WebhookSink

_LAZY = {
    "KafkaSink": "sinks.kafka.sink",
    "RedisSink": "sinks.redis.sink",
    "RedisView": "sinks.redis.view",
    "WebhookSink": "sinks.webhooks.sink",
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
    "SinkPlugin",
    "SinkRejected",
    "SinkUnavailable",
    "SinksConfig",
    "View",
    "ViewUnavailable",
    "WebhookConfig",
    "WebhookSink",
    "WebhooksConfig",
    "as_builtins",
    "encode",
    "is_partial",
    "load_plugin",
    "load_schema",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
