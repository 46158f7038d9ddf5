"""Brokers for schedules, kept over many of them, and what is done to them from outside."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError

from testing.faults.schedule import TOPIC_MAX_BYTES, Fault, Kind
from testing.services.kafka_broker import KafkaBroker, KafkaCluster

MECHANISM, PASSWORD = "SCRAM-SHA-256", "emitters-password"
PARTITIONS = 3
PATIENCE_S = 120.0
"""For a broker that is asked something: it may be frozen."""

_SECURED = {
    "auto.create.topics.enable": "false",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "true",
    "sasl.enabled.mechanisms": MECHANISM,
    "listener.name.sasl.scram-sha-256.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "connections.max.reauth.ms": "3000",
}
"""Whoever is deleted loses his running connections within three seconds."""


class World:
    """One broker with SCRAM and rights, where a topic that was deleted stays deleted. `cluster`: three without, where
    whoever asks for a topic makes it. Emitters get a user and topics of their own."""

    def __init__(self, *, cluster: bool) -> None:
        self.cluster = cluster
        self._cluster = KafkaCluster() if cluster else None
        self._broker = None if cluster else KafkaBroker(_SECURED, listeners={"SASL": "SASL_PLAINTEXT"})
        self._brokers = self._cluster.brokers if self._cluster else [self._broker] if self._broker else []

    def start(self) -> None:
        """Raises `ServiceMissing`."""
        for one in self._brokers:
            one.start(wait=False)
        for one in self._brokers:
            one.wait_ready()

    def remove(self) -> None:
        for one in self._brokers:
            one.remove()

    @property
    def bootstrap(self) -> str:
        """For whoever counts: without credentials, with all rights."""
        return ",".join(one.bootstrap for one in self._brokers)

    def settings(self, user: str) -> dict[str, Any]:
        """Of an emitter's sink."""
        if self._broker is None:
            return {"bootstrap_servers": self.bootstrap}
        return {
            "bootstrap_servers": self._broker.address("SASL"),
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": MECHANISM,
            "sasl_username": user,
            "sasl_password": PASSWORD,
        }

    def create(self, *topics: str, max_bytes: int = TOPIC_MAX_BYTES) -> None:
        """Returns when they are there. Blocks, as all below, until the broker answers."""
        wanted = {
            "num_partitions": PARTITIONS,
            "replication_factor": 3 if self.cluster else 1,
            "configs": {"max.message.bytes": str(max_bytes)},
        }

        def create(admin: KafkaAdminClient) -> None:
            missing = set(topics) - set(admin.list_topics())
            if missing:
                admin.create_topics(dict.fromkeys(missing, wanted), wait_for_metadata=True)

        self._insist(create)

    def delete(self, *topics: str) -> None:
        """Returns when they are gone."""

        def delete(admin: KafkaAdminClient) -> None:
            there = set(topics) & set(admin.list_topics())
            if there:
                admin.delete_topics(list(there))
                raise _NotYetError

        self._insist(delete)

    def add_user(self, user: str) -> None:
        if not self.cluster:
            added = UserScramCredentialUpsertion(user, MECHANISM, PASSWORD)
            self._insist(lambda admin: admin.alter_user_scram_credentials([added]))

    def remove_user(self, user: str) -> None:
        removed = UserScramCredentialDeletion(user, MECHANISM)
        self._insist(lambda admin: admin.alter_user_scram_credentials([removed]))

    def deny(self, user: str, topic: str) -> None:
        """To write, and with it all that no rule allows, from now on."""
        denied = ACL(f"User:{user}", "*", ACLOperation.WRITE, ACLPermissionType.DENY, _pattern(topic))
        self._insist(lambda admin: admin.create_acls([denied]))

    def permit(self, user: str, topic: str) -> None:
        denied = ACLFilter(f"User:{user}", "*", ACLOperation.WRITE, ACLPermissionType.DENY, _pattern(topic))
        self._insist(lambda admin: admin.delete_acls([denied]))

    def _insist(self, request: Callable[[Any], object]) -> None:
        """Repeat an idempotent request of an administrator until the broker has done it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                admin = KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","), bootstrap_timeout_ms=2_000)
                try:
                    request(admin)
                finally:
                    admin.close()
            except (KafkaError, OSError, _NotYetError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    async def suffer(self, fault: Fault) -> None:
        """A fault of the brokers, from its beginning to its end: they answer again."""
        if fault.kind is Kind.BROKER_FROZEN:
            self._brokers[0].signal(signal.SIGSTOP)
            await asyncio.sleep(fault.for_s)
            self._brokers[0].signal(signal.SIGCONT)
            return
        one, stop = self._brokers[0], self._brokers[0].kill
        if fault.kind is Kind.LEADER_RESTARTED:
            node, _, number = fault.detail.partition(":")
            one = self._brokers[int(node) - 1]
            stop = one.kill if number == "SIGKILL" else one.stop
        await asyncio.to_thread(stop)
        await asyncio.sleep(fault.for_s)
        await asyncio.to_thread(one.start)


class _NotYetError(Exception):
    """It was asked for and is not seen to be done."""


def _pattern(topic: str) -> ResourcePattern:
    return ResourcePattern(ResourceType.TOPIC, topic)
