"""`RemoteEngine` with real processes: started, killed, stopped in the middle, replaced."""

import signal

import numpy as np
import pytest

from engine.api import SessionOptions, StepEvents
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineUnavailable
from engine.remote import RemoteEngine, Spawned, parse_address
from tests.engine.remote.pair import plain
from tests.engine.remote.process import SETTINGS, Watched, audio, play, send


@pytest.mark.parametrize(
    ("actions", "restarts"),
    [({}, 0), ({4: signal.SIGKILL, 20: signal.SIGKILL}, 2), ({9: signal.SIGSTOP}, 1)],
    ids=["undisturbed", "killed", "hung"],
)
def test_a_spawned_engine_says_what_one_in_this_process_says(
    checkpoint: Checkpoint, actions: dict[int, int], restarts: int
) -> None:
    pcm = audio(6.0)
    heard: list[tuple[object, ...]] = []
    local = Engine(checkpoint, max_sessions=4)
    remote = RemoteEngine.spawn(SETTINGS, hang_s=3.0)
    for engine, wanted in ((local, {}), (remote, actions)):
        reader = Watched(engine)
        with engine:
            session = play(engine, reader, pcm, wanted)
            reader.wait_closed(1)
        finals = [list(map(plain, final)) for final in reader.finals[session]]
        heard.append((list(map(plain, reader.words[session])), finals))
    assert heard[0] == heard[1]
    assert remote.stats.restarts == restarts


def test_a_session_that_ended_as_the_engine_died_still_gets_its_last_words(checkpoint: Checkpoint) -> None:
    remote = RemoteEngine.spawn(SETTINGS)
    reader = Watched(remote)
    with remote:
        session = remote.open(SessionOptions(160))
        send(remote, signal.SIGSTOP)
        remote.push(session, audio(3.6))
        remote.close(session)
        send(remote, signal.SIGKILL)
        reader.wait_closed(1)
    assert [word.text for word in reader.words[session]][:3] == ["Mi", "número", "de"]


def test_an_engine_that_cannot_be_loaded_says_why() -> None:
    with pytest.raises(EngineUnavailable, match=r"no checkpoint at /nowhere\.nemo"):
        RemoteEngine.spawn({"checkpoint": "/nowhere.nemo"})


def test_no_process_is_left_behind() -> None:
    remote = RemoteEngine.spawn(SETTINGS)
    link = remote._link
    assert isinstance(link, Spawned)
    process = link.process
    assert process is not None
    send(remote, signal.SIGTERM)  # as a terminal or a service manager does to the whole group
    with remote:
        assert "auto" in remote.languages
        assert remote.chunks_ms == (80, 160, 320, 560, 1120)
    assert process.returncode == 0


def test_where_nobody_listens_is_said(tmp_path: object) -> None:
    with pytest.raises(EngineUnavailable, match="no engine answers at unix:"):
        RemoteEngine.at(f"unix:{tmp_path}/nobody")


@pytest.mark.parametrize("address", ["unix:", "tcp:host", "tcp::80", "tcp:host:http", "http://host:80", "/path", ""])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(ValueError, match="write unix:/path or tcp:host:port"):
        parse_address(address)


def test_a_reader_that_fails_is_nobody_elses_problem(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_events: StepEvents) -> None:
        raise RuntimeError("a reader's own fault")

    remote = RemoteEngine.spawn(SETTINGS)
    remote.subscribe(fail)
    reader = Watched(remote)
    with remote:
        session = remote.open(SessionOptions(80))
        remote.push(session, np.zeros(16_000, np.float32))
        remote.close(session)
        reader.wait_closed(1)
    assert "a reader's own fault" in caplog.text
