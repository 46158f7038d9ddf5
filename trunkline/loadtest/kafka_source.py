"""Records read from Kafka. Apart from the other sources, so that only who reads from Kafka loads its client."""

import asyncio
import contextlib
import threading
from functools import partial

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from supervision import Supervisor
from trunkline.errors import ConfigError
from trunkline.loadtest.sources import add_line
from trunkline.loadtest.tally import RecordTally

START_S = 30.0
TOPICS = ("trunkline.transcripts", "trunkline.partials", "trunkline.events")


class KafkaSource:
    """Topics of the Kafka sink, from their present ends on; a thread polls, as the client blocks."""

    def __init__(self, servers: str, tally: RecordTally, topics: tuple[str, ...] = TOPICS) -> None:
        self.title = f"kafka {servers}"
        self._servers, self._topics, self._tally = servers, topics, tally
        self.supervisor = Supervisor()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._thread = self.supervisor.thread(partial(self._poll, loop, ready), "kafka records")
        try:
            await asyncio.wait_for(ready, START_S)
        except TimeoutError as error:
            raise ConfigError(f"kafka at {self._servers} does not answer") from error

    def follow(self, key: str) -> None: ...

    def unfollow(self, key: str) -> None: ...

    async def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5.0)

    def _poll(self, loop: asyncio.AbstractEventLoop, ready: "asyncio.Future[None]") -> None:
        try:
            consumer = KafkaConsumer(bootstrap_servers=self._servers.split(","), enable_auto_commit=False)
        except KafkaError as error:
            loop.call_soon_threadsafe(_settle, ready, f"kafka at {self._servers}: {error}")
            return
        with contextlib.closing(consumer):
            fault = self._begin_at_the_ends(consumer)
            loop.call_soon_threadsafe(_settle, ready, fault)
            while fault is None and not self._stop.is_set():
                for messages in consumer.poll(timeout_ms=200).values():
                    for message in messages:
                        loop.call_soon_threadsafe(add_line, self._tally, message.value)

    def _begin_at_the_ends(self, consumer: KafkaConsumer) -> str | None:
        """What is wrong, or None."""
        try:
            known = {topic: consumer.partitions_for_topic(topic) or () for topic in self._topics}
            found = [TopicPartition(topic, partition) for topic, numbers in known.items() for partition in numbers]
            if not found:
                return f"kafka at {self._servers} has none of the topics {', '.join(self._topics)}"
            consumer.assign(found)
            consumer.seek_to_end(*found)
            for partition in found:
                consumer.position(partition)
        except KafkaError as error:
            return f"kafka at {self._servers}: {error}"
        return None


def _settle(ready: "asyncio.Future[None]", fault: str | None) -> None:
    if ready.done():
        return
    if fault is None:
        ready.set_result(None)
    else:
        ready.set_exception(ConfigError(fault))
