"""A lane over a producer that does what the real one does in races: without a broker."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from kafka.errors import MessageSizeTooLargeError

from sinks.kafka.client import KafkaClient
from sinks.kafka.lane import Lane
from sinks.message import Message
from sinks.spool import Spool
from supervision import Supervisor


class Sent:
    """A record's future."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.succeed: Callable[[object], None]
        self.fail: Callable[[Exception], None]

    def add_callback(self, callback: Callable[[object], None]) -> None:
        self.succeed = callback

    def add_errback(self, callback: Callable[[Exception], None]) -> None:
        self.fail = callback


class Refusing:
    """Client and producer in one. A broker that finds a record too large ends an idempotent producer, which then fails
    all that it holds with the same error, the records before that one as well."""

    def __init__(self, too_large: bytes) -> None:
        self._too_large = too_large
        self._held: list[Sent] = []
        self.arrived: list[bytes] = []

    def producer(self, topic: str) -> "Refusing":
        self._held = []
        return self

    def halt(self, producer: object) -> None:
        pass

    def dispose(self, producer: object) -> None:
        pass

    def send(self, topic: str, *, value: bytes, **of_message: Any) -> Sent:
        self._held.append(Sent(value))
        return self._held[-1]

    def answer(self) -> None:
        held, self._held = self._held, []
        if any(sent.value == self._too_large for sent in held):
            for sent in held:
                sent.fail(MessageSizeTooLargeError())
        else:
            for sent in held:
                self.arrived.append(sent.value)
                sent.succeed(None)


def test_a_refusal_that_the_client_gives_to_all_it_holds_is_believed_of_the_one_record_alone(tmp_path: Path) -> None:
    client = Refusing(b"5")
    supervisor = Supervisor()
    spool = Spool(
        tmp_path / "spool", max_bytes=1 << 20, max_age_s=1e6, on_committed=lambda: None, supervisor=supervisor
    )
    spool.start()
    spool.append(Message("finals", b"call", b"%d" % k, ()) for k in range(10))
    assert spool.flush(10)
    lane = Lane("finals", spool, cast(KafkaClient, client))
    supervisor.thread(lane.run, "lane")
    deadline = time.monotonic() + 30
    while len(spool) and time.monotonic() < deadline:
        time.sleep(0.02)
        client.answer()
    lane.stop(time.monotonic() + 5)
    lane.ended.wait(10)
    spool.stop()
    assert [json.loads(line)["value"] for line in spool.dead_letters.read_text().splitlines()] == ["5"]
    assert list(dict.fromkeys(client.arrived)) == [b"%d" % k for k in range(10) if k != 5]
