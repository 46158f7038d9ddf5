"""The layer under the spool: what it refuses, and what a power failure leaves."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from testing.faults.disk import Disk, built
from testing.faults.schedule import REFUSALS
from testing.services.missing import ServiceMissing
from tests.services.missing import missing

WRITE = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.write(descriptor, b"synced" * 100)
os.fsync(descriptor)
os.write(descriptor, b"not yet" * 1000)
"""

WRITE_ON = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
os.pwrite(descriptor, b"end", 100_000)
os.fsync(descriptor)
"""

TRY_ALL = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for call in (lambda: os.pwrite(descriptor, b"x", 0), lambda: os.pread(descriptor, 1, 0), lambda: os.fsync(descriptor)):
    try:
        call()
        print("fine")
    except OSError as error:
        print(error.errno)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    try:
        return Disk(tmp_path / "base", built(tmp_path))
    except ServiceMissing as error:
        missing(str(error))


def run(disk: Disk, program: str, path: Path) -> list[str]:
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, env=os.environ | disk.environment(), capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_power_failure_leaves_what_was_synced_and_some_sectors_of_the_rest(disk: Disk) -> None:
    path, found = disk.folder / "file", set[bytes]()
    for seed in range(10):
        path.unlink(missing_ok=True)
        run(disk, WRITE, path)
        whole = path.read_bytes()
        disk.lose_power(Random(seed))
        left = path.read_bytes()
        assert left.startswith(b"synced" * 85)  # the first sector
        assert all(left[k] in (whole[k], 0) for k in range(len(left)))
        found.add(left)
    assert b"synced" * 100 in found
    assert len(found) > 2


def test_an_fsync_keeps_what_a_process_before_wrote(disk: Disk) -> None:
    path = disk.folder / "file"
    run(disk, WRITE, path)
    run(disk, WRITE_ON, path)
    whole = path.read_bytes()
    disk.lose_power(Random(1))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("how", "said"),
    list(zip(REFUSALS, ("28 fine fine", "5 fine fine", "fine fine 5", "fine 5 fine"), strict=True)),
)
def test_a_disk_refuses_what_it_is_told_and_only_in_its_folder(disk: Disk, tmp_path: Path, how: str, said: str) -> None:
    disk.refuse(how)
    assert run(disk, TRY_ALL, disk.folder / "file") == said.split()
    assert run(disk, TRY_ALL, tmp_path / "elsewhere") == ["fine"] * 3
    disk.recover()
    assert run(disk, TRY_ALL, disk.folder / "file") == ["fine"] * 3
