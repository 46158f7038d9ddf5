"""The topics: how they are to be, making them, and what differs from it where somebody else made them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from sinks.config import KafkaConfig

log = logging.getLogger(__name__)

REPLICAS = 3
"""Of each partition, where there are so many brokers and `replication_factor` does not say otherwise."""

RECORD_BYTES = 1_048_588
"""Kafka's own limit of a message; START and END of a call can come near what is much below."""

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Topic:
    """How a topic is to be. `settings`: by Kafka's names."""

    name: str
    partitions: int
    replication_factor: int
    settings: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """`is_fault`: records cannot be delivered, or may be lost; otherwise it is worth knowing. `what`: one line, with
    what to do."""

    topic: str
    is_fault: bool
    what: str


def planned(config: KafkaConfig, brokers: int) -> list[Topic]:
    """The topics of this configuration, on a cluster of so many brokers."""
    replicas = config.replication_factor or min(REPLICAS, brokers)
    in_sync = config.min_insync_replicas or max(replicas - 1, 1)
    topics: list[Topic] = []
    for name, hours in (
        (config.transcripts_topic, config.retention_h),
        (config.events_topic, config.retention_h),
        (config.partials_topic, config.partials_retention_h),
        (config.dead_letters_topic, config.retention_h),
    ):
        settings = {
            "cleanup.policy": "delete",
            "min.insync.replicas": str(in_sync),
            "retention.ms": str(round(hours * _HOUR_MS)),
        }
        if name and all(name != topic.name for topic in topics):
            topics.append(Topic(name, config.partitions, replicas, settings))
    return topics


def create(admin: KafkaAdminClient, topics: Sequence[Topic]) -> None:
    """Make them, and wait until each has its leaders. Raises `KafkaError`, also for one that is there."""
    wanted = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication_factor,
            "configs": topic.settings,
        }
        for topic in topics
    }
    admin.create_topics(wanted, wait_for_metadata=True)


def look_up(admin: KafkaAdminClient, topic: str, config: KafkaConfig) -> None:
    """See that the topic is there; where it is missing and so configured, make all that are. Raises `LookupError`,
    `KafkaError`.

    By the admin client, because a producer that asks for a missing topic makes the broker create it where the broker
    is set to: the client library does not pass on its setting against that.
    """
    if is_there(admin, topic):
        return
    if config.create_topics:
        for missing in (one for one in planned(config, brokers(admin)) if not is_there(admin, one.name)):
            with suppress(TopicAlreadyExistsError):  # another lane, or another server, was faster
                create(admin, [missing])
                log.info("kafka: created %s", missing.name)
        if is_there(admin, topic):
            return
    raise LookupError(f"topics to be created first: {topic}")


def brokers(admin: KafkaAdminClient) -> int:
    """How many the cluster has."""
    return len(admin.describe_cluster()["brokers"])


def is_there(admin: KafkaAdminClient, topic: str) -> bool:
    """Raises `PermissionError` where this user may not know."""
    (found,) = admin.describe_topics([topic])
    if found["error_code"] == TopicAuthorizationFailedError.errno:
        raise PermissionError(f"no permission for topic {topic}: grant Describe and Write to this user")
    return not found["error_code"]


def differences(admin: KafkaAdminClient, topics: Sequence[Topic]) -> Iterator[Difference]:
    """Between how the topics are to be and how they are, in the order of the topics. Raises `KafkaError`."""
    there = {one["name"]: one for one in admin.describe_topics([topic.name for topic in topics])}
    known = [topic.name for topic in topics if not there[topic.name]["error_code"]]
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in known]
    settings = admin.describe_configs(resources, config_filter="all").get("topic", {}) if resources else {}
    for topic in topics:
        found = there[topic.name]
        if found["error_code"]:
            yield Difference(topic.name, True, _why_absent(found["error_code"]))
            continue
        if "WRITE" not in found["authorized_operations"]:
            yield Difference(topic.name, True, "this user may not write to it: grant Write")
        partitions = found["partitions"]
        replicas = min(len(partition["replica_nodes"]) for partition in partitions)
        yield from _of_partitions(topic, partitions, replicas)
        values = {name: value["value"] for name, value in settings.get(topic.name, {}).items()}
        if not values:
            yield Difference(
                topic.name, False, "its settings cannot be read: grant DescribeConfigs to have them checked"
            )
        yield from _of_settings(topic, values, replicas)


def _why_absent(code: int) -> str:
    if code == TopicAuthorizationFailedError.errno:
        return "this user may not see it: grant Describe and Write"
    error = for_code(code)
    if error.__name__ == "UnknownTopicOrPartitionError":
        return "it is missing: run `trunkline kafka init`"
    return f"the broker says {error.__name__}"


def _of_partitions(topic: Topic, partitions: Sequence[dict[str, object]], replicas: int) -> Iterator[Difference]:
    leaderless = [one["partition_index"] for one in partitions if one["error_code"] or one["leader_id"] == -1]
    if leaderless:
        yield Difference(topic.name, True, f"partitions {leaderless} have no leader: look after its brokers")
    if len(partitions) != topic.partitions:
        what = f"it has {len(partitions)} partitions, not {topic.partitions}: adding some moves calls between them"
        yield Difference(topic.name, False, what)
    if replicas < topic.replication_factor:
        what = f"it has {replicas} replicas, not {topic.replication_factor}: reassign its partitions"
        yield Difference(topic.name, False, what)


def _of_settings(topic: Topic, values: dict[str, str], replicas: int) -> Iterator[Difference]:
    largest = int(values.get("max.message.bytes", RECORD_BYTES))
    if largest < RECORD_BYTES:
        what = f"max.message.bytes is {largest}: larger records become dead letters: set {RECORD_BYTES} or more"
        yield Difference(topic.name, False, what)
    for name, wanted in topic.settings.items():
        value = values.get(name, wanted)
        if name == "cleanup.policy" and "compact" in value:
            what = f"{name} is {value}: compaction keeps the last record of a call and deletes all others: set {wanted}"
            yield Difference(topic.name, True, what)
        elif name == "min.insync.replicas" and int(value) > replicas:
            what = f"{name} is {value} with {replicas} replicas: nothing can be written: set {wanted}"
            yield Difference(topic.name, True, what)
        elif value != wanted:
            yield Difference(topic.name, False, f"{name} is {value}, not {wanted}")
