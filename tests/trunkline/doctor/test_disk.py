import fcntl
import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

from sinks.config import JsonlConfig, KafkaConfig
from sinks.message import Message
from sinks.spool import Spool
from supervision import Supervisor
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config
from trunkline.doctor import disk
from trunkline.doctor.disk import check_disks
from trunkline.doctor.findings import Level


def config(spool: Path, most: int = 1 << 20) -> Config:
    kafka = KafkaConfig(bootstrap_servers="a:1", spool=str(spool), spool_max_bytes=most)
    return Config(kafka=kafka, jsonl=JsonlConfig(path=""))


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the folder of the tests is on."""
    monkeypatch.setattr(disk, "_kind", lambda _: "ext4")
    monkeypatch.setattr(disk, "_SLOW_MS", 60_000.0)


@pytest.mark.usefixtures("on_disk")
def test_a_folder_that_is_well_and_stays_as_it_was(tmp_path: Path) -> None:
    found = list(check_disks(config(tmp_path / "spool")))
    assert all_ok(found)
    assert "GiB free (ext4), an fsync takes" in found[0].what
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one(check_disks(config(tmp_path / "no" / "spool")), Level.FAULT, "No such file or directory")
    one(check_disks(config(tmp_path / "file" / "spool")), Level.FAULT, "Not a directory")
    one(check_disks(config(Path("/proc/spool"))), Level.FAULT, "its folder cannot be written to")


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    one(check_disks(config(tmp_path / "spool")), Level.FAULT, f"{tmp_path / 'spool'} cannot be written to")


@pytest.mark.usefixtures("on_disk")
def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one(check_disks(config(tmp_path / "spool", 1 << 60)), Level.WARNING, "spool_max_bytes wants")
    monkeypatch.setattr(disk, "_LITTLE", 1 << 60)
    one(check_disks(config(tmp_path / "spool")), Level.FAULT, "make room")


@pytest.mark.parametrize(
    ("kind", "said"),
    [("tmpfs", "is in memory"), ("overlay", "the container's own layer"), ("nfs4", "a network file system")],
)
def test_file_systems_that_keep_nothing_for_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    monkeypatch.setattr(disk, "_kind", lambda _: kind)
    one(check_disks(config(tmp_path / "spool")), Level.WARNING, said)


def test_the_kind_is_that_of_the_innermost_mount() -> None:
    assert disk._kind(Path("/proc/self")) == "proc"
    assert disk._kind(Path("/")) not in ("proc", "unknown")


def test_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_kind", lambda _: "ext4")
    monkeypatch.setattr(disk, "_SLOW_MS", -1.0)
    one(check_disks(config(tmp_path / "spool")), Level.WARNING, "choose a faster disk")


@pytest.mark.usefixtures("on_disk")
def test_a_spool_in_use_is_looked_at_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(path, max_bytes=1 << 20, max_age_s=3600, on_committed=lambda: None, supervisor=Supervisor())
    spool.start()
    spool.append([Message("topic", b"key", b"value", ()) for _ in range(3)])
    assert spool.flush(30)
    found = list(check_disks(config(path)))
    assert all_ok(found)
    assert "3 records wait" in found[0].what
    assert "in use by process" in found[0].what
    assert len(spool.read("topic", 0, 9)) == 3
    spool.stop()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert "3 records wait" in (what := next(iter(check_disks(config(path)))).what)
    assert "in use" not in what
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("on_disk")
def test_a_lock_without_records(tmp_path: Path) -> None:
    with (tmp_path / "spool.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one(check_disks(config(tmp_path / "spool")), Level.OK, "empty, in use by process")


@pytest.mark.usefixtures("on_disk")
def test_damaged_spools_and_dead_letters(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"no database at all" * 100)
    one(check_disks(config(tmp_path / "spool")), Level.WARNING, "the server will keep it under another name")
    (tmp_path / "spool").unlink()
    (tmp_path / "spool.dead-letters.jsonl").write_text(json.dumps({"reason": "full"}) + "\n")
    said = "holds dead letters: `trunkline kafka replay-dead-letters`"
    one(check_disks(config(tmp_path / "spool")), Level.WARNING, said)
    (tmp_path / "spool.dead-letters.jsonl").rename(tmp_path / "spool.dead-letters.jsonl.replaying")
    one(check_disks(config(tmp_path / "spool")), Level.WARNING, said)


@pytest.mark.usefixtures("on_disk")
def test_a_spool_without_a_table(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "spool")
    database.execute("CREATE TABLE others (id INTEGER)")
    database.close()
    one(check_disks(config(tmp_path / "spool")), Level.WARNING, "it cannot be looked into now")


def records(path: str) -> Config:
    return msgspec.structs.replace(Config(), jsonl=JsonlConfig(path=path))


def test_the_file_of_records(tmp_path: Path) -> None:
    assert all_ok(check_disks(records(str(tmp_path / "records.jsonl"))))
    assert all_ok(check_disks(records("/dev/null")))
    assert list(tmp_path.iterdir()) == []
    one(check_disks(records(str(tmp_path))), Level.FAULT, "it cannot be written to")
    one(check_disks(records(str(tmp_path / "no" / "records.jsonl"))), Level.FAULT, "there is no folder")
