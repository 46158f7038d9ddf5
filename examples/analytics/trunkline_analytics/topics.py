"""Reading the topics: settings of the client, and its errors as one line."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from sinks.addresses import broker_addresses
from sinks.config import KafkaConfig
from trunkline_analytics.errors import BadSource, KafkaFailed

SCHEME = "kafka://"
BOOTSTRAP_MS = 10_000
QUIET_S = 60.0
"""A broker that has told of more records and then gives none for so long is given up."""


def with_address(config: KafkaConfig | None, address: str | None) -> KafkaConfig:
    """The section [kafka] of the configuration with these servers, where they are given: HOST:PORT[,HOST:PORT], also
    behind kafka://. Raises `BadSource`."""
    if address is None:
        if config is None:
            raise BadSource("which broker? Name it as HOST:PORT or set [kafka] bootstrap_servers")
        return config
    if "@" in address:
        raise BadSource("a broker is named without user and password: set [kafka] sasl_username and sasl_password")
    servers = address.removeprefix(SCHEME).rstrip("/")
    try:
        broker_addresses(servers)
    except ValueError as error:
        raise BadSource(f"{address} is no broker: write HOST:PORT[,HOST:PORT]") from error
    if config is None:
        return KafkaConfig(bootstrap_servers=servers)
    return msgspec.structs.replace(config, bootstrap_servers=servers)


def topics(config: KafkaConfig) -> tuple[str, ...]:
    """Those of the records; the partials' may have no name."""
    return tuple(filter(None, (config.transcripts_topic, config.partials_topic, config.events_topic)))


@contextmanager
def consumer(config: KafkaConfig, **settings: Any) -> Iterator[Any]:
    """A `KafkaConsumer` that begins at the earliest record and commits nothing by itself. Raises `KafkaFailed`."""
    optional = {
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.sasl_username,
        "sasl_plain_password": config.sasl_password,
        "ssl_cafile": config.tls_ca_file,
    }
    log = logging.getLogger("kafka")
    log.setLevel(logging.CRITICAL)  # what goes wrong here is in the error, once
    try:
        client = KafkaConsumer(
            bootstrap_servers=config.bootstrap_servers.split(","),
            client_id=f"{config.client_id}-analytics",
            security_protocol=config.security_protocol,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            **{name: value for name, value in optional.items() if value is not None},
            **settings,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise KafkaFailed(
            f"kafka at {config.bootstrap_servers} does not answer: {error or type(error).__name__}"
        ) from error
    log.setLevel(logging.ERROR)
    try:
        yield client
    except KafkaError as error:
        raise KafkaFailed(f"kafka at {config.bootstrap_servers}: {error or type(error).__name__}") from error
    finally:
        client.close(autocommit=False)


def known_partitions(client: Any, names: Sequence[str]) -> list[TopicPartition]:
    """Of the topics that there are."""
    return [
        TopicPartition(name, number) for name in names for number in sorted(client.partitions_for_topic(name) or ())
    ]
