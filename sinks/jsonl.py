"""Records to a file of JSON lines: the thread that writes it, and what the event loop sees of it."""

import asyncio
import errno
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from sinks.config import JsonlConfig
from sinks.delivery import Delivery
from sinks.errors import SinkMisconfigured, SinkUnavailable
from sinks.jsonl_file import JsonlFile
from sinks.record import AnyRecord, encode, is_partial
from supervision import Supervisor

log = logging.getLogger(__name__)

START_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 5.0

HUNG_S = 5.0
"""The disk counts as away while a job takes longer."""

_MISTAKES = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EROFS,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENXIO,
    }
)
"""Of opening: what waiting does not mend."""


class JsonlSink:
    """Appends one line a record, a batch with one system call, nothing buffered in this process.

    A thread of its own does everything that touches the disk (`JsonlFile`), so a disk that hangs holds up this sink
    alone, not the event loop and not the start; the thread is a daemon, so it does not hold up the process's exit
    either. What cannot be written is raised as `SinkUnavailable` and waits with the fan-out.
    """

    name = "jsonl"

    def __init__(self, config: JsonlConfig) -> None:
        self._path = config.path
        self._file = JsonlFile(config)
        self.supervisor = Supervisor()
        # At most one job waits, and one more to reopen or close: FanOut gives one batch at a time.
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy_since: float | None = None
        self._works = False
        self._stats = Delivery()

    def delivery(self) -> Delivery:
        """`errors` are lines cut short, of whichever process."""
        since = self._busy_since
        hangs = since is not None and time.monotonic() - since > HUNG_S
        return Delivery(
            delivered=self._stats.delivered,
            delivered_partials=self._stats.delivered_partials,
            errors=self._file.torn,
            connected=self._works and not hangs,
        )

    async def start(self) -> None:
        """Returns within 2 s; a pipe that has no reader, a full disk and one that hangs are waited for in the
        background. Raises `SinkMisconfigured` for a file that cannot be appended to."""
        self._thread = self.supervisor.thread(self._work, "sink jsonl")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._in_thread(self._file.open)
        except TimeoutError:
            log.warning("jsonl: %s is not opened after %g s: records wait for it", self._path, START_TIMEOUT_S)
        except OSError as error:
            if error.errno in _MISTAKES:
                self._jobs.put(None)
                raise SinkMisconfigured(f"cannot append to {self._path}: {error.strerror}") from error
            log.warning("jsonl: cannot append to %s: %s: records wait for it", self._path, error.strerror)

    async def write(self, records: Sequence[AnyRecord]) -> None:
        """Returns when the lines are with the operating system."""
        lines = b"".join(encode(record) + b"\n" for record in records)
        try:
            await self._in_thread(lambda: self._append(lines))
        except OSError as error:
            raise SinkUnavailable(f"cannot write to {self._path}: {error.strerror}") from error
        partials = sum(map(is_partial, records))
        self._stats.delivered_partials += partials
        self._stats.delivered += len(records) - partials

    async def reopen(self) -> None:
        """Go on in a file of the configured name, which may be a new one: the former was renamed (logrotate). Raises
        `SinkUnavailable`; the former is written to then."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._in_thread(self._file.open)
        except TimeoutError as error:
            raise SinkUnavailable(f"{self._path} is not opened after {START_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise SinkUnavailable(f"cannot append to {self._path}: {error.strerror}") from error

    async def close(self) -> None:
        """Waits at most 5 s for a disk that hangs."""
        if self._thread is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._in_thread(self._file.close)
        except TimeoutError:
            pass
        finally:
            self._jobs.put(None)

    def _append(self, lines: bytes) -> None:
        self._file.append(lines)

    async def _in_thread(self, job: Callable[[], None]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, done))
        await done

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, done = entry
            error: Exception | None = None
            self._busy_since = time.monotonic()
            try:
                job()
            except Exception as caught:  # noqa: BLE001 - raised again where the job was given
                error = caught
            self._busy_since = None
            self._works = error is None and self._file.is_open
            try:
                done.get_loop().call_soon_threadsafe(_resolve, done, error)
            except RuntimeError:  # the loop was closed while the disk hung
                return


def _resolve(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():  # cancelled meanwhile
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
