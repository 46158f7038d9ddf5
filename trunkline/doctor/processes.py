"""Which process has a port or a lock, as far as this user may see it. From /proc (Linux, `man 5 proc`)."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Process:
    """`command`: the words it was started with."""

    pid: int
    command: tuple[str, ...]

    @property
    def is_trunkline(self) -> bool:
        return any(Path(word).name == "trunkline" or "trunkline.cli" in word for word in self.command)

    def __str__(self) -> str:
        return f"process {self.pid} ({Path(self.command[0]).name if self.command else 'unknown'})"


def holder_of_port(kind: str, port: int) -> Process | None:
    """`kind`: tcp or udp. None where nobody listens, or only whom this user may not look at."""
    wanted = {f"socket:[{inode}]" for inode in _sockets(kind, port)}
    for process in _processes() if wanted else ():
        if not wanted.isdisjoint(_open_files(process)):
            return _process(int(process.name))
    return None


def holder_of_lock(file: Path) -> Process | None:
    """Who has a lock on it (flock); None for nobody. Unlike trying it, this is in nobody's way."""
    try:
        inode = file.stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        # 3: FLOCK  ADVISORY  WRITE 22676 fe:00:10838122 0 EOF. The device is not compared: of some file systems it is
        # another one than stat() gives.
        words = line.split()
        if "FLOCK" in words and int(words[-3].rpartition(":")[2]) == inode:
            return _process(int(words[-4]))
    return None


def _sockets(kind: str, port: int) -> Iterator[str]:
    """Inodes of those that are bound to the port."""
    for table in (kind, f"{kind}6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                is_bound = kind == "udp" or fields[3] == _LISTENING
                if is_bound and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdecimal())


def _open_files(process: Path) -> Iterator[str]:
    """What its descriptors are of, as far as it still has them."""
    with suppress(OSError):
        for link in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(link.readlink())


def _process(pid: int) -> Process:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        words = []
    return Process(pid, tuple(word for word in words if word))
