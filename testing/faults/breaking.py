"""What is done to the code under test from outside, in the emitter's process: death at a point, and mutants."""

import itertools
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from sinks.kafka.client import Producer
from sinks.kafka.lane import Lane
from sinks.kafka.sink import KafkaSink
from sinks.spool import Spool, Spooled


def die(sink: KafkaSink, point: str, when: str, count: int) -> None:
    """kill -9 of this process before or after (`when`) the `count`-th call of a method from now: `spool.NAME`, or
    `lane.NAME` of whichever lane. A lane's method that lives as long as the lane must not be one of them."""
    owner, _, name = point.partition(".")
    calls = itertools.count(1)

    def deadly(of: object) -> Callable[..., Any]:
        method = getattr(of, name)

        def called(*arguments: Any) -> Any:
            last = next(calls) == count
            if last and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            done = method(*arguments)
            if last:
                if isinstance(done, Iterable):
                    done = list(done)  # a generator runs first
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return called

    for of in (sink.spool,) if owner == "spool" else sink.lanes:
        setattr(of, name, deadly(of))


def _without_fsync(sink: KafkaSink) -> None:
    sink.spool._database.execute("PRAGMA synchronous = OFF")


def _settled_when_sent(sink: KafkaSink) -> None:
    for lane in sink.lanes:
        setattr(lane, "_send", _settling(lane, sink.spool))  # noqa: B010 - mypy knows the method's exact type


def _settling(lane: Lane, spool: Spool) -> Callable[[Producer, Spooled], None]:
    send = lane._send

    def called(producer: Producer, one: Spooled) -> None:
        spool.settle([one.id])
        send(producer, one)

    return called


def _neighbours_swapped(sink: KafkaSink) -> None:
    read = sink.spool.read

    def called(topic: str, after: int, limit: int) -> list[Spooled]:
        found = read(topic, after, limit)
        for i in range(1, len(found), 2):  # a record of the same call would do; of others it is none
            found[i - 1], found[i] = found[i], found[i - 1]
        return found

    sink.spool.read = called  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[KafkaSink], None]] = {
    "no fsync": _without_fsync,
    "deleted before it is acknowledged": _settled_when_sent,
    "two swapped": _neighbours_swapped,
}
"""Faults put into the code under test, which the schedules must find."""
