"""The write-ahead spool: order, restarts, bounds, disks that refuse."""

import contextlib
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks import spool as spool_module
from sinks.errors import SinkMisconfigured
from sinks.message import Message
from sinks.spool import FULL, OLD, REFUSED, Spool, Spooled
from supervision import Supervisor


def entry(number: int, topic: str = "finals", size: int = 10) -> Message:
    return Message(topic, b"call", str(number).encode().ljust(size, b"."), (("event_id", b"%d" % number),))


def number(value: bytes) -> int:
    return int(value.rstrip(b"."))


@contextlib.contextmanager
def spool(path: Path, *, max_bytes: int = 1 << 20, max_age_s: float = 1e6, memory: int = 100) -> Iterator[Spool]:
    made = Spool(
        path / "spool.db",
        max_bytes=max_bytes,
        max_age_s=max_age_s,
        on_committed=lambda: None,
        supervisor=Supervisor(),
        memory_entries=memory,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


def numbers(made: Spool, topic: str = "finals", after: int = 0, limit: int = 1000) -> list[int]:
    return [number(one.entry.value) for one in made.read(topic, after, limit)]


def conserved(made: Spool) -> bool:
    stats = made.stats
    return stats.appended == sum(stats.settled.values()) + sum(stats.dead_lettered.values()) + stats.lost + len(made)


def test_entries_are_read_by_topic_in_order_until_they_are_settled(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        made.append([entry(k, "finals" if k % 2 else "events") for k in range(10)])
        until(lambda: len(numbers(made)) == 5)
        found = made.read("finals", 0, 3)
        assert [number(one.entry.value) for one in found] == [1, 3, 5]
        assert numbers(made, after=found[-1].id) == [7, 9]
        assert found[0].entry == entry(1)
        made.settle([found[1].id])
        assert numbers(made) == [1, 5, 7, 9]
        until(lambda: made.stats.settled.total() == 1)
        assert len(made) == 9
        assert conserved(made)


def test_what_is_settled_is_not_read_again_while_it_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spool(tmp_path) as made:
        made.append([entry(k) for k in range(3)])
        until(lambda: len(numbers(made)) == 3)
        read_entries, delete, was_read = spool_module.read_entries, made._delete, threading.Event()

        def slow(*arguments: Any) -> list[Spooled]:
            found = read_entries(*arguments)
            was_read.set()
            until(lambda: made.stats.settled.total() == 1)
            return found

        def deleting(*arguments: Any) -> Any:
            was_read.wait(10)
            return delete(*arguments)

        monkeypatch.setattr(spool_module, "read_entries", slow)
        monkeypatch.setattr(made, "_delete", deleting)
        made.settle([2])
        assert numbers(made) == [0, 2]


def test_what_was_not_settled_is_there_after_a_restart_before_anything_newer(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        made.append([entry(1), entry(2), entry(3)])
        until(lambda: len(numbers(made)) == 3)
        made.settle([made.read("finals", 0, 3)[1].id])
    with spool(tmp_path) as made:
        assert len(made) == made.stats.appended == 2
        made.append([entry(4)])
        until(lambda: len(numbers(made)) == 3)
        assert numbers(made) == [1, 3, 4]
        assert conserved(made)


def test_what_waits_is_committed_when_it_stops(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        made.append([entry(k) for k in range(500)])
    with spool(tmp_path) as made:
        assert numbers(made) == list(range(500))


def test_two_servers_never_share_a_spool(tmp_path: Path) -> None:
    with spool(tmp_path), pytest.raises(SinkMisconfigured, match=r"in use by process \d+: give each server"):
        Spool(tmp_path / "spool.db", max_bytes=1, max_age_s=1, on_committed=lambda: None, supervisor=Supervisor())
    with spool(tmp_path):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkMisconfigured, match=r"no/spool\.db: No such file or directory"), spool(tmp_path / "no"):
        pass


def test_a_disk_that_does_not_take_the_owner_of_the_lock_stops_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.truncate", refuse)
    with spool(tmp_path) as made:
        made.append([entry(1)])
        until(lambda: numbers(made) == [1])


def letters(made: Spool) -> list[tuple[str, int]]:
    lines = map(json.loads, made.dead_letters.read_text().splitlines())
    return [(line["reason"], number(line["value"].encode())) for line in lines]


def test_a_full_spool_gives_its_oldest_to_the_dead_letter_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with spool(tmp_path, max_bytes=10_000) as made:
        made.append([entry(k, size=876) for k in range(20)])  # 1,000 bytes each with key and row
        until(lambda: made.stats.dead_lettered[FULL] == 10)
        assert numbers(made) == list(range(10, 20))
        assert letters(made) == [(FULL, k) for k in range(10)]
        assert made.bytes == 10_000
        assert conserved(made)
    assert sum("is full (spool_max_bytes)" in record.getMessage() for record in caplog.records) == 1


def rejected(made: Spool, count: int) -> bool:
    return made.stats.dead_lettered[REFUSED] == count


def test_a_dead_letter_that_was_cut_off_spoils_not_the_next(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        made.append([entry(k) for k in range(3)])
        until(lambda: len(numbers(made)) == 3)
        made.dead_letters.write_text('{"reason": "refus')
        for k in range(2):
            made.reject(made.read("finals", 0, 1)[0].id)
            until(partial(rejected, made, k + 1))
        cut, *whole = made.dead_letters.read_text().splitlines()
        assert cut == '{"reason": "refus'
        assert [number(json.loads(line)["value"].encode()) for line in whole] == [0, 1]


def test_what_is_too_old_goes_to_the_dead_letter_file(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        made.append([entry(1)])
    with spool(tmp_path, max_age_s=0.2) as made:
        until(lambda: made.stats.dead_lettered[OLD] == 1)
        assert letters(made) == [(OLD, 1)]
        assert (len(made), made.oldest_age_s) == (0, 0.0)


def test_a_step_of_the_clock_makes_nothing_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spool(tmp_path, max_age_s=3600.0) as made:
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 1e6)
        made.append([entry(1)])
        until(lambda: numbers(made) == [1])
        assert made.oldest_age_s < 60


def test_what_the_broker_refuses_for_good_is_a_dead_letter(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        made.append([entry(1), entry(2)])
        until(lambda: len(numbers(made)) == 2)
        made.reject(made.read("finals", 0, 1)[0].id)
        until(lambda: made.stats.dead_lettered[REFUSED] == 1)
        assert letters(made) == [(REFUSED, 1)]
        assert numbers(made) == [2]
        assert conserved(made)


def refuse(made: Spool) -> None:
    """As a full disk does."""
    pages = made._database.execute("PRAGMA page_count").fetchone()[0]
    made._database.execute(f"PRAGMA max_page_count = {pages}")


def test_a_disk_that_refuses_costs_no_record_and_its_return_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with spool(tmp_path) as made:
        made.append([entry(0)])
        until(lambda: numbers(made) == [0])
        refuse(made)
        made.append([entry(k, size=5_000) for k in range(1, 6)])
        until(lambda: made.degraded)
        assert numbers(made) == list(range(6))
        made.settle([made.read("finals", 0, 2)[1].id])
        until(lambda: made.stats.settled.total() == 1)
        assert numbers(made) == [0, 2, 3, 4, 5]
        made._database.execute("PRAGMA max_page_count = 1000000")
        until(lambda: not made.degraded)
        made.append([entry(6)])
        until(lambda: len(numbers(made)) == 6)
        assert numbers(made) == [0, 2, 3, 4, 5, 6]
        assert conserved(made)
    with spool(tmp_path) as made:
        assert numbers(made) == [0, 2, 3, 4, 5, 6]
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "in memory alone until the disk takes them again" in errors[0].getMessage()


def test_what_neither_disk_nor_memory_takes_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with spool(tmp_path, memory=3) as made:
        until(lambda: made._database is not None)
        refuse(made)
        made.append([entry(k, size=50_000) for k in range(5)])
        until(lambda: made.stats.lost == 2)
        assert numbers(made) == [0, 1, 2]
        assert conserved(made)
        made._database.execute("PRAGMA max_page_count = 1000000")
    assert any("2 records are lost" in record.getMessage() for record in caplog.records)


def test_a_disk_that_cannot_be_read_for_a_while_ends_nothing(tmp_path: Path) -> None:
    def no_queries(action: int, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_OK

    with spool(tmp_path, max_bytes=1_000) as made:
        made._database.set_authorizer(no_queries)
        made.append([entry(k, size=400) for k in range(4)])
        until(lambda: made.stats.disk_errors >= 2)
        made._database.set_authorizer(None)
        made.append([entry(4, size=400)])
        until(lambda: made.stats.dead_lettered[FULL] == 4)
        assert numbers(made) == [4]
        assert made.oldest_age_s > 0
        assert conserved(made)


def test_what_the_disk_refuses_to_the_end_is_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with spool(tmp_path) as made:
        until(lambda: made._database is not None)
        refuse(made)
        made.append([entry(k, size=50_000) for k in range(2)])
        until(lambda: made.degraded)
    assert (made.stats.lost, len(made)) == (2, 0)
    assert conserved(made)
    assert "2 records are lost: the disk refuses to the end" in caplog.text


def test_a_damaged_file_is_kept_and_a_new_one_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spool.db.lock").touch()  # there has been a spool
    (tmp_path / "spool.db").write_bytes(b"no database" * 1000)
    (tmp_path / "spool.db-wal").write_bytes(b"newest records")
    with spool(tmp_path) as made:
        made.append([entry(1)])
        until(lambda: numbers(made) == [1])
    database, log = sorted(tmp_path.glob("spool.db.damaged-*"))
    assert log.name == f"{database.name}-wal"
    assert log.read_bytes() == b"newest records"
    assert "it is kept as" in caplog.text


@pytest.mark.parametrize("kind", ["text", "database"])
def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "spool.db"
    if kind == "text":
        path.write_text("notes of somebody else\n" * 100)
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (id INTEGER)")
        other.close()
    before = path.read_bytes()
    with pytest.raises(SinkMisconfigured, match=r"another (file|program's database)"), spool(tmp_path):
        pass
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} <= {"spool.db", "spool.db.lock"}


def test_dead_letters_are_for_the_server_alone(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        made.append([entry(1)])
        until(lambda: len(numbers(made)) == 1)
        made.reject(made.read("finals", 0, 1)[0].id)
        until(partial(rejected, made, 1))
    assert made.dead_letters.stat().st_mode & 0o777 == 0o600


def test_the_file_gets_smaller_again(tmp_path: Path) -> None:
    with spool(tmp_path, max_bytes=10_000_000) as made:
        made.append([entry(k, size=10_000) for k in range(200)])
        until(lambda: len(numbers(made)) == 200)
        made.settle(one.id for one in made.read("finals", 0, 200))
        until(lambda: len(made) == 0)
        until(lambda: made._database.execute("PRAGMA freelist_count").fetchone() == (0,))


def reaches(made: Spool, newest: int) -> bool:
    return (numbers(made) or [-1])[-1] >= newest


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["append", "settle", "reject", "wait", "kill"]), max_size=25),
    picks=st.randoms(use_true_random=False),
)
def test_whatever_happens_nothing_is_lost_and_order_stays(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], picks: "object"
) -> None:
    """`kill`: the files as they are on disk at that moment are all that a new process has."""
    folder = tmp_path_factory.mktemp("spool")
    appended = 0
    acknowledged: set[int] = set()
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(spool(folder))
        for step in [*steps, "wait"]:
            if step == "append":
                made.append([entry(appended + k) for k in range(3)])
                appended += 3
            elif step in ("settle", "reject"):
                found = made.read("finals", 0, 100)
                if found:
                    one = picks.choice(found)  # type: ignore[attr-defined]
                    acknowledged.add(number(one.entry.value))
                    made.settle([one.id]) if step == "settle" else made.reject(one.id)
            else:
                newest = max(set(range(appended)) - acknowledged, default=-1)
                until(partial(reaches, made, newest))
                if step == "kill":
                    twin = tmp_path_factory.mktemp("spool")
                    for file in folder.glob("spool.db*"):
                        if file.suffix != ".lock":
                            shutil.copy(file, twin)
                    folder, made = twin, stack.enter_context(spool(twin))
        rest = numbers(made)
    assert rest == sorted(rest)
    assert set(range(appended)) - acknowledged <= set(rest)
    assert len(rest) == len(set(rest))


def test_a_reader_of_another_thread_sees_no_half_of_a_commit(tmp_path: Path) -> None:
    with spool(tmp_path) as made:
        for k in range(20):
            made.append([entry(10 * k + j) for j in range(10)])
            found = numbers(made)
            assert found == list(range(len(found)))
            assert len(found) % 10 == 0
    assert sqlite3.connect(tmp_path / "spool.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
