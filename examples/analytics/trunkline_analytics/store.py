"""The folder of Parquet files: names, atomic writing, and what of a topic it already holds.

A folder is `date=YYYY-MM-DD/type=KIND`, the date that of the record's `at` in UTC. A file of the collector is named
TOPIC-PARTITION-FIRST-LAST.parquet.

Invariant: a file that covers offsets FIRST to LAST of a partition holds, with the files beside it, **every** record of
those offsets that belongs into its folder. So a collector that reads offsets again, after a kill between the file and
the commit, knows by the names alone which rows are there, wherever its batches now begin and end. A compacted file has
the ranges of the files it replaces in its metadata, and their names: from the moment it has its own name, they count as
gone, whether or not they are deleted yet.

A file gets its name by a rename after its bytes are on disk; a temporary file begins with a dot and is never read.
"""

import fcntl
import os
import re
import time
from bisect import bisect_right
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline_analytics.errors import StoreFailed
from trunkline_analytics.table import make_table

RECENT_IDS = 100_000
"""Event ids remembered of a folder, to drop doubles before they are written. Older doubles go with the compaction."""

OPEN_FOLDERS = 64
STALE_S = 86_400.0
"""Age of a temporary file whose writer is certainly gone."""

_NAME = re.compile(r"(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet")
_COMPACTED = re.compile(r"compacted-[0-9a-f]{32}\.parquet")
_METADATA = b"trunkline.compacted"
_ATTEMPTS = 5


class Partition(NamedTuple):
    topic: str
    number: int


Ranges = dict[Partition, list[tuple[int, int]]]
"""Offsets, first and last, in order and apart from one another."""


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same offsets in as few ranges as there can be."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def covers(ranges: Sequence[tuple[int, int]], offset: int) -> bool:
    index = bisect_right(ranges, (offset, 2**63))
    return index > 0 and ranges[index - 1][1] >= offset


class Compacted(msgspec.Struct):
    """In the metadata of a compacted file. `ranges`: topic, partition, first, last."""

    replaces: list[str]
    ranges: list[tuple[str, int, int, int]]


def file_name(partition: Partition, first: int, last: int) -> str:
    """Padded, so that names sort as offsets do."""
    return f"{partition.topic}-{partition.number}-{first:020d}-{last:020d}.parquet"


def folder_of(root: Path, kind: str, at: datetime) -> Path:
    return root / f"date={at.astimezone(UTC):%Y-%m-%d}" / f"type={kind}"


def folders(root: Path) -> list[Path]:
    """Those that there are, in order of date and type."""
    return sorted(path for path in root.glob("date=*/type=*") if path.is_dir())


def compacted(path: Path) -> Compacted | None:
    """What a compacted file says of itself; None of any other. Raises what pyarrow does of a damaged one."""
    if not _COMPACTED.fullmatch(path.name):
        return None
    told = (pq.read_metadata(path).metadata or {}).get(_METADATA)
    return None if told is None else msgspec.json.decode(told, type=Compacted)


def live_files(folder: Path) -> list[Path]:
    """Files that count: those that no compacted file replaces. Damaged ones are among them."""
    for _ in range(_ATTEMPTS):
        files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
        replaced = set[str]()
        try:
            for path in files:
                with suppress(pa.ArrowInvalid, msgspec.MsgspecError):
                    found = compacted(path)
                    replaced.update(found.replaces if found else ())
        except FileNotFoundError:  # a compaction was faster
            continue
        return [path for path in files if path.name not in replaced]
    raise StoreFailed(f"{folder} changes faster than it can be listed: run one compaction at a time")


def ranges_of(files: Iterable[Path]) -> Ranges:
    """Offsets that the files cover."""
    found: defaultdict[Partition, list[tuple[int, int]]] = defaultdict(list)
    for path in files:
        if (name := _NAME.fullmatch(path.name)) is not None:
            found[Partition(name["topic"], int(name["partition"]))].append((int(name["first"]), int(name["last"])))
            continue
        with suppress(pa.ArrowInvalid, msgspec.MsgspecError):
            for topic, number, first, last in told.ranges if (told := compacted(path)) else ():
                found[Partition(topic, number)].append((first, last))
    return {partition: merged(ranges) for partition, ranges in found.items()}


def write_file(path: Path, table: pa.Table, told: Compacted | None = None) -> None:
    """The file is whole and on disk when it gets its name. Raises `StoreFailed`."""
    if told is not None:
        table = table.replace_schema_metadata({_METADATA: msgspec.json.encode(told)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make_folders(path.parent)
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StoreFailed(f"{path} cannot be written: {error.strerror or error}") from error


def make_folders(folder: Path) -> None:
    """With what is missing above it, on disk."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Temporary files that a kill has left behind."""
    for path in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE_S:
                path.unlink()


@contextmanager
def sole(root: Path) -> Iterator[None]:
    """One compaction of a root at a time. Raises `StoreFailed`."""
    try:
        file = (root / ".compaction.lock").open("wb")
    except OSError as error:
        raise StoreFailed(f"{root} cannot be compacted: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreFailed(f"{root} is being compacted by another process") from None
        yield


@dataclass(slots=True)
class _Held:
    """What a folder has: offsets, and the newest event ids."""

    ranges: Ranges
    ids: set[str] = field(default_factory=set)
    order: deque[str] = field(default_factory=deque)

    def remember(self, event_id: str) -> None:
        if event_id in self.ids:
            return
        self.ids.add(event_id)
        self.order.append(event_id)
        if len(self.order) > RECENT_IDS:
            self.ids.discard(self.order.popleft())


class Store:
    """Writes the rows of batches. It knows by heart what the folders in use hold; `forget` when somebody else may have
    written for the same partitions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.doubles = 0
        self._held: OrderedDict[Path, _Held] = OrderedDict()

    def forget(self) -> None:
        self._held.clear()

    def write(
        self, partition: Partition, first: int, last: int, rows: Mapping[Path, tuple[str, list[dict[str, Any]]]]
    ) -> int:
        """All rows of offsets `first` to `last`, by folder with the kind. Rows that are there are left out. Returns how
        many were written; raises `StoreFailed`, after which the same call may be made again."""
        return sum(self._write(partition, first, last, folder, *some) for folder, some in rows.items())

    def _write(
        self, partition: Partition, first: int, last: int, folder: Path, kind: str, rows: list[dict[str, Any]]
    ) -> int:
        held = self._open(folder)
        ranges = held.ranges.get(partition, [])
        new, ids = [], set[str]()
        for row in rows:
            if covers(ranges, row["offset"]):
                continue
            event_id = row.get("event_id")
            if event_id is not None and (event_id in held.ids or event_id in ids):
                self.doubles += 1
                continue
            if event_id is not None:
                ids.add(event_id)
            new.append(row)
        if new:
            write_file(folder / file_name(partition, first, last), make_table(kind, new))
            held.ranges[partition] = merged([*ranges, (first, last)])
            for row in new:
                if "event_id" in row:
                    held.remember(row["event_id"])
        return len(new)

    def _open(self, folder: Path) -> _Held:
        held = self._held.get(folder)
        if held is None:
            try:
                held = self._held[folder] = _look(folder)
            except OSError as error:
                raise StoreFailed(f"{folder} cannot be read: {error.strerror or error}") from error
            if len(self._held) > OPEN_FOLDERS:
                self._held.popitem(last=False)
        self._held.move_to_end(folder)
        return held


def _look(folder: Path) -> _Held:
    for _ in range(_ATTEMPTS):
        files = live_files(folder)
        try:
            held = _Held(ranges_of(files))
            newest: list[list[str]] = []
            for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
                if sum(map(len, newest)) >= RECENT_IDS:
                    break
                newest.append(_ids(path))
        except FileNotFoundError:
            continue
        for ids in reversed(newest):
            for event_id in ids:
                held.remember(event_id)
        return held
    raise StoreFailed(f"{folder} changes faster than it can be read: run one compaction at a time")


def _ids(path: Path) -> list[str]:
    try:
        with pq.ParquetFile(path) as file:
            if "event_id" not in file.schema_arrow.names:
                return []
            ids: list[str] = file.read(columns=["event_id"]).column(0).to_pylist()
            return ids
    except pa.ArrowInvalid:  # damaged: the report names it
        return []
