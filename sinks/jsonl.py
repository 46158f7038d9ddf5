"""Records to a file of JSON lines."""

import asyncio
import os
import queue
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from sinks.config import JsonlConfig
from sinks.errors import SinkMisconfigured, SinkUnavailable
from sinks.record import AnyRecord, encode
from supervision import Supervisor

CLOSE_TIMEOUT_S = 5.0


class JsonlSink:
    """Appends one line a record, a batch with one system call, nothing buffered in this process.

    A thread of its own does everything that touches the disk, so a disk that hangs holds up this sink alone, not the
    event loop; the thread is a daemon, so it does not hold up the process's exit either. A batch that a full disk cut
    short is taken back and raised as `SinkUnavailable`; a line left unfinished by a crash is ended when the file is
    opened.
    """

    name = "jsonl"

    def __init__(self, config: JsonlConfig) -> None:
        self._path = config.path
        self._fd = -1
        self._is_file = False
        self.supervisor = Supervisor()
        # At most one job waits: FanOut gives one batch at a time.
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Raises `SinkMisconfigured` if the file cannot be opened for appending."""
        self._thread = self.supervisor.thread(self._work, "sink jsonl")
        try:
            await self._in_thread(self._open)
        except OSError as error:
            if self._fd >= 0:
                self._close()
            self._jobs.put(None)
            raise SinkMisconfigured(f"cannot append to {self._path}: {error.strerror}") from error

    async def write(self, records: Sequence[AnyRecord]) -> None:
        """Returns when the lines are with the operating system."""
        lines = b"".join(encode(record) + b"\n" for record in records)
        try:
            await self._in_thread(lambda: self._append(lines))
        except OSError as error:
            raise SinkUnavailable(f"cannot write to {self._path}: {error.strerror}") from error

    async def reopen(self) -> None:
        """Go on in a file of the configured name, which may be a new one: the former was renamed (logrotate). Raises
        `SinkUnavailable`; the former is written to then."""
        try:
            await self._in_thread(self._reopen)
        except OSError as error:
            raise SinkUnavailable(f"cannot append to {self._path}: {error.strerror}") from error

    async def close(self) -> None:
        """Waits at most 5 s for a disk that hangs."""
        if self._thread is None or self._fd < 0:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._in_thread(self._close)
        except TimeoutError:
            pass
        finally:
            self._jobs.put(None)

    async def _in_thread(self, job: Callable[[], None]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, done))
        await done

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, done = entry
            error: Exception | None = None
            try:
                job()
            except Exception as caught:  # noqa: BLE001 - raised again where the job was given
                error = caught
            try:
                done.get_loop().call_soon_threadsafe(_resolve, done, error)
            except RuntimeError:  # the loop was closed while the disk hung
                return

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        status = os.fstat(self._fd)
        self._is_file = stat.S_ISREG(status.st_mode)
        if self._is_file and status.st_size and not _ends_with_newline(self._path):
            os.write(self._fd, b"\n")

    def _reopen(self) -> None:
        former = self._fd
        try:
            self._open()
        except OSError:
            self._fd = former
            raise
        if former >= 0:
            os.close(former)

    def _append(self, lines: bytes) -> None:
        before = os.fstat(self._fd).st_size
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            if self._is_file:
                os.ftruncate(self._fd, before)
            raise

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1


def _resolve(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():  # cancelled meanwhile
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _ends_with_newline(path: str) -> bool:
    with Path(path).open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
