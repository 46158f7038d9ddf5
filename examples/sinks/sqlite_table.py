"""A sink of one's own: what was said in every call, as rows of a table in SQLite.

[[sinks.plugins]]
class = "sqlite_table:SqliteTable"
options = { path = "calls.db" }
"""

import asyncio
import sqlite3
from collections.abc import Sequence

from trunkline import AnyRecord, SinkMisconfigured, SinkUnavailable, as_builtins, is_partial

_SCHEMA = """
CREATE TABLE IF NOT EXISTS finals (event_id TEXT PRIMARY KEY, call_id TEXT, leg TEXT, at TEXT, transcript TEXT)
"""


class SqliteTable:
    """A record that comes twice has the same `event_id`: it is one row."""

    name = "sqlite"

    def __init__(self, path: str) -> None:
        self._path = path

    async def start(self) -> None:
        try:
            self._database = sqlite3.connect(self._path, check_same_thread=False, timeout=5.0)
            self._database.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise SinkMisconfigured(f"sqlite: {self._path}: {error}") from error

    async def write(self, records: Sequence[AnyRecord]) -> None:
        finals = [as_builtins(one) for one in records if not is_partial(one)]
        rows = [one for one in finals if one["type"] == "transcript"]
        try:
            await asyncio.to_thread(self._insert, rows)
        except sqlite3.OperationalError as error:  # locked, or the disk is full: the same records come again
            raise SinkUnavailable(f"sqlite: {self._path}: {error}") from error

    async def close(self) -> None:
        self._database.close()

    def _insert(self, rows: Sequence[dict[str, object]]) -> None:
        with self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO finals VALUES (:event_id, :call_id, :leg, :at, :transcript)", rows
            )
