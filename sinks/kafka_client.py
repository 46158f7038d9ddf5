"""What the sink needs of the client library: reaching a broker, topics, producers, and being rid of one."""

import logging
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
)

from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured

log = logging.getLogger(__name__)

METADATA_WAIT_MS = 3_000
RECONNECT_MAX_MS = 1_000
DISPOSE_S = 1.0

Producer = KafkaProducer
BufferFull = KafkaTimeoutError
"""Raised by `Producer.send` where metadata or room for a record did not come in time."""

REFUSED_FOR_GOOD = (MessageSizeTooLargeError, InvalidRecordError)
"""Errors of a record that no repetition mends."""

_NEVER_MS = 2**31 - 1
"""Records do not expire in the client: with idempotence one that does leaves a producer that sends nothing more."""


class KafkaClient:
    """Makes producers from one configuration. Thread-safe. Raises `SinkMisconfigured` for addresses that are none."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._settings = _client_settings(config)

    def producer(self, topic: str, *, durable: bool = True) -> KafkaProducer:
        """One that knows the topic, which is created first if it is missing and so configured. `durable`: each record
        once, in order, on all replicas in sync. Blocks; raises `OSError` where no broker answers, `LookupError` where
        the topic is not there, `KafkaError`."""
        _reach(self._settings["bootstrap_servers"])
        self._look_up(topic)
        producer = KafkaProducer(
            **self._settings,
            acks="all" if durable else 1,
            enable_idempotence=durable,
            delivery_timeout_ms=_NEVER_MS,
            max_block_ms=METADATA_WAIT_MS,
        )
        try:
            producer.partitions_for(topic)
        except BaseException:
            self.dispose(producer)
            raise
        return producer

    def dispose(self, producer: KafkaProducer) -> None:
        """Be rid of it, whatever it holds. The public close() waits for records that may never be acknowledged."""
        with suppress(Exception):
            producer._sender.force_close()
            producer._sender.join(DISPOSE_S)
        with suppress(KafkaError, AssertionError):
            producer.close(timeout=DISPOSE_S)

    def _look_up(self, topic: str) -> None:
        """By the admin client, because a producer that asks for a missing topic makes the broker create it where the
        broker is set to: the client library does not pass on its setting against that."""
        wanted = {
            "num_partitions": self._config.partitions or -1,
            "replication_factor": self._config.replication_factor or -1,
        }
        admin = KafkaAdminClient(**self._settings)
        try:
            if _is_there(admin, topic):
                return
            if self._config.create_topics:
                with suppress(TopicAlreadyExistsError):  # another server was faster
                    admin.create_topics({topic: wanted}, wait_for_metadata=True)
                    log.info("kafka: created %s", topic)
                if _is_there(admin, topic):
                    return
        finally:
            admin.close()
        raise LookupError(f"topics to be created first: {topic}")


def _is_there(admin: "KafkaAdminClient", topic: str) -> bool:
    return any(not one["error_code"] for one in admin.describe_topics([topic]))


def _reach(servers: Sequence[str]) -> None:
    """Raises `OSError` if none of the servers takes a connection.

    The client library leaves a socket open for every attempt that is refused, so it is not tried in vain.
    """
    problem: OSError | None = None
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=METADATA_WAIT_MS / 1000).close()
        except OSError as error:
            problem = OSError(f"{server}: {error.strerror or error}")
        else:
            return
    if problem is not None:
        raise problem


def _client_settings(config: KafkaConfig) -> dict[str, Any]:
    servers = [server.strip() for server in config.bootstrap_servers.split(",") if server.strip()]
    if not servers or not all(re.fullmatch(r".+:\d{1,5}", server) for server in servers):
        raise SinkMisconfigured(f"kafka: bootstrap_servers must be host:port, not {config.bootstrap_servers!r}")
    settings: dict[str, Any] = {
        "bootstrap_servers": servers,
        "client_id": config.client_id,
        "bootstrap_timeout_ms": METADATA_WAIT_MS,
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "security_protocol": config.security_protocol,
    }
    optional = {
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.sasl_username,
        "sasl_plain_password": config.sasl_password,
        "ssl_cafile": config.tls_ca_file,
    }
    return settings | {name: value for name, value in optional.items() if value is not None}
