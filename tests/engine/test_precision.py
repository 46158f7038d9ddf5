"""Which precision a machine gets, by what its CPU can."""

import logging
from pathlib import Path

import pytest

from engine import precision
from engine.api import Precision
from engine.checkpoint.find import load_checkpoint
from engine.engine import Engine
from engine.errors import UnsupportedPrecision
from engine.precision import default_precision, has_int8, has_vnni

X86_WITHOUT_AVX2 = {"64bit", "sse2", "sse4.2", "avx", "fma4"}
ARM = {"neon", "dotprod", "i8mm", "sve", "bf16"}
AVX2 = {"64bit", "sse4.2", "avx", "avx2", "fma"}
VNNI = AVX2 | {"avx512f", "avx512vnni"}


def pretend(monkeypatch: pytest.MonkeyPatch, features: set[str]) -> None:
    monkeypatch.setattr(precision, "_cpu_features", lambda: frozenset(features))


@pytest.mark.parametrize("features", [X86_WITHOUT_AVX2, ARM, set()], ids=["x86", "ARM", "unknown"])
def test_a_cpu_without_avx2_runs_in_float32_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, demo_path: Path, features: set[str]
) -> None:
    pretend(monkeypatch, features)
    assert default_precision("cpu") is Precision.FLOAT32
    with caplog.at_level(logging.INFO):
        engine = Engine(load_checkpoint(demo_path), max_sessions=1)
    assert engine.precision is Precision.FLOAT32
    told = [record for record in caplog.records if "8-bit" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]
    assert "float32" in told[0].getMessage()


def test_whoever_chose_float32_is_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, demo_path: Path
) -> None:
    pretend(monkeypatch, ARM)
    Engine(load_checkpoint(demo_path), max_sessions=1, precision=Precision.FLOAT32)
    assert "8-bit" not in caplog.text


@pytest.mark.parametrize("features", [X86_WITHOUT_AVX2, ARM], ids=["x86", "ARM"])
def test_int8_on_such_a_cpu_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, demo_path: Path, features: set[str]
) -> None:
    pretend(monkeypatch, features)
    with pytest.raises(UnsupportedPrecision, match="int8 needs an x86 CPU with AVX2") as raised:
        Engine(load_checkpoint(demo_path), max_sessions=1, precision=Precision.INT8)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("features", "vnni"), [(AVX2, False), (VNNI, True)], ids=["AVX2", "VNNI"])
def test_a_cpu_with_avx2_runs_in_int8(monkeypatch: pytest.MonkeyPatch, features: set[str], vnni: bool) -> None:
    pretend(monkeypatch, features)
    assert (has_int8(), has_vnni()) == (True, vnni)
    assert default_precision("cpu") is Precision.INT8
    assert default_precision("cuda") is Precision.BFLOAT16
