"""The process under test: a fan-out with the Kafka sink, records at a rate, and a journal of what became of them.

`python -m testing.faults.emitter OPTIONS`, JSON as `Options`. Commands come by standard input, a line each
(`Emitter._command`). The journal is a line an event, each written before or after the code under test is called, by
`write` on a descriptor that appends: a kill loses none. Times are those of the monotonic clock, which processes share.

    up FIRST TIME           the sink is started; records from FIRST on are published
    published N TIME LAG    about to be published; LAG: seconds that its tick of the event loop was late
    committed N TIME        all that this process published up to N are committed to disk
    acknowledged N TIME     the sink says so of N
    publish SECONDS         how long one call of `publish` took
    ended LEFT              closed in order, LEFT records in the spool
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured
from sinks.fanout import FanOut
from sinks.kafka.sink import KafkaSink
from sinks.message import Message
from sinks.record import decode
from sinks.spool import Spooled
from testing.faults import breaking, delivering
from testing.faults.records import record
from testing.faults.schedule import POINTS_OF_SERVER

TICK_S = 0.05
"""Between two batches of one to three records: 40 a second."""

DRAIN_S = 20.0
MISCONFIGURED = 3
"""Exit status where the sink does not start."""


class Options(msgspec.Struct, frozen=True):
    """`first`: the number of the first record. `mutant`: a name from `breaking.MUTANTS`."""

    seed: int
    first: int
    journal: str
    kafka: dict[str, Any]
    mutant: str | None = None


class Emitter:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._journal = os.open(options.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._commands = Path(options.journal + ".commands")
        self._commands.touch()
        program = (sys.executable, "-m", delivering.__name__, str(self._commands), options.mutant or "")
        self._sink = KafkaSink(msgspec.convert(options.kafka, KafkaConfig), program=program)
        self._appended = options.first - 1
        self._large: list[int] = []
        self._stop = asyncio.Event()
        self._numbers: dict[int, int] = {}  # of entries, by id
        self._watch()
        if options.mutant is not None and options.mutant not in breaking.MUTANTS:
            raise ValueError(f"no mutant: {options.mutant}")
        if options.mutant in breaking.OF_SERVER:
            breaking.OF_SERVER[options.mutant](self._sink)

    async def run(self) -> None:
        fan = FanOut([self._sink])
        await fan.start()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop,), daemon=True).start()
        threading.Thread(target=self._follow_commits, daemon=True).start()
        self._say(f"up {self._options.first} {time.monotonic()}")
        n, rng, due = self._options.first, Random(), loop.time()
        while not self._stop.is_set():
            batch = []
            for _ in range(rng.randint(1, 3)):
                batch.append(record(self._options.seed, n, self._large.pop() if self._large else 0))
                self._say(f"published {n} {time.monotonic()} {loop.time() - due:.4f}")
                n += 1
            began = time.perf_counter()
            fan.publish(batch)
            self._say(f"publish {time.perf_counter() - began:.6f}")
            due = max(due, loop.time() - TICK_S) + TICK_S
            await asyncio.sleep(max(due - loop.time(), 0.0))
        await fan.close(DRAIN_S)
        self._say(f"ended {len(self._sink.spool)}")

    def _watch(self) -> None:
        """Write down what is appended and what is settled."""
        spool = self._sink.spool
        append, settle = spool.append, spool.settle
        for topic in spool.topics():
            self._number(spool.read(topic, 0, sys.maxsize))

        def appending(entries: Iterable[Message]) -> None:
            given = list(entries)
            with spool._changed:
                first = spool._next_id
                append(given)
            self._number(Spooled(first + i, one, 0.0) for i, one in enumerate(given))
            self._appended = decode(given[-1].value).seq

        def settling(ids: Iterable[int]) -> None:
            given, at = list(ids), time.monotonic()
            said = [f"acknowledged {self._numbers[one]} {at}" for one in given if one in self._numbers]
            if said:  # others are dead letters on their topic
                self._say("\n".join(said))
            settle(given)

        spool.append, spool.settle = appending, settling  # type: ignore[method-assign]

    def _number(self, entries: Iterable[Spooled]) -> None:
        self._numbers |= {one.id: decode(one.entry.value).seq for one in entries}

    def _follow_commits(self) -> None:
        spool, said = self._sink.spool, self._options.first - 1
        while True:
            appended = self._appended
            if appended > said and spool.flush(1.0) and not spool.degraded:
                said = appended
                self._say(f"committed {said} {time.monotonic()}")
            time.sleep(0.005)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin:
            self._command(loop, *line.split())
        os._exit(1)  # who started it is gone

    def _command(self, loop: asyncio.AbstractEventLoop, name: str, *arguments: str) -> None:
        """`clock SECONDS`, `large CHARACTERS` (the next record), `die METHOD WHEN COUNT WHO`, `orphan` (the
        delivery process dies), `stop`."""
        match name:
            case "clock":
                real, step = time.time, float(arguments[0])
                time.time = lambda: real() + step
            case "large":
                self._large.append(int(arguments[0]))
            case "die":
                self._die(*arguments)
            case "orphan":
                if (pid := self._sink.link.pid) is not None:
                    os.kill(pid, signal.SIGKILL)
            case "stop":
                loop.call_soon_threadsafe(self._stop.set)

    def _die(self, method: str, when: str, count: str, who: str) -> None:
        name = method.removeprefix("spool.")
        if method in POINTS_OF_SERVER:
            breaking.die([self._sink.spool], name, when, int(count), processes=[os.getpid()])
        else:
            with self._commands.open("a") as commands:
                commands.write(f"{method} {when} {count} {who}\n")

    def _say(self, lines: str) -> None:
        os.write(self._journal, lines.encode() + b"\n")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(threadName)s %(name)s %(levelname)s %(message)s")
    options = msgspec.json.decode(sys.argv[1], type=Options)
    Path(options.journal).touch()
    try:
        emitter = Emitter(options)
    except SinkMisconfigured as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400
        return MISCONFIGURED
    asyncio.run(emitter.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
