"""Small files of a folder into large ones.

The new file has the old ones' rows, ranges and names, and the old ones count as gone from the moment it has its own
name (`trunkline_analytics.store`); only then are they deleted. A kill leaves either a temporary file or files that are
replaced, which the next compaction deletes. So nothing is lost, and nothing is there twice for who reads live files.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trunkline_analytics.errors import StoreFailed
from trunkline_analytics.records import UNREAD
from trunkline_analytics.store import (
    Compacted,
    folders,
    live_files,
    ranges_of,
    remove_stale,
    sole,
    sync_folder,
    write_file,
)
from trunkline_analytics.table import SCHEMAS

TARGET_BYTES = 64 * 2**20
"""Files are put together up to this size."""


@dataclass(slots=True)
class Compaction:
    """`files` became `into`; `doubles` rows were dropped on the way; `damaged` files stay as they are."""

    files: int = 0
    into: int = 0
    doubles: int = 0
    damaged: list[str] = field(default_factory=list)


def compact(root: Path, target_bytes: int = TARGET_BYTES) -> Compaction:
    """All folders of the root, each by itself, while a collector may go on. Raises `StoreFailed`."""
    if not root.is_dir():
        raise StoreFailed(f"{root} is no folder")
    done = Compaction()
    with sole(root):
        for folder in folders(root):
            try:
                _compact(folder, target_bytes, done)
            except OSError as error:
                raise StoreFailed(f"{folder} cannot be compacted: {error.strerror or error}") from error
    return done


def _compact(folder: Path, target_bytes: int, done: Compaction) -> None:
    remove_stale(folder)
    live = live_files(folder)
    for path in set(folder.glob("*.parquet")) - set(live):  # a kill came before they were deleted
        if not path.name.startswith("."):
            path.unlink()
    kind = folder.name.removeprefix("type=")
    if kind not in SCHEMAS:
        return
    group: list[Path] = []
    size = 0
    for path in live:
        has = path.stat().st_size
        if not _is_whole(path):
            done.damaged.append(str(path))
            continue
        if group and size + has > target_bytes:
            _merge(folder, kind, group, done)
            group, size = [], 0
        group.append(path)
        size += has
    _merge(folder, kind, group, done)


def _is_whole(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except pa.ArrowInvalid:
        return False
    return True


def _merge(folder: Path, kind: str, files: Sequence[Path], done: Compaction) -> None:
    if len(files) < 2:
        return
    try:
        table = pa.concat_tables([_read(path) for path in files], promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        done.damaged += map(str, files)
        raise StoreFailed(f"{folder}: its files do not go together: {error}") from error
    before = table.num_rows
    table = _without_doubles(table, kind)
    done.doubles += before - table.num_rows
    ranges = [(*partition, first, last) for partition, found in ranges_of(files).items() for first, last in found]
    names = [path.name for path in files]
    digest = blake2b("\n".join(names).encode(), digest_size=16).hexdigest()
    write_file(folder / f"compacted-{digest}.parquet", table, Compacted(names, ranges))
    for path in files:
        with suppress(FileNotFoundError):
            path.unlink()
    sync_folder(folder)
    done.files += len(files)
    done.into += 1


def _read(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read().replace_schema_metadata(None)


def _without_doubles(table: pa.Table, kind: str) -> pa.Table:
    """The first row of each event id, by position; records of a call together."""
    position = [("topic", "ascending"), ("partition", "ascending"), ("offset", "ascending")]
    table = table.sort_by(position)
    identity = ["topic", "partition", "offset"] if kind == UNREAD else ["event_id"]
    number = pa.array(range(table.num_rows), pa.int64())
    first = table.select(identity).append_column("row", number).group_by(identity).aggregate([("row", "min")])
    table = table.take(first["row_min"].combine_chunks().sort())
    if kind != UNREAD:
        table = table.sort_by([("call_id", "ascending"), ("leg", "ascending"), ("seq", "ascending")])
    return table
