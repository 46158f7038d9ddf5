"""What the sink needs of the client library: reaching a broker, its clients, and being rid of one."""

import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.codec import has_lz4, has_zstd
from kafka.errors import (
    InvalidRecordError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RequestTimedOutError,
)
from kafka.net.sasl.oauth import AbstractTokenProvider

from sinks.addresses import broker_addresses
from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured
from sinks.kafka.token import Tokens
from sinks.kafka.topics import look_up

METADATA_WAIT_MS = 3_000
RECONNECT_MAX_MS = 1_000
DISPOSE_S = 1.0

LINGER_MS = 5
"""Records of one partition wait so long for company: each request costs as much as ten records."""

Producer = KafkaProducer
REFUSED_FOR_GOOD = (MessageSizeTooLargeError, InvalidRecordError)
"""Errors of a record, or of a record in the same batch, that no repetition mends."""

BROKEN_RECORD = (*REFUSED_FOR_GOOD, AssertionError, TypeError, ValueError)
"""What `Producer.send` raises for the record itself. All else is of the producer, or of the broker."""

_NEVER_MS = 2**31 - 1
"""Records do not expire in the client: with idempotence one that does leaves a producer that sends nothing more."""


class KafkaClient:
    """Makes clients of one configuration. Thread-safe. Raises `SinkMisconfigured` for certificates or a
    compression that cannot be used."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._settings = _client_settings(config)

    def producer(self, topic: str, *, durable: bool = True) -> KafkaProducer:
        """One that knows the topic, which is created first if it is missing and so configured. `durable`: each record
        once, in order, on all replicas in sync. Blocks; raises `OSError` where no broker answers, `LookupError` where
        the topic is not there, `KafkaError`."""
        with self.admin() as admin:
            look_up(admin, topic, self._config)
        producer = KafkaProducer(
            **self._settings,
            acks="all" if durable else 1,
            enable_idempotence=durable,
            compression_type=self._config.compression,
            linger_ms=LINGER_MS,
            delivery_timeout_ms=_NEVER_MS,
            max_block_ms=METADATA_WAIT_MS,
        )
        try:
            producer.partitions_for(topic)
        except BaseException:
            self.dispose(producer)
            raise
        return producer

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Blocks; raises as `producer` does."""
        _reach(self._settings["bootstrap_servers"], self._settings.get("ssl_context"))
        _lost.why = None
        try:
            admin = KafkaAdminClient(**self._settings)
        except KafkaTimeoutError as error:
            hint = ": check user and password" if self._config.sasl_password is not None else ""
            raise OSError(f"{self._config.bootstrap_servers}: {_lost.why or 'no answer'}{hint}") from error
        try:
            yield admin
        finally:
            admin.close()

    def consumer(self, topic: str, group: str) -> KafkaConsumer:
        """From the group's offsets, which are committed by hand; from the beginning at first. Blocks; raises as
        `producer` does."""
        with self.admin() as admin:
            look_up(admin, topic, self._config)
        return KafkaConsumer(
            topic, **self._settings, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
        )

    def halt(self, producer: KafkaProducer) -> None:
        """Send nothing more, on the library's own thread. After some errors it would go on with later records under a
        new producer epoch."""
        producer._sender.force_close()

    def dispose(self, producer: KafkaProducer) -> None:
        """Be rid of it, whatever it holds. The public close() waits for records that may never be acknowledged."""
        with suppress(Exception):
            producer._sender.force_close()
            producer._sender.join(DISPOSE_S)
        with suppress(KafkaError, AssertionError):
            producer.close(timeout=DISPOSE_S)


def _reach(servers: Sequence[str], context: ssl.SSLContext | None) -> None:
    """Raises `OSError` if none of the servers takes a connection, TLS included.

    The client library leaves a socket open for every attempt that is refused, so it is not tried in vain; and what is
    wrong with a certificate it does not say.
    """
    problem: OSError | None = None
    for server in servers:
        host, _, port = server.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_connection((host, int(port)), timeout=METADATA_WAIT_MS / 1000) as plain:
                if context is not None:
                    context.wrap_socket(plain, server_hostname=host).close()
        except OSError as error:
            why = getattr(error, "verify_message", None) or error.strerror or error
            problem = OSError(f"{server}: {why}")
        else:
            return
    if problem is not None:
        raise problem


def _client_settings(config: KafkaConfig) -> dict[str, Any]:
    servers = broker_addresses(config.bootstrap_servers)
    settings: dict[str, Any] = {
        "bootstrap_servers": servers,
        "client_id": config.client_id,
        "bootstrap_timeout_ms": METADATA_WAIT_MS,
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "security_protocol": config.security_protocol,
    }
    if config.security_protocol.endswith("SSL"):
        settings["ssl_context"] = _tls(config)
    missing = {"lz4": not has_lz4(), "zstd": not has_zstd()}
    if config.compression is not None and missing.get(config.compression):
        raise SinkMisconfigured(f"kafka: compression {config.compression}: pip install 'trunkline[compression]'")
    if config.sasl_mechanism is not None:
        settings["sasl_mechanism"] = config.sasl_mechanism
    if config.sasl_mechanism == "OAUTHBEARER":
        settings["sasl_oauth_token_provider"] = _TokenProvider(config)
    elif config.sasl_mechanism is not None:
        settings |= {"sasl_plain_username": config.sasl_username, "sasl_plain_password": config.sasl_password}
    return settings


def _tls(config: KafkaConfig) -> ssl.SSLContext:
    """Raises `SinkMisconfigured` for files that cannot be used."""
    name = config.tls_ca_file or "the system's CAs"
    try:
        context = ssl.create_default_context(cafile=config.tls_ca_file)
        if config.tls_certificate_file is not None:
            name = f"{config.tls_certificate_file}, {config.tls_key_file}"
            # Without a password given, never ask for one on the terminal.
            password = config.tls_key_password or ""
            context.load_cert_chain(config.tls_certificate_file, config.tls_key_file, password=lambda: password)
    except OSError as error:
        raise SinkMisconfigured(f"kafka: {name}: {error.strerror or error}") from error
    return context


class _LostConnections(logging.Handler):
    """Keeps why a connection was lost last. The client library only logs it: wrong passwords and tokens, say."""

    why: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        error = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        if isinstance(error, Exception) and not (
            self.why and isinstance(error, KafkaConnectionError | RequestTimedOutError)
        ):
            self.why = str(error.args[-1] if error.args else error)


_lost = _LostConnections(logging.ERROR)
_connections = logging.getLogger("kafka.net.connection")
_connections.addHandler(_lost)
_connections.setLevel(logging.ERROR)
_connections.propagate = False


class _TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """What the client library asks for tokens."""

    def __init__(self, config: KafkaConfig) -> None:
        self._tokens = Tokens(config)

    def token(self) -> str:
        return self._tokens.token()
