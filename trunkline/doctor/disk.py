"""Disks: the folder of each spool and of the file of records, its room, kind and speed; what waits in the spools."""

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sinks.dead_letters import taken_from
from sinks.spool_file import letters_of
from trunkline.config import Config
from trunkline.doctor.findings import Finding, fault, ok, warning
from trunkline.doctor.processes import holder_of_lock
from trunkline.doctor.tables import tables

_SYNCS = 20
_SLOW_MS = 50.0
"""Median time of an fsync from which records are late: each commit of the spool waits for one."""

_LITTLE = 64 << 20
"""Bytes of free disk: what a busy server writes within minutes."""

_KINDS = {
    "tmpfs": "is in memory: what waits there is lost when the machine restarts: choose a folder on a disk",
    "ramfs": "is in memory: what waits there is lost when the machine restarts: choose a folder on a disk",
    "overlay": "is the container's own layer, gone with the container: choose a folder on a volume",
}
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "glusterfs"})


def check_disks(config: Config) -> Iterator[Finding]:
    """Of a spool that a server is using nothing is changed: only files of this check's own are written."""
    for name, table in tables(config):
        spool = getattr(table, "spool", None)
        if isinstance(spool, str):
            yield from _spool(f"[{name}] spool = {spool}", Path(spool), table)
    if config.jsonl.path:
        yield _records(Path(config.jsonl.path))


def _spool(where: str, path: Path, table: Any) -> Iterator[Finding]:
    folder = path.parent
    try:
        sync_ms = _sync_ms(folder)
    except OSError as error:
        yield fault(
            "disk", f"{where}: its folder cannot be written to ({error.strerror}): make it, or change its owner"
        )
        return
    files = [one for suffix in ("", "-wal", "-shm", ".lock") if (one := path.with_name(path.name + suffix)).exists()]
    closed = [str(one) for one in files if not os.access(one, os.R_OK | os.W_OK) or not one.is_file()]
    if closed:
        yield fault("disk", f"{where}: {closed[0]} cannot be written to: change its owner, or move it away")
        return
    yield from _waiting(where, path)
    kind = _kind(folder)
    if kind in _NETWORK:
        yield warning("disk", f"{where}: {kind} is a network file system, whose locks and syncs may fail: use a disk")
    elif kind in _KINDS:
        yield warning("disk", f"{where}: {kind} {_KINDS[kind]}")
    free = shutil.disk_usage(folder).free
    room = max(table.spool_max_bytes - sum(one.stat().st_size for one in files), 0)
    what = f"{where}: {_gib(free)} free ({kind}), an fsync takes {sync_ms:.1f} ms"
    if free < _LITTLE:
        yield fault("disk", f"{what}: make room")
    elif free < room:
        yield warning("disk", f"{what}: spool_max_bytes wants {_gib(room)} more: make room, or lower it")
    elif sync_ms > _SLOW_MS:
        yield warning("disk", f"{what}: records come late: choose a faster disk")
    else:
        yield ok("disk", what)


def _waiting(where: str, path: Path) -> Iterator[Finding]:
    """What a former server left, or the present one has; and its dead letters."""
    letters = letters_of(path)
    if any(one.exists() and one.stat().st_size for one in (letters, taken_from(letters))):
        command = where[1:].partition("]")[0]
        yield warning("disk", f"{where}: {letters} holds dead letters: `trunkline {command} replay-dead-letters`")
    holder = holder_of_lock(path.with_name(path.name + ".lock"))
    used = f", in use by {holder}: fine if it is this server" if holder is not None else ""
    if not path.exists() or not path.stat().st_size:
        if used:
            yield ok("disk", f"{where}: empty{used}")
        return
    # Without a log nobody has it open, and SQLite is told so: it would make a log of its own, which stays.
    how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, timeout=1.0)) as database:
            count, oldest = database.execute("SELECT count(*), min(at) FROM entries").fetchone()
    except sqlite3.OperationalError as error:
        yield warning("disk", f"{where}: it cannot be looked into now ({error}){used}")
    except sqlite3.DatabaseError as error:
        yield warning("disk", f"{where}: {error}: the server will keep it under another name and begin a new one")
    else:
        age = f", the oldest for {max(time.time() - oldest, 0) / 3600:.1f} h" if count else ""
        yield ok("disk", f"{where}: {count} records wait{age}{used}")


def _records(path: Path) -> Finding:
    where = f"[jsonl] path = {path}"
    if path.exists() and not path.is_file():
        if path.is_dir() or not os.access(path, os.W_OK):
            return fault("disk", f"{where}: it cannot be written to: choose a file")
        return ok("disk", f"{where}: a device or pipe")
    folder = path.parent
    if not folder.is_dir():
        return fault("disk", f"{where}: there is no folder {folder}: make it")
    if not os.access(path if path.exists() else folder, os.W_OK):
        return fault("disk", f"{where}: it cannot be written to: change its owner, or choose another file")
    free = shutil.disk_usage(folder).free
    if free < _LITTLE:
        return fault("disk", f"{where}: {_gib(free)} free: make room")
    return ok("disk", f"{where}: {_gib(free)} free")


def _sync_ms(folder: Path) -> float:
    """Median time of an fsync after a page was written. Raises `OSError`."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def _kind(folder: Path) -> str:
    """Of the file system, by Linux' name."""
    resolved, best, kind = folder.resolve(), "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        # Spaces of a mount point are written as \040 (`man 5 proc`).
        point = fields.split()[4].encode().decode("unicode_escape")
        if resolved.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
