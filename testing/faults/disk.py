"""The disk of an emitter: one that refuses on command, and whose power may fail. See `disk.c`.

A power failure leaves what was synced, and of what was not any sectors: the drawn ones. Nothing else is assumed, so a
torn write is among what comes out.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from random import Random

from testing.faults.schedule import REFUSALS
from testing.services.missing import ServiceMissing

SECTOR = 512


def built(folder: Path) -> Path:
    """The layer, compiled into a folder. Raises `ServiceMissing` where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise ServiceMissing("a C compiler is missing: run `python -m tests.services.install`")
    library = folder / "disk.so"
    source = Path(__file__).with_name("disk.c")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceMissing(f"the layer under the spool does not compile: {done.stderr[-1000:]}")
    return library


class Disk:
    """`folder`: where the spool stands."""

    def __init__(self, base: Path, library: Path) -> None:
        self.folder, self._synced = base / "spool", base / "synced"
        self.folder.mkdir(parents=True)
        self._synced.mkdir()
        self._control = base / "disk"
        self._control.write_bytes(b"\0")
        self._library = library

    def environment(self) -> Mapping[str, str]:
        """Of a process that is to use it."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAULTS_FOLDER": str(self.folder.resolve()),
            "FAULTS_SYNCED": str(self._synced.resolve()),
            "FAULTS_CONTROL": str(self._control.resolve()),
        }

    def refuse(self, how: str) -> None:
        """One of `REFUSALS`, from now on."""
        self._set(REFUSALS.index(how) + 1)

    def recover(self) -> None:
        self._set(0)

    def lose_power(self, rng: Random) -> None:
        """To be called once the process is dead. What was not synced is gone, but for some sectors of it."""
        for path in self.folder.iterdir():
            if path.name.endswith(("-shm", ".lock")):
                path.unlink()  # made anew at every start
                continue
            synced = self._synced / path.name
            written = path.read_bytes()
            before = synced.read_bytes() if synced.exists() else b""
            after = _mixed(before, written, rng)
            path.write_bytes(after)
            synced.write_bytes(after)

    def _set(self, mode: int) -> None:
        with self._control.open("r+b") as file:  # in place: it is mapped
            file.write(bytes([mode]))


def _mixed(before: bytes, written: bytes, rng: Random) -> bytes:
    size = rng.choice((len(before), len(written)))
    old, new = before.ljust(size, b"\0")[:size], written.ljust(size, b"\0")[:size]
    share = rng.choice((0.0, 0.5, 0.9))
    found = bytearray(old)
    for at in range(0, size, SECTOR):
        if old[at : at + SECTOR] != new[at : at + SECTOR] and rng.random() < share:
            found[at : at + SECTOR] = new[at : at + SECTOR]
    return bytes(found)
