"""The configuration: one frozen tree. Every class receives its own section, never the tree."""

from typing import Annotated, Literal

import msgspec

from connectors.media_ws.config import TwilioConfig
from connectors.sip.config import SipConfig
from connectors.webrtc.config import WebRtcConfig
from engine.api import Precision
from liveview.api import LiveViewConfig
from liveview.forwarding import is_loopback
from pipeline.bots import BotsConfig
from pipeline.config import PipelineConfig
from sinks.config import JsonlConfig, KafkaConfig, LiveConfig, RedisConfig, SinksConfig
from sinks.webhooks.config import WebhooksConfig


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`drain_s`: how long running calls may go on after the server was told to stop. `strict`: a door that stands open
    to everybody is a mistake in the configuration, not a warning.

    `request_head_s`: how long the headers of a request may take to come. `max_connections`: of HTTP and WebSockets at
    the same time; by default three quarters of the file descriptors. `max_connections_per_address`: by default half of
    those; a reverse proxy is one address."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    drain_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    request_head_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    max_connections: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_connections_per_address: Annotated[int, msgspec.Meta(ge=1)] | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_pii: bool = False
    strict: bool = False

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`checkpoint`: a `.nemo` file, a checkpoint folder or a hub id; without it the small demo model runs.
    `precision`: float32, bfloat16 or int8; the default is the fastest that keeps the words: int8 on a CPU with AVX2,
    float32 on others, bfloat16 on CUDA. `threads`: CPU threads of a step.

    `max_sessions`: the most sessions at the same time, whatever there is time for; by default what memory has room for.
    `admission`: the server measures at its start what the machine has time for and refuses calls beyond it.

    `process`: where the engine of `serve` runs. `spawn`: in a process of its own that the server starts and watches;
    `in-process`: in the server; `unix:/path` or `tcp:host:port`: in the process of `trunkline engine --listen` there,
    whose own configuration then counts. `replay_s`: audio kept of each leg for an engine that takes over."""

    checkpoint: str | None = None
    device: str = "cpu"
    precision: Precision | None = None
    max_sessions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    admission: bool = True
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    process: Annotated[str, msgspec.Meta(pattern=r"^(spawn|in-process|unix:.+|tcp:.+:[0-9]+)$")] = "spawn"
    replay_s: Annotated[float, msgspec.Meta(ge=5, le=300)] = 30.0


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole tree. SIP, WebRTC, Kafka, Redis and webhooks are used when they have a section; a JSON lines file is
    always written unless its path is empty."""

    server: ServerConfig = ServerConfig()
    engine: EngineConfig = EngineConfig()
    pipeline: PipelineConfig = PipelineConfig()
    bots: BotsConfig = BotsConfig()
    twilio: TwilioConfig = TwilioConfig()
    sip: SipConfig | None = None
    webrtc: WebRtcConfig | None = None
    liveview: LiveViewConfig = LiveViewConfig()
    live: LiveConfig = LiveConfig()
    jsonl: JsonlConfig = JsonlConfig()
    kafka: KafkaConfig | None = None
    redis: RedisConfig | None = None
    webhooks: WebhooksConfig | None = None
    sinks: SinksConfig = SinksConfig()
