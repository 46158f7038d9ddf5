import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from engine.checkpoint.find import load_checkpoint
from engine.errors import CheckpointNotFound
from testing.services.ports import free_ports
from tests.trunkline.doctor.found import one
from trunkline.config import Config, EngineConfig, ServerConfig
from trunkline.doctor import engine
from trunkline.doctor.capacity import Answer
from trunkline.doctor.engine import check_engine
from trunkline.doctor.findings import Level


def config(**changed: object) -> Config:
    """On a port that is free."""
    server = ServerConfig(port=free_ports(1)[0])
    return Config(server=server, engine=EngineConfig(**changed))  # type: ignore[arg-type]


def test_the_engine_is_timed_and_the_demo_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LIMIT_S", 240.0)
    found = list(check_engine(config()))
    assert one(found, Level.OK, "room for some").what.startswith("demo model, ")
    one(found, Level.WARNING, "set [engine] checkpoint")


def answers(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    """The process has done its work."""
    done = subprocess.CompletedProcess([], 0, msgspec.json.encode(answer), b"")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)


def test_a_checkpoint_that_has_to_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointNotFound) as error:
        load_checkpoint("nobody/nothing")
    answers(monkeypatch, Answer(("CheckpointNotFound", str(error.value))))
    found = one(check_engine(config(checkpoint="nobody/nothing")), Level.WARNING, "nobody/nothing is not in the cache")
    assert "the first start fetches it" in found.what


def test_what_the_engine_refuses_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, Answer(("CheckpointNotFound", "no checkpoint at a.nemo: give one")))
    one(check_engine(config(checkpoint="a.nemo")), Level.FAULT, "no checkpoint at a.nemo")


@pytest.mark.parametrize(
    ("legs", "level", "said"),
    [
        (0, Level.FAULT, "too slow for legs of 160 ms"),
        (9, Level.OK, "5.0 ms a step of one leg, room for some 9 legs of 160 ms"),
        (64, Level.OK, "64 legs of 160 ms (all that there are slots for)"),
    ],
)
def test_the_figures(monkeypatch: pytest.MonkeyPatch, legs: int, level: Level, said: str) -> None:
    answers(monkeypatch, Answer(None, "int8", 160, 5.0, legs, 64))
    one(check_engine(config(checkpoint="a.nemo")), level, said)


@pytest.mark.parametrize(
    ("status", "errors", "said"),
    [(-9, b"", "SIGKILL: the system has no memory left"), (-4, b"", "SIGILL"), (1, b"a\nlast\n", "process: last")],
)
def test_a_process_that_dies(monkeypatch: pytest.MonkeyPatch, status: int, errors: bytes, said: str) -> None:
    done = subprocess.CompletedProcess([], status, b"", errors)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    one(check_engine(config(checkpoint="a.nemo")), Level.FAULT, said)


def test_one_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LIMIT_S", 0.05)
    one(check_engine(config(checkpoint="a.nemo")), Level.WARNING, "not measured within 0.05 s")


def test_nothing_is_measured_beside_a_server_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("measured"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = Config(server=ServerConfig(port=taken.getsockname()[1]))
        (found,) = check_engine(running)
    assert (found.level, "not measured" in found.what) == (Level.OK, True)


def test_an_engine_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    one(check_engine(config(process=f"unix:{path}")), Level.FAULT, "start `trunkline engine --listen unix:")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        one(check_engine(config(process=f"unix:{path}")), Level.OK, "takes connections")
    port = free_ports(1)[0]
    one(check_engine(config(process=f"tcp:127.0.0.1:{port}")), Level.FAULT, "Connection refused")
