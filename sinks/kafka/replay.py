"""Dead letters once more to the topics that they were for, from their topic and from the spool's file.

Each is acknowledged before it counts as sent: the topic's offset is committed after it, the file is deleted after its
last line. What is killed in between sends some twice, with the same `event_id`. What is refused again is a dead letter
again, in the file.
"""

from pathlib import Path

from kafka.errors import KafkaError

from sinks.config import KafkaConfig
from sinks.dead_letters import Letter, Replayed, keep_unreadable, taken_letters, write_letters
from sinks.errors import SinkUnavailable
from sinks.kafka.client import BROKEN_RECORD, KafkaClient, Producer
from sinks.kafka.dead_letter import unwrapped
from sinks.message import Message
from sinks.spool import REFUSED

SENT_TIMEOUT_S = 10.0

_QUIET_MS = 3_000
"""A topic that has given nothing for so long is at its end."""


class Replay:
    """Runs once, on one thread. Raises `SinkUnavailable` where Kafka is away: what was not sent stays where it is."""

    def __init__(self, config: KafkaConfig, letters: Path) -> None:
        self._config = config
        self._client = KafkaClient(config)
        self._letters = letters
        self._producers: dict[str, Producer] = {}
        self.done = Replayed()

    def run(self) -> Replayed:
        try:
            self._file()
            if self._config.dead_letters_topic:
                self._topic()
        except (OSError, LookupError, KafkaError) as error:
            raise SinkUnavailable(f"kafka: {error}: {self.done.sent} dead letters were sent, run it again") from error
        finally:
            for producer in self._producers.values():
                self._client.dispose(producer)
        return self.done

    def _file(self) -> None:
        with taken_letters(self._letters, self._keep_unreadable) as letters:
            for letter in letters:
                self._send(letter)

    def _topic(self) -> None:
        topic = self._config.dead_letters_topic
        consumer = self._client.consumer(topic, f"{self._config.client_id}-replay")
        try:
            while batches := consumer.poll(timeout_ms=_QUIET_MS):
                for record in (record for batch in batches.values() for record in batch):
                    message = Message(topic, record.key or b"", record.value or b"", tuple(record.headers))
                    self._send(Letter("", message, record.timestamp / 1000))
                consumer.commit()
        finally:
            consumer.close()

    def _send(self, letter: Letter) -> None:
        message = unwrapped(letter.message) or letter.message
        if message.topic == self._config.dead_letters_topic:
            self._keep_unreadable(message.value)
            return
        producer = self._producers.get(message.topic)
        if producer is None:
            producer = self._producers[message.topic] = self._client.producer(message.topic)
        try:
            future = producer.send(message.topic, key=message.key, value=message.value, headers=list(message.headers))
            future.get(SENT_TIMEOUT_S)
        except BROKEN_RECORD as error:
            write_letters(self._letters, [Letter(f"{REFUSED}: {type(error).__name__}", message, letter.at)])
            self.done.refused += 1
        else:
            self.done.sent += 1

    def _keep_unreadable(self, line: bytes) -> None:
        keep_unreadable(self._letters, line)
        self.done.unreadable += 1
