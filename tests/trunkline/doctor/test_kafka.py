"""The Kafka check, with a broker that knows users, and what each may do."""

import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from sinks.config import KafkaConfig
from sinks.kafka.topics import create, planned
from testing.services.kafka_broker import KafkaBroker
from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports
from tests.services.missing import missing
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config
from trunkline.doctor.findings import Level
from trunkline.doctor.kafka import check_kafka

USER, PASSWORD = "alice", "s3cret-of-alice"


class Broker:
    """Listens for `alice` (SASL), and without a password for who may do everything."""

    def __init__(self) -> None:
        self.broker = KafkaBroker(
            {
                "sasl.enabled.mechanisms": "SCRAM-SHA-256",
                "listener.name.sasl.scram-sha-256.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            },
            listeners={"SASL": "SASL_PLAINTEXT"},
            scram={USER: PASSWORD},
        )
        self.broker.start()
        self.admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)

    def config(self, **changed: Any) -> KafkaConfig:
        name = f"test-{uuid.uuid4()}"
        topics = {f"{kind}_topic": f"{name}.{kind}" for kind in ("transcripts", "events", "partials", "dead_letters")}
        settings: dict[str, Any] = {"bootstrap_servers": self.broker.bootstrap, "partitions": 1}
        return KafkaConfig(**settings | topics | changed)

    def with_topics(self, **changed: Any) -> KafkaConfig:
        config = self.config(**changed)
        create(self.admin, planned(config, 1))
        return config

    def of_alice(self, password: str = PASSWORD, **changed: Any) -> KafkaConfig:
        user = {"sasl_mechanism": "SCRAM-SHA-256", "sasl_username": USER, "sasl_password": password}
        changed |= {"bootstrap_servers": self.broker.address("SASL"), "security_protocol": "SASL_PLAINTEXT"}
        return self.with_topics(**user, **changed)

    def grant(self, operation: ACLOperation, topic: str) -> None:
        pattern = ResourcePattern(ResourceType.TOPIC, topic)
        self.admin.create_acls([ACL(f"User:{USER}", "*", operation, ACLPermissionType.ALLOW, pattern)])

    def probe_topic(self, stamps: str) -> str:
        name = f"probe-{uuid.uuid4()}"
        topic = {"num_partitions": 1, "replication_factor": 1, "configs": {"message.timestamp.type": stamps}}
        self.admin.create_topics({name: topic}, wait_for_metadata=True)
        return name


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    try:
        made = Broker()
    except ServiceMissing as error:
        missing(str(error))
    yield made
    made.admin.close()
    made.broker.remove()


def check(config: KafkaConfig) -> list[Any]:
    return list(check_kafka(Config(kafka=config)))


def test_topics_as_planned_and_nothing_sent(broker: Broker) -> None:
    found = check(broker.with_topics())
    assert all_ok(found)
    assert found[0].what.startswith("1 brokers, answer in ")
    assert found[0].what.endswith("; 4 of 4 topics as planned")
    assert "its clock is not measured: [kafka] probe_topic" in found[1].what


def test_topics_that_are_missing(broker: Broker) -> None:
    config = broker.config()
    found = check(config)
    assert sum("it is missing: run `trunkline kafka init`" in finding.what for finding in found) == 4
    assert {finding.level for finding in found[:4]} == {Level.FAULT}
    made = check(broker.config(create_topics=True))
    assert all_ok(made)
    assert made[0].what.endswith("0 of 4 topics as planned, 4 to be made at the start (create_topics)")


def test_topics_that_differ(broker: Broker) -> None:
    config = broker.with_topics()
    names = {name: getattr(config, name) for name in config.__struct_fields__ if name.endswith("_topic")}
    found = check(broker.config(**names, retention_h=1.0))
    assert sum(finding.level is Level.WARNING for finding in found) == 3
    assert "retention.ms is 604800000, not 3600000" in found[0].what


def test_a_record_to_the_probe_topic_tells_the_clock(broker: Broker) -> None:
    found = check(broker.with_topics(probe_topic=broker.probe_topic("LogAppendTime")))
    assert all_ok(found)
    assert " was acknowledged after " in found[1].what
    assert found[2].what.startswith("its clock is 0.")


def test_a_probe_topic_without_the_brokers_clock(broker: Broker) -> None:
    found = check(broker.with_topics(probe_topic=broker.probe_topic("CreateTime")))
    assert all_ok(found)
    assert "set message.timestamp.type=LogAppendTime" in found[2].what


def test_a_probe_topic_that_is_missing(broker: Broker) -> None:
    one(check(broker.with_topics(probe_topic="of-nobody")), Level.FAULT, "topics to be created first: of-nobody")


def test_a_wrong_password(broker: Broker) -> None:
    found = one(check(broker.of_alice("another-s3cret")), Level.FAULT, "check user and password")
    assert "another-s3cret" not in found.what


def test_a_user_without_rights(broker: Broker) -> None:
    config = broker.of_alice()
    found = check(config)
    assert sum("this user may not see it: grant Describe and Write" in finding.what for finding in found) == 4
    topic = config.transcripts_topic
    broker.grant(ACLOperation.DESCRIBE, topic)
    one(check(config), Level.FAULT, f"topic {topic}: this user may not write to it: grant Write")
    broker.grant(ACLOperation.WRITE, topic)
    one(check(config), Level.WARNING, f"topic {topic}: its settings cannot be read: grant DescribeConfigs")


def test_a_broker_that_says_an_address_where_it_is_not(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.doctor.kafka._reaches", lambda _: False)
    one(check(broker.with_topics()), Level.FAULT, "cannot be reached: see its advertised.listeners")


def test_a_broker_that_is_away() -> None:
    away = f"127.0.0.1:{free_ports(1)[0]}"
    found = check(KafkaConfig(bootstrap_servers=away))
    assert [finding.what for finding in found] == [
        f"{away}: Connection refused: see [kafka], and whether the broker is well"
    ]


def test_a_server_that_is_no_broker() -> None:
    """It takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        one(check(KafkaConfig(bootstrap_servers=where)), Level.FAULT, f"{where}: Request timed out")


def test_none() -> None:
    assert [finding.what for finding in check_kafka(Config())] == ["not configured"]
