"""What a lane sees of the spool from another process."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.kafka.process import Connection, SpoolCopy
from sinks.kafka.wire import LENGTH, Redirected, Rejected, Settled, ToServer, to_server
from sinks.message import Message
from sinks.spool import Spool, Spooled
from supervision import Supervisor


def message(number: int, topic: str = "finals") -> Message:
    return Message(topic, b"call", b"%d" % number, (("type", b"transcript"),))


def heard(server: socket.socket) -> ToServer:
    (length,) = LENGTH.unpack(server.recv(LENGTH.size, socket.MSG_WAITALL))
    return to_server.decode(server.recv(length, socket.MSG_WAITALL))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(
        tmp_path / "spool", max_bytes=1 << 20, max_age_s=1e6, on_committed=lambda: None, supervisor=Supervisor()
    )
    made.start()
    made.append(message(k) for k in range(1, 6))
    assert made.flush(10)
    yield made
    made.stop()


@pytest.fixture
def server() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_has_left_is_not_read_again_and_the_server_is_told(
    spool: Spool, server: tuple[socket.socket, socket.socket]
) -> None:
    copy = SpoolCopy(spool.path, Connection(server[1]))
    assert copy.read("finals", 0, 10) == spool.read("finals", 0, 10)
    copy.settle([1, 3])
    copy.reject(2, "refused: too large")
    copy.redirect(4, message(4, "letters"))
    assert [one.id for one in copy.read("finals", 0, 10)] == [5]
    assert [heard(server[0]) for _ in range(3)] == [
        Settled([1, 3]),
        Rejected(2, "refused: too large"),
        Redirected(4, message(4, "letters")),
    ]


def test_entries_in_memory_follow_those_on_disk_and_none_comes_twice(
    spool: Spool, server: tuple[socket.socket, socket.socket]
) -> None:
    copy = SpoolCopy(spool.path, Connection(server[1]))
    copy.hold([Spooled(k, message(k), 0.0) for k in (4, 5, 6, 7)])  # the disk has taken some of them meanwhile
    copy.hold([Spooled(8, message(8, "events"), 0.0)])
    assert [one.id for one in copy.read("finals", 0, 10)] == [1, 2, 3, 4, 5, 6, 7]
    assert [one.id for one in copy.read("finals", 0, 6)] == [1, 2, 3, 4, 5, 6]
    assert [one.id for one in copy.read("finals", 6, 10)] == [7]
    assert [one.id for one in copy.read("events", 0, 10)] == [8]
    copy.settle([7, 8])
    assert set(copy._held) == {4, 5, 6}  # what has left takes no memory while the disk refuses
    copy.release()
    assert [one.id for one in copy.read("finals", 0, 10)] == [1, 2, 3, 4, 5]
