"""What is done to the code under test from outside: death at a point, and mutants. The server's part of it is done in
the emitter's process, the other in its delivery process (`delivering`)."""

import itertools
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sinks.kafka.client import Producer
from sinks.kafka.lane import Lane
from sinks.kafka.process import Deliverer, SpoolCopy
from sinks.kafka.sink import KafkaSink
from sinks.spool import Spooled


def die(owners: Sequence[object], name: str, when: str, count: int, *, processes: Sequence[int]) -> None:
    """kill -9 of `processes`, the present one at last, before or after (`when`) the `count`-th call of a method from
    now, of whichever owner. A method that lives as long as its owner must not be one of them."""
    calls = itertools.count(1)

    def deadly(method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            last = next(calls) == count
            if last and when == "before":
                _kill(processes)
            done = method(*arguments)
            if last:
                if isinstance(done, Iterable):
                    done = list(done)  # a generator runs first
                _kill(processes)
            return done

        return called

    for owner in owners:
        setattr(owner, name, deadly(getattr(owner, name)))


def _kill(processes: Sequence[int]) -> None:
    for pid in processes:
        os.kill(pid, signal.SIGKILL)


def _without_fsync(sink: KafkaSink) -> None:
    sink.spool._database.execute("PRAGMA synchronous = OFF")


def _settled_when_sent(deliverer: Deliverer) -> None:
    for lane in deliverer.lanes:
        setattr(lane, "_send", _settling(lane, deliverer.spool))  # noqa: B010 - mypy knows the method's exact type


def _settling(lane: Lane, spool: SpoolCopy) -> Callable[[Producer, Spooled], None]:
    send = lane._send

    def called(producer: Producer, one: Spooled) -> None:
        spool.settle([one.id])
        send(producer, one)

    return called


def _neighbours_swapped(deliverer: Deliverer) -> None:
    read = deliverer.spool.read

    def called(topic: str, after: int, limit: int) -> list[Spooled]:
        found = read(topic, after, limit)
        for i in range(1, len(found), 2):  # a record of the same call would do; of others it is none
            found[i - 1], found[i] = found[i], found[i - 1]
        return found

    deliverer.spool.read = called  # type: ignore[method-assign]


OF_SERVER: dict[str, Callable[[KafkaSink], None]] = {"no fsync": _without_fsync}
OF_DELIVERY: dict[str, Callable[[Deliverer], None]] = {
    "deleted before it is acknowledged": _settled_when_sent,
    "two swapped": _neighbours_swapped,
}
MUTANTS = (*OF_SERVER, *OF_DELIVERY)
"""Faults put into the code under test, which the schedules must find."""
