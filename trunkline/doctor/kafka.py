"""Kafka: reach, authentication, topics and rights from the metadata; with `probe_topic` by a record, too."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sinks.config import KafkaConfig
from sinks.errors import SinkUnavailable
from trunkline.config import Config
from trunkline.doctor.clocks import check_clock
from trunkline.doctor.findings import Finding, fault, ok, warning

_CONNECT_S = 2.0
_AT_ONCE = 8


def check_kafka(config: Config) -> Iterator[Finding]:
    """Raises `SinkMisconfigured`."""
    if config.kafka is None:
        yield ok("kafka", "not configured")
        return
    from trunkline.kafka_command import connected  # noqa: PLC0415 - the client library, where it is used

    try:
        with connected(config.kafka) as admin:
            yield from _cluster(config.kafka, admin)
        yield from _probe(config.kafka)
    except SinkUnavailable as error:
        said = str(error).removeprefix("kafka: ")
        # Of passwords and permissions the message says what to do.
        hint = "" if "check user" in said or "grant" in said else ": see [kafka], and whether the broker is well"
        yield fault("kafka", f"{said}{hint}")


def _cluster(config: KafkaConfig, admin: Any) -> Iterator[Finding]:
    from sinks.kafka.topics import differences, is_there, planned  # noqa: PLC0415

    began = time.monotonic()
    found = admin.describe_cluster()["brokers"]
    took_ms = 1000 * (time.monotonic() - began)
    addresses = [(one["host"], int(one["port"])) for one in found]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reached = list(pool.map(_reaches, addresses))
    for (host, port), reaches in zip(addresses, reached, strict=True):
        if not reaches:
            yield fault(
                "kafka", f"broker {host}:{port} cannot be reached: see its advertised.listeners, names and firewalls"
            )
    topics = planned(config, len(found))
    absent = [one.name for one in topics if config.create_topics and not is_there(admin, one.name)]
    different = list(differences(admin, [one for one in topics if one.name not in absent]))
    for one in different:
        yield (fault if one.is_fault else warning)("kafka", f"topic {one.topic}: {one.what}")
    fine = len({one.name for one in topics} - {one.topic for one in different} - set(absent))
    made = f", {len(absent)} to be made at the start (create_topics)" if absent else ""
    yield ok(
        "kafka", f"{len(found)} brokers, answer in {took_ms:.1f} ms; {fine} of {len(topics)} topics as planned{made}"
    )


def _probe(config: KafkaConfig) -> Iterator[Finding]:
    if not config.probe_topic:
        yield ok("kafka", "no record was sent, its clock is not measured: [kafka] probe_topic names a topic for it")
        return
    from sinks.kafka.probe import probe  # noqa: PLC0415

    answer = probe(config)
    yield ok("kafka", f"a record to {config.probe_topic} was acknowledged after {1000 * answer.took_s:.1f} ms")
    if answer.ahead_s is None:
        what = f"its clock is not measured: set message.timestamp.type=LogAppendTime for {config.probe_topic}"
        yield ok("kafka", what)
    else:
        yield check_clock("kafka", answer.ahead_s, answer.took_s)


def _reaches(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True
