"""The file of JSON lines: several writers, a disk that fills, rotation by us and by logrotate."""

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks import jsonl_file
from sinks.config import JsonlConfig
from sinks.jsonl_file import JsonlFile
from tests.services.install import SEARCHED
from tests.services.missing import missing

DAY_S = 86_400


def opened(path: Path, **changed: Any) -> JsonlFile:
    file = JsonlFile(JsonlConfig(path=str(path), **changed))
    file.open()
    return file


def lines(*numbers: int) -> bytes:
    return b"".join(b'{"number": %d}\n' % number for number in numbers)


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_bytes().splitlines()]


def rotated(path: Path) -> list[Path]:
    return sorted(one for one in path.parent.iterdir() if one.name.startswith(f"{path.name}."))


@contextmanager
def room(path: Path, size: int) -> Iterator[None]:
    """No more than so many bytes more fit into the file: writes are cut short, as by a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_batch_that_was_cut_short_is_gone_on_with_and_its_torn_line_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "records.jsonl"
    file, other = opened(path), opened(path)
    with room(path, 20), pytest.raises(OSError, match="File too large"):
        file.append(lines(1, 2, 3))
    other.append(lines(7))
    file.append(lines(1, 2, 3))
    assert path.read_bytes() == lines(1) + b'{"numb\n' + lines(7, 2, 3)
    assert (file.torn, other.torn) == (0, 1)
    assert caplog.text.count("a line was cut short") == 1


def test_a_line_cut_short_by_a_crash_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(lines(1)[:5])
    file = opened(path)
    file.append(lines(2))
    assert path.read_bytes() == b'{"num\n' + lines(2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(0, 60) | st.none()), max_size=15))
def test_whatever_is_cut_short_nothing_is_taken_away_and_every_record_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int | None]]
) -> None:
    """Three writers in any order; each step is a batch of so many records with so much room."""
    path = tmp_path_factory.mktemp("jsonl") / "records.jsonl"
    files = [opened(path) for _ in range(3)]
    waiting: list[bytes | None] = [None] * 3
    given_to: list[list[int]] = [[], [], []]
    next_number = 0
    for writer, count, size in [*steps, *((writer, 1, None) for writer in range(3))]:
        before = path.read_bytes()
        if waiting[writer] is None or size is None:
            batch = waiting[writer]
            if batch is not None:
                files[writer].append(batch)
            new = list(range(next_number, next_number + count))
            next_number += count
            given_to[writer] += new
            waiting[writer] = lines(*new)
        batch = waiting[writer]
        assert batch is not None
        try:
            if size is None:
                files[writer].append(batch)
            else:
                with room(path, size):
                    files[writer].append(batch)
        except OSError:
            pass
        else:
            waiting[writer] = None
        assert path.read_bytes().startswith(before)
    found: list[int] = []
    torn = 0
    for line in path.read_bytes().splitlines():
        try:
            found.append(json.loads(line)["number"])
        except ValueError:
            torn += 1
    once = list(dict.fromkeys(found))  # a record of which the newline alone was cut off is there twice
    assert torn + len(found) - len(once) == sum(file.torn for file in files)
    for numbers_of_one in given_to:
        assert [number for number in once if number in set(numbers_of_one)] == numbers_of_one
    assert len(once) == next_number
    for file in files:
        file.close()


WRITER = """
import sys, time
from sinks.config import JsonlConfig
from sinks.jsonl_file import JsonlFile
path, first, rotate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
file = JsonlFile(JsonlConfig(path=path, rotate_bytes=rotate))
file.open()
sys.stdin.readline()
for number in range(first, first + 1000, 10):
    file.append(b"".join(b'{"number": %d, "x": "%s"}\\n' % (n, b"x" * (n % 500)) for n in range(number, number + 10)))
"""


@pytest.mark.parametrize("rotate_bytes", [0, 20_000], ids=["moved from outside", "rotated by the writers"])
def test_lines_of_several_processes_stay_whole_while_the_file_is_rotated(tmp_path: Path, rotate_bytes: int) -> None:
    path = tmp_path / "records.jsonl"
    path.touch()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(1000 * k), str(rotate_bytes)], stdin=subprocess.PIPE
        )
        for k in range(3)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.close()
    moves = 0
    while any(writer.poll() is None for writer in writers):
        if not rotate_bytes and path.exists() and path.stat().st_size > 20_000:
            path.rename(tmp_path / f"records.jsonl.{moves:06}")
            moves += 1
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    files = [*rotated(path), *([path] if path.exists() else [])]
    assert len(files) > 5
    found = [number for file in files for number in numbers(file)]
    assert Counter(found) == Counter(range(3000))
    for first in (0, 1000, 2000):
        of_one = [number for number in found if first <= number < first + 1000]
        assert moves or of_one == list(range(first, first + 1000))


def test_a_file_is_rotated_before_it_grows_beyond_its_size_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    bystanders = [tmp_path / "records.jsonl.1.gz", tmp_path / "other.jsonl.20260101T000000.000Z"]
    for one in bystanders:
        one.touch()
    file = opened(path, rotate_bytes=50, keep=2)
    for number in range(10, 22):
        file.append(lines(number))
    kept = [one for one in rotated(path) if one not in bystanders]
    assert all(re.fullmatch(r"records\.jsonl\.\d{8}T\d{6}\.\d{3}Z", one.name) for one in kept)
    assert [numbers(one) for one in (*kept, path)] == [[13, 14, 15], [16, 17, 18], [19, 20, 21]]
    assert all(one.exists() for one in bystanders)


def test_a_file_of_an_earlier_day_is_rotated_and_named_for_its_last_record(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file, other = opened(path, rotate_daily=True), opened(path, rotate_daily=True)
    file.append(lines(1))
    file.append(lines(2))
    assert rotated(path) == []
    yesterday = time.time() - DAY_S
    os.utime(path, (yesterday, yesterday))
    file.append(lines(3))
    other.append(lines(4))
    (former,) = rotated(path)
    assert former.name.startswith(f"records.jsonl.{time.strftime('%Y%m%dT', time.gmtime(yesterday))}")
    assert (numbers(former), numbers(path)) == ([1, 2], [3, 4])


def test_rotation_follows_a_link_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    link = tmp_path / "records.jsonl"
    link.symlink_to(tmp_path / "big" / "target.jsonl")
    file = opened(link, rotate_bytes=20)
    for number in (1, 2):
        file.append(lines(number))
    (former,) = rotated(tmp_path / "big" / "target.jsonl")
    assert (numbers(former), numbers(link), link.is_symlink()) == ([1], [2], True)


def test_a_file_that_cannot_be_rotated_grows_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tests may run as root, who may rename anything: so the name is too long."""
    path = tmp_path / ("r" * 250)
    file = opened(path, rotate_bytes=20)
    for number in (1, 2, 3):
        file.append(lines(number))
    assert numbers(path) == [1, 2, 3]
    assert caplog.text.count("cannot rotate") == 1


def test_a_lock_of_another_program_is_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl_file, "LOCK_S", 0.05)
    path = tmp_path / "records.jsonl"
    file = opened(path)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another program has locked it"):
            file.append(lines(1))
    file.append(lines(1))
    assert numbers(path) == [1]


@pytest.mark.parametrize("way", ["create", "copytruncate"])
def test_logrotate_moves_or_copies_the_file_away(tmp_path: Path, way: str) -> None:
    program = shutil.which("logrotate", path=SEARCHED)
    if program is None:
        missing("logrotate is not installed")
    path = tmp_path / "records.jsonl"
    file = opened(path)
    file.append(lines(1, 2))
    settings_file = tmp_path / "logrotate.conf"
    settings_file.write_text(f"{path} {{\n  rotate 5\n  {way}\n}}\n")
    settings_file.chmod(0o600)
    tmp_path.chmod(0o700)
    for number in (3, 4):
        subprocess.run([program, "--force", "--state", tmp_path / "state", settings_file], check=True, timeout=60)
        file.append(lines(number))
    assert numbers(path) == [4]
    assert numbers(tmp_path / "records.jsonl.1") == [3]
    assert numbers(tmp_path / "records.jsonl.2") == [1, 2]
