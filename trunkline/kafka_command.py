"""`trunkline kafka`: make the topics, compare them with the configuration, send dead letters again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from sinks.config import KafkaConfig
from sinks.errors import SinkUnavailable
from sinks.kafka.client import KafkaClient
from sinks.kafka.replay import Replay
from sinks.kafka.topics import brokers, create, differences, is_there, planned
from sinks.spool_file import letters_of


def init(config: KafkaConfig) -> int:
    """Make what is missing. Returns the exit code, as the others do; they raise `SinkError`."""
    with connected(config) as admin:
        for topic in planned(config, brokers(admin)):
            if is_there(admin, topic.name):
                print(f"{topic.name}: is there")
                continue
            create(admin, [topic])
            settings = ", ".join(f"{name}={value}" for name, value in topic.settings.items())
            copies = f"{topic.partitions} partitions, {topic.replication_factor} replicas"
            print(f"{topic.name}: made, {copies}, {settings}")
    return 0


def check(config: KafkaConfig) -> int:
    """Say what differs; 1 where records cannot be delivered."""
    with connected(config) as admin:
        topics = planned(config, brokers(admin))
        found = list(differences(admin, topics))
    for topic in topics:
        own = [one for one in found if one.topic == topic.name]
        for one in own:
            print(f"{one.topic}: {'fault' if one.is_fault else 'warning'}: {one.what}")
        if not own:
            print(f"{topic.name}: ok")
    return int(any(one.is_fault for one in found))


def replay_dead_letters(config: KafkaConfig) -> int:
    """Send them again; 1 where some are dead letters still."""
    done = Replay(config, letters_of(Path(config.spool))).run()
    print(f"{done.sent} sent, {done.refused} refused again, {done.unreadable} unreadable")
    return int(bool(done.refused or done.unreadable))


PARTS = {"init": init, "check": check, "replay-dead-letters": replay_dead_letters}


@contextmanager
def connected(config: KafkaConfig) -> Iterator[KafkaAdminClient]:
    """Raises `SinkError`, also for what goes wrong while it is used."""
    try:
        with KafkaClient(config).admin() as admin:
            yield admin
    except (OSError, KafkaError) as error:
        raise SinkUnavailable(f"kafka: {error}") from error
