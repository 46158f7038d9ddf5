from pathlib import Path

import pytest

from engine.api import Precision
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config, EngineConfig
from trunkline.doctor import machine
from trunkline.doctor.findings import Level
from trunkline.doctor.machine import check_cpu, check_descriptors, check_memory


def test_this_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpu_flags", lambda: frozenset({"avx2", "avx512_vnni"}))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (found,) = check_cpu(Config())
    assert found.level is Level.OK
    assert "AVX2, AVX-512 VNNI; " in found.what
    assert found.what.endswith("OMP_NUM_THREADS 1")


def test_a_cpu_without_avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpu_flags", lambda: frozenset({"neon"}))
    one(check_cpu(Config()), Level.WARNING, "float32, several times slower")
    one(check_cpu(Config(engine=EngineConfig(precision=Precision.INT8))), Level.FAULT, "needs AVX2")
    assert all_ok(check_cpu(Config(engine=EngineConfig(device="cuda"))))
    assert all_ok(check_cpu(Config(engine=EngineConfig(process="tcp:a:1"))))


def test_more_threads_than_the_control_group_has_cores_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpu_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(machine, "_cpu_quota", lambda: 1.0)
    one(check_cpu(Config(engine=EngineConfig(threads=2))), Level.WARNING, "set [engine] threads to 1")
    assert all_ok(check_cpu(Config(engine=EngineConfig(threads=1))))


def test_memory_is_that_of_the_control_group_where_it_has_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_group_value", lambda _: None)
    (whole,) = check_memory(Config())
    assert "GiB free" in whole.what
    values = {"memory.max": 2 << 30, "memory.current": 3 << 29}
    monkeypatch.setattr(machine, "_group_value", values.get)
    one(check_memory(Config()), Level.WARNING, "0.5 of 2.0 GiB free")


def test_files_of_control_groups_that_are_not_there() -> None:
    assert machine._group_value("memory.of-nobody") is None
    assert not Path("/sys/fs/cgroup/memory.of-nobody").exists()


def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    one(check_descriptors(Config()), Level.WARNING, "at most 1024 open files")
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 524_288))
    assert all_ok(check_descriptors(Config()))
