"""`trunkline bench engine`."""

import json
from pathlib import Path

import pytest

from trunkline.cli import main


def test_the_capacity_of_the_configured_engine_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trunkline.toml").write_text("[engine]\nmax_sessions = 7\nthreads = 1\n")
    assert main(["bench", "engine", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"] == "cpu"
    assert found["precision"] == "int8"
    assert found["max_sessions"] == 7
    assert set(found["step_ms"]) == set(found["sessions"]) == {"80", "160", "320", "560", "1120"}
    assert all(found["step_ms"][ms]["4"] > 0 for ms in found["step_ms"])
    assert all(0 <= sessions <= 7 for sessions in found["sessions"].values())


def test_the_table_has_a_line_for_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trunkline.toml").write_text("[engine]\nmax_sessions = 4\n")
    assert main(["bench", "engine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:7]] == ["80", "160", "320", "560", "1120"]
    assert lines[1].split()[-1] == "sessions"
