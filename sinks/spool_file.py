"""The file of a spool: its lock, its tables, and what is done where it is damaged."""

import fcntl
import logging
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from sinks.errors import SinkMisconfigured

log = logging.getLogger(__name__)

_LOG_BYTES = 64 << 20
"""To which the write-ahead log is cut when it has been written back."""

_VACUUM_PAGES = 1_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, headers TEXT NOT NULL,
    at REAL NOT NULL, size INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_topic ON entries (topic, id);
PRAGMA user_version = 1;
"""


def letters_of(spool: Path) -> Path:
    """The file of dead letters of a spool."""
    return spool.with_name(spool.name + ".dead-letters.jsonl")


def locked(path: Path) -> tuple[int, bool]:
    """A descriptor that holds the spool's lock, and whether there has been a spool here. Raises `SinkMisconfigured`."""
    lock = path.with_name(path.name + ".lock")
    known = lock.exists()
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SinkMisconfigured(f"spool {path}: {error.strerror}: make its folder, writable for this user") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SinkMisconfigured(
            f"spool {path} is in use by process {owner}: give each server a spool of its own"
        ) from error
    with suppress(OSError):  # a disk that refuses; the lock is held all the same
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor, known


def opened(path: Path, *, known: bool) -> sqlite3.Connection:
    """Raises `sqlite3.Error`, `OSError`, and `SinkMisconfigured` for a file that is somebody else's. A spool that is
    damaged is moved aside: its records are not deleted. `known`: there has been a spool here."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        return _connected(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        if not known:
            raise SinkMisconfigured(f"spool {path}: it is another file, no spool: name a new one") from error
        aside = path.with_name(f"{path.name}.damaged-{time.time():.0f}")
        path.rename(aside)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.with_name(path.name + "-wal").rename(aside.with_name(aside.name + "-wal"))
        log.error("spool %s: %s: it is kept as %s, and a new one begins", path, error, aside)  # noqa: TRY400
        return _connected(path)


def reading(path: Path) -> sqlite3.Connection:
    """A connection that only reads, for one thread, in whichever process. Raises `sqlite3.Error`."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)


def waiting(path: Path) -> dict[str, tuple[int, float]]:
    """By topic, how many entries of a spool are on disk, and when the oldest of them was appended (seconds since the
    epoch); read beside whoever has it. Raises `sqlite3.Error`."""
    with closing(reading(path)) as database:
        rows = database.execute(
            "SELECT entries.topic, of_topic.size, entries.at FROM entries JOIN"
            " (SELECT count(*) AS size, min(id) AS first FROM entries GROUP BY topic) AS of_topic"
            " ON entries.id = of_topic.first ORDER BY entries.topic"
        ).fetchall()
    return {topic: (count, at) for topic, count, at in rows}


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables - {"entries"}:
        connection.close()
        raise SinkMisconfigured(f"spool {path}: it is another program's database: name a file that is not there")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    connection.executescript(_SCHEMA)
    return connection


def shrink(connection: sqlite3.Connection) -> None:
    """Give some of what is free in the file back to the file system; what the disk refuses can wait."""
    with suppress(sqlite3.Error):
        connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # `execute` does one page
