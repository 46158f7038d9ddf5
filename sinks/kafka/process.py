"""`python -m sinks.kafka.process --fd N`: delivers the spool of the server at the other end of a socket to Kafka.

A process of its own, because the client library is Python: at a thousand calls it wants a core, and the calls have one
interpreter. It holds nothing that the server cannot do without: the server writes the spool and deletes what is
settled, this process reads it. It ends when the server does; where it ends first, the server starts another, which
begins at the oldest entry that is not settled.
"""

import argparse
import json
import logging
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured
from sinks.kafka import wire
from sinks.kafka.client import KafkaClient
from sinks.kafka.lane import Lane
from sinks.kafka.partials import PartialsLane
from sinks.message import Message
from sinks.spool import REFUSED, Spooled, read_entries
from sinks.spool_file import reading
from supervision import Supervisor
from supervision.signals import leave_to_parent

log = logging.getLogger(__name__)

GRACE_S = 2.0
"""For a lane to end after its time is up."""

_LOOK_S = 0.05
_REMEMBERED = 2_000
"""Entries that left, before it is looked which of them the server has deleted."""


class Connection:
    """The socket to the server. `say` may be called from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._input = connection.makefile("rb")
        self._lock = threading.Lock()

    def say(self, message: wire.ToServer) -> None:
        data = wire.frame(message)
        with self._lock:
            self._connection.sendall(data)

    def hear(self) -> object:
        """The next message; None: the server is gone."""
        header = self._input.read(wire.LENGTH.size)
        if len(header) < wire.LENGTH.size:
            return None
        (length,) = wire.LENGTH.unpack(header)
        data = self._input.read(length)
        return wire.to_delivery.decode(data) if len(data) == length else None


class SpoolCopy:
    """What a lane sees of the server's spool: committed entries, and those that the server holds in memory, but for
    what has left already. Thread-safe."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path, self._connection = path, connection
        self._lock = threading.Lock()
        self._readers = threading.local()
        self._held: dict[int, Spooled] = {}
        self._generation = 0
        self._left: set[int] = set()
        self.waiting = 0

    def __len__(self) -> int:
        return self.waiting

    def read(self, topic: str, after: int, limit: int) -> list[Spooled]:
        """As `Spool.read`."""
        with self._lock:
            generation, left = self._generation, set(self._left)  # some are forgotten while the file is read
        found = read_entries(self._reader(), topic, after, limit)
        with self._lock:
            if len(found) < limit and generation == self._generation:
                last = found[-1].id if found else after
                newer = (one for one in self._held.values() if one.entry.topic == topic and one.id > last)
                found += [one for one, _ in zip(newer, range(limit - len(found)), strict=False)]
            return [one for one in found if one.id not in left and one.id not in self._left]

    def settle(self, ids: Iterable[int]) -> None:
        done = list(ids)
        self._leave(done)
        self._connection.say(wire.Settled(done))

    def reject(self, one: int, reason: str = REFUSED) -> None:
        self._leave([one])
        self._connection.say(wire.Rejected(one, reason))

    def redirect(self, one: int, entry: Message) -> None:
        self._leave([one])
        self._connection.say(wire.Redirected(one, entry))

    def hold(self, entries: Iterable[Spooled]) -> None:
        with self._lock:
            self._held |= {one.id: one for one in entries}

    def release(self) -> None:
        with self._lock:
            self._held.clear()
            self._generation += 1

    def _leave(self, ids: Sequence[int]) -> None:
        with self._lock:
            self._left.update(ids)
            for one in ids:
                self._held.pop(one, None)
            if len(self._left) < _REMEMBERED:
                return
            left = self._left - self._held.keys()
        deleted: set[int] = set()
        with suppress(sqlite3.Error):  # then they are remembered for longer
            there = "SELECT id FROM entries WHERE id IN (SELECT value FROM json_each(?))"
            rows = self._reader().execute(there, (json.dumps(list(left)),))
            deleted = left - {one for (one,) in rows}
        with self._lock:
            self._left -= deleted

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._readers.connection = reading(self._path)
        return connection


class Deliverer:
    """All lanes of one configuration."""

    def __init__(self, config: KafkaConfig, connection: Connection) -> None:
        self._connection = connection
        self.supervisor = Supervisor(on_failure=lambda _, __: os._exit(1))  # the server starts another
        self.spool = SpoolCopy(Path(config.spool), connection)
        client = KafkaClient(config)
        letters = config.dead_letters_topic
        topics = dict.fromkeys((config.transcripts_topic, config.events_topic))
        self.lanes = [Lane(topic, self.spool, client, dead_letters=letters) for topic in topics]
        self._letters = [Lane(letters, self.spool, client, lazy=True)] if letters else []
        self._partials: PartialsLane | None = None
        if config.partials_topic:
            self._partials = PartialsLane(config.partials_topic, client, lambda count: connection.say(wire.Room(count)))

    def run(self) -> None:
        """Until the server is gone."""
        for lane in (*self.lanes, *self._letters):
            self.supervisor.thread(lane.run, f"kafka {lane.topic}")
        if self._partials is not None:
            self.supervisor.thread(self._partials.run, f"kafka {self._partials.topic}")
        self.supervisor.thread(self._report, "kafka state")
        while (message := self._connection.hear()) is not None:
            self._take(message)

    def _take(self, message: object) -> None:
        match message:
            case wire.Committed(waiting):
                self.spool.waiting = waiting
                self._look()
            case wire.Held(entries):
                self.spool.hold(entries)
                self._look()
            case wire.Released():
                self.spool.release()
                self._look()
            case wire.Partials(messages):
                if self._partials is not None:
                    self._partials.offer(messages)
            case wire.Stop(within_s, letters):
                self.supervisor.thread(lambda: self._stop(within_s, letters=letters), "kafka stop")

    def _look(self) -> None:
        for lane in (*self.lanes, *self._letters):
            lane.committed()

    def _stop(self, within_s: float, *, letters: bool) -> None:
        by = time.monotonic() + within_s
        ending: list[Lane | PartialsLane] = [*self._letters] if letters else [*self.lanes]
        if self._partials is not None and not letters:
            ending.append(self._partials)
        for lane in ending:
            lane.stop(by)
        for lane in ending:
            lane.ended.wait(max(by - time.monotonic(), 0.0) + GRACE_S)
        self._connection.say(self._state())
        self._connection.say(wire.Ended())

    def _report(self) -> None:
        said, said_s = None, 0.0
        while True:
            state = self._state()
            if state != said or time.monotonic() - said_s >= wire.BEAT_S:
                self._connection.say(state)
                said, said_s = state, time.monotonic()
            time.sleep(_LOOK_S)

    def _state(self) -> wire.State:
        lanes = {
            lane.topic: wire.LaneState(lane.connected, lane.stats.errors) for lane in (*self.lanes, *self._letters)
        }
        if self._partials is None:
            return wire.State(lanes)
        return wire.State(lanes, self._partials.stats.acknowledged, self._partials.stats.dropped)


class _ToServer(logging.Handler):
    """The log is the server's."""

    def __init__(self, connection: Connection, level: int) -> None:
        super().__init__(level)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the server is gone, and so is this process soon
            self._connection.say(wire.Line(record.levelno, record.name, self.format(record)))


def deliver(connection: socket.socket) -> int:
    """Until the server is gone. Exit codes: 0 then, 1 it broke."""
    to_server = Connection(connection)
    begin = to_server.hear()
    if not isinstance(begin, wire.Begin):
        return 1
    logging.basicConfig(level=begin.log_level, format="%(message)s", handlers=[_ToServer(to_server, begin.log_level)])
    try:
        deliverer = Deliverer(begin.config, to_server)
    except SinkMisconfigured as error:  # a certificate that is gone, say: the server has looked at its start
        log.error("%s", error)  # noqa: TRY400
        return 1
    deliverer.run()
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sinks.kafka.process", description="Delivery for one server.")
    parser.add_argument("--fd", type=int, required=True, help="the socket, inherited")
    leave_to_parent()
    status = deliver(socket.socket(fileno=parser.parse_args().fd))
    sys.stderr.flush()
    os._exit(status)  # threads of the client library may wait for a broker for long


if __name__ == "__main__":
    main()
