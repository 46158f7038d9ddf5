"""Sections of the configuration that the sinks receive. Apart from them, so that reading it loads no client library."""

from typing import Annotated, Any, Literal

import msgspec

from sinks.addresses import broker_addresses, redis_parts
from sinks.credentials import check_credentials, check_url, masked

Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class JsonlConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`path`: file to append to; its folder must exist. A device or named pipe will do too.

    `rotate_bytes`: the file is renamed before it grows beyond; `rotate_daily`: before the first record of another day
    in UTC. `keep`: renamed files that stay, the newest; 0: all.
    """

    path: str = "trunkline.jsonl"
    rotate_bytes: Count | None = None
    rotate_daily: bool = False
    keep: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.keep and self.rotate_bytes is None and not self.rotate_daily:
            raise ValueError(f"keep = {self.keep} deletes nothing without rotation: set rotate_bytes or rotate_daily")


class KafkaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`bootstrap_servers`: host:port, separated by commas. An empty `partials_topic`: partials are not sent.

    `create_topics`: create missing topics, as `trunkline kafka init` does; otherwise they are waited for. `spool`: the
    file in which finals and events wait for their acknowledgement, of one server alone; what is beyond
    `spool_max_bytes` or older than `spool_max_age_h` hours goes to the dead-letter file beside it. `partials_waiting`:
    segments whose newest partial may wait. `dead_letters_topic`: for records that Kafka refuses for good; empty: they
    go to the dead-letter file, too. `probe_topic`: what `trunkline doctor` sends a record to; empty: it sends none.

    Topics are made with `partitions`, `replication_factor`, `min_insync_replicas` (null: by the number of brokers),
    `retention_h` and, for partials, `partials_retention_h`. `sasl_token_command` prints a token for OAUTHBEARER;
    `sasl_token_url` grants one to the client `sasl_username` with the secret `sasl_password`.
    """

    bootstrap_servers: str
    transcripts_topic: str = "trunkline.transcripts"
    partials_topic: str = "trunkline.partials"
    events_topic: str = "trunkline.events"
    create_topics: bool = False
    partitions: Count = 12
    replication_factor: Count | None = None
    min_insync_replicas: Count | None = None
    retention_h: Positive = 168.0
    partials_retention_h: Positive = 24.0
    dead_letters_topic: str = "trunkline.dead-letters"
    probe_topic: str = ""
    compression: Literal["gzip", "lz4", "zstd"] | None = None
    client_id: str = "trunkline"
    spool: str = "trunkline-kafka.spool"
    spool_max_bytes: Count = 4 << 30
    spool_max_age_h: Positive = 72.0
    partials_waiting: Count = 10_000
    close_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    sasl_token_command: str | None = None
    sasl_token_url: str | None = None
    sasl_token_scope: str | None = None
    tls_ca_file: str | None = None
    tls_certificate_file: str | None = None
    tls_key_file: str | None = None
    tls_key_password: str | None = None

    def __post_init__(self) -> None:
        broker_addresses(self.bootstrap_servers)
        check_topics(self)
        credentials = [name for name in self.__struct_fields__ if name.startswith(("sasl_", "tls_"))]
        check_credentials(self, *credentials, spaces=True)
        if self.security_protocol.startswith("SASL") != (self.sasl_mechanism is not None):
            raise ValueError(f"security_protocol {self.security_protocol} and sasl_mechanism do not fit together")
        if self.sasl_mechanism == "OAUTHBEARER":
            if (self.sasl_token_command is None) == (self.sasl_token_url is None):
                raise ValueError("OAUTHBEARER needs sasl_token_command or sasl_token_url")
            if self.sasl_token_url is not None and not self.sasl_token_url.startswith(("https://", "http://")):
                raise ValueError("sasl_token_url must begin with https://")
        elif self.sasl_mechanism is not None and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(f"{self.sasl_mechanism} needs sasl_username and sasl_password")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together")
        if not self.security_protocol.endswith("SSL") and (self.tls_ca_file or self.tls_certificate_file):
            raise ValueError(f"security_protocol {self.security_protocol} uses no TLS: SSL or SASL_SSL does")
        if self.replication_factor and (self.min_insync_replicas or 1) > self.replication_factor:
            raise ValueError("min_insync_replicas is larger than replication_factor: nothing could be written")
        topics = (self.transcripts_topic, self.partials_topic, self.events_topic, self.dead_letters_topic)
        if self.probe_topic and self.probe_topic in topics:
            raise ValueError("probe_topic must be another topic than those of the records")

    def __repr__(self) -> str:
        return f"KafkaConfig({self.bootstrap_servers!r}, sasl_password={masked(self.sasl_password)!r})"


def check_topics(config: KafkaConfig) -> None:
    """Raises `ValueError` for topics that cannot be."""
    if not config.transcripts_topic or not config.events_topic:
        raise ValueError("transcripts_topic and events_topic must not be empty")
    if config.dead_letters_topic in (config.transcripts_topic, config.events_topic):
        raise ValueError("dead_letters_topic must be another topic than those of the records")


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`url`: with user and password where needed,

        redis://HOST:PORT/DATABASE or unix:///PATH                        one server
        redis+sentinel://HOST:PORT,HOST:PORT/NAME/DATABASE                the primary that the sentinels give by NAME
        redis+cluster://HOST:PORT,HOST:PORT                               a cluster, by some of its nodes

    and rediss for redis over TLS. `tls_ca_file`: whose certificates are trusted (null: the system's), `tls_cert`,
    `tls_key`: a certificate of our own; `sentinel_username`, `sentinel_password`: where the sentinels want some.
    `batch_ms`: records go out together at most this often. `heartbeat_s`: how often the keys of calls are prolonged and
    looked after; `timeout_s`: for connecting and for each answer.
    """

    url: str = "redis://127.0.0.1:6379/0"
    key_prefix: str = "trunkline:"
    tls_ca_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    batch_ms: Positive = 20.0
    retain_s: Positive = 600.0
    lease_s: Positive = 60.0
    heartbeat_s: Positive = 1.0
    timeout_s: Positive = 1.0
    stream_entries: Annotated[int, msgspec.Meta(ge=1)] = 1_000
    max_calls: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    queue_records: Annotated[int, msgspec.Meta(ge=1)] = 1_000

    def __post_init__(self) -> None:
        check_url("url", self.url)
        redis_parts(self.url)
        check_credentials(self, "tls_ca_file", "tls_cert", "tls_key", spaces=True)
        check_credentials(self, "sentinel_username", "sentinel_password", spaces=True)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if (self.tls_ca_file or self.tls_cert) and not self.url.startswith("rediss"):
            raise ValueError("tls_ca_file, tls_cert and tls_key need a rediss:// URL")
        if "{" in self.key_prefix or "}" in self.key_prefix:
            raise ValueError("key_prefix holds a brace: those stand around the call id, which is the hash tag")

    def __repr__(self) -> str:
        return f"RedisConfig({self.url.rpartition('@')[2].partition('?')[0]!r}, key_prefix={self.key_prefix!r})"


class LiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`retain_s`: how long an ended call is shown. `queue_records`: records that may wait for one screen."""

    retain_s: float = 600.0
    max_calls: int = 2_000
    queue_records: int = 1_000


class SinkPlugin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sink of the user's own (docs/sinks.md). `class`: `module:Class`, to be imported; `options`: what it is made
    with, by keyword."""

    class_: str = msgspec.field(name="class")
    options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"SinkPlugin({self.class_!r})"


class SinksConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sinks beside those that have a section."""

    plugins: tuple[SinkPlugin, ...] = ()
