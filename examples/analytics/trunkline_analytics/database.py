"""Sources of a report into one DuckDB: files of JSON lines, folders of Parquet, topics.

Rows keep where they came from, so a row that is read twice (a file given twice, or one that a compaction replaced
meanwhile) is one row. Doubles are records of one `event_id` at several places, of which the first counts.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from kafka.errors import KafkaError

from sinks.config import KafkaConfig
from trunkline_analytics.errors import BadSource, KafkaFailed
from trunkline_analytics.records import UNREAD, Row, Tally, Unread, read
from trunkline_analytics.store import folders, live_files
from trunkline_analytics.table import SCHEMAS, make_table
from trunkline_analytics.topics import QUIET_S, SCHEME, consumer, known_partitions, topics, with_address

BATCH_ROWS = 10_000
LONGEST_LINE = 16 * 2**20
"""Bytes; a longer line is no record."""

Place = tuple[str, int, int]
"""Topic or file, partition, offset or line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Records that are left out for one `reason`; `first`: where the first of them is."""

    reason: str
    count: int
    first: str


@dataclass(slots=True)
class Loaded:
    """`records`: those of the tables. `doubles`: left out for their `event_id`. `unread`: left out as they cannot be
    read. `unknown_fields`: by name, ignored. `damaged`: Parquet files that cannot be read, and why."""

    sources: Sequence[str]
    records: int = 0
    doubles: int = 0
    unread: list[Fault] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Empty, in a temporary file, so that it may be larger than memory. It loads nothing from elsewhere."""
    with tempfile.TemporaryDirectory(prefix="trunkline-analytics-") as folder:
        settings: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        connection = duckdb.connect(str(Path(folder) / "records.duckdb"), config=settings)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            for kind, schema in SCHEMAS.items():
                connection.register("empty", schema.empty_table())
                connection.execute(f"CREATE TABLE {_raw(kind)} AS SELECT * FROM empty")
                connection.unregister("empty")
            yield connection
        finally:
            connection.close()


def load(connection: duckdb.DuckDBPyConnection, sources: Sequence[str], config: KafkaConfig | None) -> Loaded:
    """All sources into the tables `transcript`, `call`, `turn`, `dtmf`, each record once. Raises `AnalyticsError`."""
    loaded = Loaded(sources)
    tally = Tally()
    for source in sources:
        path = Path(source)
        if source.startswith(SCHEME):
            _insert_all(connection, _of_topics(with_address(config, source)), tally)
        elif path.is_dir():
            _load_folder(connection, path, loaded)
        elif path.suffix == ".parquet":
            raise BadSource(f"{source}: name the folder that holds date=.../type=.../, not a file in it")
        else:
            _insert_all(connection, _of_lines(path), tally)
    loaded.unknown_fields = tally.unknown_fields
    for kind in SCHEMAS:
        if kind != UNREAD:
            records, doubles = _once(connection, kind)
            loaded.records += records
            loaded.doubles += doubles
    faults = connection.execute(f"""
        SELECT reason, count(*), min({{'topic': topic, 'partition': partition, 'offset': "offset"}}) AS first
        FROM (SELECT DISTINCT * EXCLUDE (value) FROM {_raw(UNREAD)}) GROUP BY reason ORDER BY 2 DESC, 1
    """).fetchall()
    loaded.unread = [Fault(reason, count, _where(**first)) for reason, count, first in faults]
    return loaded


def _where(topic: str, partition: int, offset: int) -> str:
    return f"{topic}, line {offset}" if Path(topic).is_absolute() else f"{topic}-{partition}, offset {offset}"


def _raw(kind: str) -> str:
    return f'"raw_{kind}"'


def _once(connection: duckdb.DuckDBPyConnection, kind: str) -> tuple[int, int]:
    """Makes the table of a kind; returns its rows and how many doubles there were. `at` is UTC without a time zone."""
    connection.execute(f"""
        CREATE TABLE "{kind}" AS
        SELECT * EXCLUDE (place, run, "at"), coalesce(run, '') AS run, "at"::TIMESTAMP AS "at"
        FROM (SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY topic, partition, "offset") AS place
              FROM {_raw(kind)})
        WHERE place = 1
    """)
    [(places, records)] = connection.execute(f"""
        SELECT (SELECT count(*) FROM (SELECT DISTINCT topic, partition, "offset" FROM {_raw(kind)})),
               (SELECT count(*) FROM "{kind}")
    """).fetchall()
    connection.execute(f"DROP TABLE {_raw(kind)}")
    return int(records), int(places) - int(records)


def _insert(connection: duckdb.DuckDBPyConnection, kind: str, table: pa.Table) -> None:
    connection.register("batch", table)
    try:
        connection.execute(f"INSERT INTO {_raw(kind)} BY NAME SELECT * FROM batch")
    finally:
        connection.unregister("batch")


def _insert_all(
    connection: duckdb.DuckDBPyConnection, found: Iterable[tuple[Place, Row | Unread]], tally: Tally
) -> None:
    outcomes = iter(found)
    while some := list(islice(outcomes, BATCH_ROWS)):
        rows: dict[str, list[dict[str, Any]]] = {}
        for (topic, partition, offset), outcome in some:
            tally.add(outcome)
            position = {"topic": topic, "partition": partition, "offset": offset}
            kind, fields = (
                (outcome.kind, outcome.fields) if isinstance(outcome, Row) else (UNREAD, {"reason": outcome.reason})
            )
            rows.setdefault(kind, []).append(fields | position)
        for kind, of_kind in rows.items():
            _insert(connection, kind, make_table(kind, of_kind))


def _of_lines(path: Path) -> Iterator[tuple[Place, Row | Unread]]:
    name = str(path.resolve())
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                if line is None:
                    yield (name, 0, number), Unread("line too long")
                elif line.strip():
                    yield (name, 0, number), read(line)
    except OSError as error:
        raise BadSource(f"{path} cannot be read: {error.strerror or error}") from error


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """None stands for a line that is too long to be held."""
    while line := file.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while (line := file.readline(LONGEST_LINE)) and not line.endswith(b"\n"):
            pass
        yield None


def _load_folder(connection: duckdb.DuckDBPyConnection, root: Path, loaded: Loaded) -> None:
    parts = [folder for folder in folders(root) if folder.name.removeprefix("type=") in SCHEMAS]
    if not parts:
        raise BadSource(f"{root} has no date=.../type=... folders: is it what `trunkline analytics collect` wrote?")
    for folder in parts:
        kind = folder.name.removeprefix("type=")
        done = set[Path]()
        # A compaction may replace files while they are read: what is new then is read too, and rows that come a second
        # time are at the same place.
        while rest := [path for path in live_files(folder) if path not in done]:
            for path in rest:
                done.add(path)
                try:
                    _load_file(connection, kind, path)
                except FileNotFoundError:
                    continue
                except (pa.ArrowException, duckdb.Error, OSError) as error:
                    loaded.damaged.append(f"{path}: {str(error).partition(chr(10))[0]}")


def _load_file(connection: duckdb.DuckDBPyConnection, kind: str, path: Path) -> None:
    known = SCHEMAS[kind]
    with pq.ParquetFile(path) as file:
        columns = [name for name in file.schema_arrow.names if name in known.names]
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            _insert(connection, kind, pa.Table.from_batches([batch]).replace_schema_metadata(None))


def _of_topics(config: KafkaConfig) -> Iterator[tuple[Place, Row | Unread]]:
    """From the beginning to where the topics end now; without a group, so nothing is committed."""
    with consumer(config) as client:
        names = topics(config)
        partitions = known_partitions(client, names)
        if not partitions:
            raise KafkaFailed(f"kafka at {config.bootstrap_servers} has none of the topics {', '.join(names)}")
        try:
            ends = client.end_offsets(partitions)
            client.assign(partitions)
            client.seek_to_beginning(*partitions)
            quiet = 0
            while any((client.position(one) or 0) < ends[one] for one in partitions):
                polled = client.poll(timeout_ms=1_000)
                quiet = 0 if polled else quiet + 1
                if quiet > QUIET_S:
                    raise KafkaFailed(f"kafka at {config.bootstrap_servers} gives no more records")
                for partition, messages in polled.items():
                    for message in messages:
                        if message.offset < ends[partition]:
                            place = partition.topic, partition.partition, message.offset
                            yield place, read(message.value)
        except KafkaError as error:
            raise KafkaFailed(f"kafka at {config.bootstrap_servers}: {error or type(error).__name__}") from error
