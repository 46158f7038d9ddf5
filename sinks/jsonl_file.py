"""The file of JSON lines, which others may append to, move, copy, truncate and delete at any time.

The idea: every batch is one write with O_APPEND, so whole lines of several processes stand one after the other. Before
it, under the file's advisory lock, three things are looked at: whether the name still is that of this file, whether the
file is due to be rotated, and whether it ends with a newline.

The invariant: nothing that is in the file is ever taken away. A write that a full disk or a crash cut short stays as a
torn line; whoever writes next ends it with a newline first, and the torn record is written again, whole, by whoever has
it. So every line is a whole record or, counted, no JSON at all. Programs that append without taking the lock (flock)
keep their lines, too, except one that they add directly behind a torn line.

Example: of a batch with records 1, 2, 3 the disk takes 1 and half of 2. Another server adds its record X when there is
room again. Then comes the rest of the batch: "1", "half of 2", "X", "2", "3".
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sinks.config import JsonlConfig

log = logging.getLogger(__name__)

LOCK_S = 2.0
"""How long another program's lock on the file is waited for."""

FOLLOWED_AT_MOST = 10
"""Files that are opened one after the other, as the name goes from one to the next, before a batch is written."""

_ROTATED = r"\.\d{8}T\d{6}\.\d{3}Z"
"""After the name of a file that was rotated: when it was last written to, in UTC."""


class JsonlFile:
    """Not thread-safe; every method may block for as long as the disk takes, and raises `OSError`. `torn`: lines cut
    short that were found and ended."""

    def __init__(self, config: JsonlConfig) -> None:
        self._config = config
        self._path = config.path
        self._fd = -1
        self._is_file = False
        self._unfinished = (b"", 0)  # a batch that failed, and how far it came
        self._said = ""
        self.torn = 0

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def open(self) -> None:
        """Open what has the name now, in place of what was open. A named pipe without a reader is a
        `BlockingIOError`, at once."""
        former, (self._fd, self._is_file) = self._fd, _opened(self._path)
        if former >= 0:
            os.close(former)

    def append(self, lines: bytes) -> None:
        """Add whole lines. The same lines given again after an error are gone on with, not written twice."""
        if not self.is_open:
            self.open()
        if not self._is_file:
            self._write_to_stream(lines)
            return
        self._lock()
        try:
            for _ in range(FOLLOWED_AT_MOST):
                if not self._changes_file(len(lines)):
                    break
            self._write(lines)
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self.is_open:
            os.close(self._fd)
            self._fd = -1

    def _lock(self) -> None:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise OSError(error.errno, f"another program has locked it for {LOCK_S:g} s") from error
                time.sleep(0.002)
            except OSError:  # a file system without locks
                return
            else:
                return

    def _changes_file(self, coming: int) -> bool:
        """Whether another file is to be written to from now on: it is open and locked then. `coming`: bytes."""
        if self._has_the_name() and not self._rotated(coming):
            return False
        try:
            self.open()
        except OSError as error:
            if not os.fstat(self._fd).st_nlink:
                raise  # it is deleted: what is written would be gone
            self._say(f"cannot append to {self._path}: {error.strerror}: going on in the file that had this name")
            return False
        self._said = ""
        if self._is_file:
            self._lock()
        return self._is_file

    def _has_the_name(self) -> bool:
        try:
            named = Path(self._path).stat()
        except OSError:
            return False
        return os.path.samestat(named, os.fstat(self._fd))

    def _rotated(self, coming: int) -> bool:
        """Whether the file was due, and has gone to a name of its own."""
        status = os.fstat(self._fd)
        written = datetime.fromtimestamp(status.st_mtime, UTC)
        most = self._config.rotate_bytes
        is_full = most is not None and status.st_size + coming > most
        is_of_yesterday = self._config.rotate_daily and written.date() < datetime.now(UTC).date()
        if not status.st_size or not (is_full or is_of_yesterday):
            return False
        path = Path(os.path.realpath(self._path))
        try:
            path.rename(_free_name(path, written))
        except OSError as error:
            self._say(f"cannot rotate {self._path}: {error.strerror}: it grows on")
            return False
        try:
            _delete_old(path, self._config.keep)
        except OSError as error:
            log.warning("cannot delete old files of %s: %s", self._path, error)
        return True

    def _write(self, lines: bytes) -> None:
        batch, done = self._unfinished
        rest = memoryview(lines)[done if batch == lines else 0 :]
        try:
            if self._is_file and not self._ends_with_newline():
                _write_all(self._fd, b"\n")
                self.torn += 1
                log.warning("%s: a line was cut short; it is ended, and records go on after it", self._path)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._unfinished = lines, lines.rfind(b"\n", 0, len(lines) - len(rest)) + 1
            raise
        self._unfinished = b"", 0

    def _write_to_stream(self, lines: bytes) -> None:
        """To a pipe or device. What a reader that went away had not read is gone with it: all is written again."""
        try:
            _write_all(self._fd, lines)
        except OSError:
            self.close()
            raise

    def _ends_with_newline(self) -> bool:
        size = os.fstat(self._fd).st_size
        return not size or os.pread(self._fd, 1, size - 1) == b"\n"

    def _say(self, text: str) -> None:
        """Once, until it is different."""
        if text != self._said:
            self._said = text
            log.warning("%s", text)


def _opened(path: str) -> tuple[int, bool]:
    """A descriptor, and whether it is a regular file. O_NONBLOCK is for the opening alone, which it keeps from waiting
    for a pipe's reader (open(2), fifo(7))."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    access = os.O_RDWR if stat.S_ISREG(mode) else os.O_WRONLY
    flags = access | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = os.open(path, flags, 0o640)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(mode):
            raise BlockingIOError(errno.EAGAIN, "nobody reads this pipe") from error
        raise
    os.set_blocking(fd, True)
    return fd, stat.S_ISREG(os.fstat(fd).st_mode)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _free_name(path: Path, written: datetime) -> Path:
    """For a file that was last written to then: names sort as the times do."""
    while True:
        at = f"{written:%Y%m%dT%H%M%S}.{written.microsecond // 1000:03}Z"
        name = path.with_name(f"{path.name}.{at}")
        if not name.exists():
            return name
        written += timedelta(milliseconds=1)


def _delete_old(path: Path, keep: int) -> None:
    """Of the files that were rotated, all but the newest `keep`; none for 0."""
    if not keep:
        return
    pattern = re.compile(re.escape(path.name) + _ROTATED)
    rotated = sorted(one.name for one in path.parent.iterdir() if pattern.fullmatch(one.name))
    for name in rotated[:-keep]:
        path.with_name(name).unlink(missing_ok=True)
