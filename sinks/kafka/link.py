"""The server's end of the way to its delivery process: starts it, and starts another where it has ended or hangs.

What the process says is done on the event loop; none of it waits. So is what is said to it: words about the spool are
short, and partials go only as far as it has said that there is room for them.
"""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from sinks.config import KafkaConfig
from sinks.kafka import wire
from sinks.kafka.latest import Latest
from sinks.message import Message
from sinks.record import TranscriptRecord
from sinks.spool import Spool, Spooled
from supervision import Supervisor, cancel_and_wait

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "sinks.kafka.process")

GATHER_S = 0.01
"""Between two messages with partials at least."""

START_S, HANGS_S = 60.0, 10.0
"""A process that says nothing for so long, at first and later, is replaced."""

RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
END_S = 5.0


class DeliveryLink:
    """`run` on the event loop; `committed` from the spool's thread. `deaths`: processes that ended by themselves, or
    were replaced. `pid`: of the present one."""

    def __init__(
        self,
        config: KafkaConfig,
        spool: Spool,
        latest: Latest,
        message: Callable[[TranscriptRecord], Message],
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._config, self._spool, self._latest, self._message = config, spool, latest, message
        self._program = program
        self.deaths = 0
        self.pid: int | None = None
        self._state = wire.State({})
        self._errors = self._acknowledged = self._dropped = 0  # of former processes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[object] | None = None
        self._held_until = 0  # the last entry that the process holds of those that are in memory alone
        self._room = self._sent = 0
        self._sending: asyncio.TimerHandle | None = None
        self._up, self._ended = asyncio.Event(), asyncio.Event()
        self._heard_s = 0.0
        self._hung = self._closing = False

    @property
    def errors(self) -> int:
        """Times that there was no connection to be had, that one was given up, or a process died."""
        return self.deaths + self._errors + sum(one.errors for one in self._state.lanes.values())

    @property
    def lanes(self) -> Mapping[str, wire.LaneState]:
        """By topic, empty while there is no process."""
        return self._state.lanes

    @property
    def partials_acknowledged(self) -> int:
        return self._acknowledged + self._state.partials_acknowledged

    @property
    def partials_dropped(self) -> int:
        return self._dropped + self._state.partials_dropped

    def start(self, supervisor: Supervisor) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = supervisor.keep(self._run(supervisor), "kafka delivery", returns=True)

    def committed(self) -> None:
        """On the spool's thread, after each commit."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._tell, len(self._spool), self._spool.held)

    def offer(self, records: Sequence[TranscriptRecord]) -> None:
        """Each takes the place of the one of its call and segment that waits."""
        self._latest.offer(records)
        self._send_soon()

    async def close(self, by: float) -> None:
        """Have what there is delivered until `by` (monotonic); then the process ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(by - time.monotonic()):
                await self._up.wait()
        self._room = len(self._latest)  # the last ones go at once
        self._send_partials()
        for letters in (False, True):  # the dead letters of the others at last
            await asyncio.to_thread(self._spool.flush, max(by - time.monotonic(), 0.0))
            within_s = max(by - time.monotonic(), 0.0)
            self._ended.clear()
            if self._writer is not None:
                self._say(wire.Stop(within_s, letters))
                with suppress(TimeoutError):
                    async with asyncio.timeout(within_s + END_S):
                        await self._ended.wait()
        self._closing = True
        await cancel_and_wait(self._task)

    async def _run(self, supervisor: Supervisor) -> None:
        delay_s, said = RETRY_FIRST_S, ""
        while not self._closing:
            began = time.monotonic()
            try:
                why = await self._serve()
            except OSError as error:
                why = f"cannot be started: {error}"
            except Exception as error:  # noqa: BLE001 - the next process is another one
                supervisor.fault("kafka delivery", error)
                why = "is not understood"
            self.deaths += 1
            if time.monotonic() - began > HANGS_S:
                delay_s, said = RETRY_FIRST_S, ""
            level = logging.DEBUG if why == said else logging.ERROR
            log.log(level, "kafka: the process that delivers %s; another is started, records wait in the spool", why)
            said = why
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_MAX_S)

    async def _serve(self) -> str:
        """One process, until it ends: why it did."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = (*self._program, "--fd", str(theirs.fileno()))
            try:
                process = await asyncio.to_thread(
                    subprocess.Popen, command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
            except BaseException:
                ours.close()
                raise
        try:
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self.pid = process.pid
            self._say(wire.Begin(self._config, logging.getLogger().getEffectiveLevel()))
            self._tell(len(self._spool), self._spool.held)
            self._up.set()
            watch = asyncio.create_task(self._watch(process))
            try:
                await self._listen(reader)
            finally:
                await cancel_and_wait(watch)
        finally:
            self._forget()
            if not self._closing:  # then it ends by itself
                process.kill()
            await asyncio.to_thread(_reap, process)
        return "hangs" if self._hung else f"has ended (status {process.returncode})"

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Until there is nothing more to hear."""
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (length,) = wire.LENGTH.unpack(await reader.readexactly(wire.LENGTH.size))
                message = wire.to_server.decode(await reader.readexactly(length))
                self._heard_s = time.monotonic()
                self._take(message)

    async def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """End it where it hangs."""
        self._hung, self._heard_s = False, time.monotonic()
        while not self._hung:
            looked_s = time.monotonic()
            await asyncio.sleep(wire.BEAT_S)
            now_s = time.monotonic()
            if now_s - looked_s > 2 * wire.BEAT_S:  # it was this loop that was held up
                self._heard_s = now_s
            self._hung = now_s - self._heard_s > (HANGS_S if self._state.lanes else START_S)
        process.kill()

    def _take(self, message: object) -> None:
        match message:
            case wire.Settled(ids):
                self._spool.settle(ids)
            case wire.Rejected(one, reason):
                self._spool.reject(one, reason)
            case wire.Redirected(one, entry):
                self._spool.redirect(one, entry)
            case wire.Room(count):
                self._room += count
                self._send_soon()
            case wire.State():
                self._state = message
            case wire.Line(level, name, text):
                logging.getLogger(name).log(level, "%s", text)
            case wire.Ended():
                self._ended.set()

    def _tell(self, waiting: int, held: Sequence[Spooled]) -> None:
        if self._writer is None:  # the next process is told all
            return
        if held:
            if fresh := [one for one in held if one.id > self._held_until]:
                self._say(wire.Held(fresh))
                self._held_until = held[-1].id
        elif self._held_until:
            self._say(wire.Released())
            self._held_until = 0
        self._say(wire.Committed(waiting))

    def _send_soon(self) -> None:
        if self._sending is None and self._room and self._latest and self._loop is not None:
            self._sending = self._loop.call_later(GATHER_S, self._send_partials)

    def _send_partials(self) -> None:
        self._sending = None
        if self._writer is None:
            return
        records = self._latest.take(self._room)
        self._room -= len(records)
        self._sent += len(records)
        if records:
            self._say(wire.Partials([self._message(one) for one in records]))

    def _say(self, message: wire.ToDelivery) -> None:
        if self._writer is not None:
            self._writer.write(wire.frame(message))

    def _forget(self) -> None:
        """The process is gone, and the partials that it had with it."""
        if self._writer is not None:
            self._writer.close()
        now, self._state = self._state, wire.State({})
        self._errors += sum(one.errors for one in now.lanes.values())
        self._acknowledged += now.partials_acknowledged
        self._dropped += self._sent - now.partials_acknowledged
        self._writer = self.pid = None
        self._room = self._sent = self._held_until = 0
        self._up.clear()
        self._ended.set()


def _reap(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
