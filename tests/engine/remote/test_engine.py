"""`RemoteEngine` with real processes: started, killed, stopped in the middle, replaced."""

import os
import signal
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.api import Session, SessionOptions, StepEvents
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineUnavailable
from engine.remote import RemoteEngine, Spawned, parse_address
from tests.engine.remote.audio import legs
from tests.engine.remote.pair import Reader, plain

WAIT_S = 120.0
SETTINGS = {"max_sessions": 4}


class Watched(Reader):
    """A reader on another thread that can be waited for."""

    def __init__(self, engine: Engine | RemoteEngine) -> None:
        super().__init__()
        self.changed = threading.Condition()
        engine.subscribe(self.hear)

    def hear(self, events: StepEvents) -> None:
        with self.changed:
            super().hear(events)
            self.changed.notify_all()

    def wait_heard(self, session: Session, seconds: float) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.progress[session] >= seconds, WAIT_S)

    def wait_closed(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.closed) == count, WAIT_S)


def audio(seconds: float) -> NDArray[np.float32]:
    return legs()[0][int(2.5 * 16_000) : int((2.5 + seconds) * 16_000)]


def play(engine: Engine | RemoteEngine, reader: Watched, pcm: NDArray[np.float32], actions: dict[int, int]) -> Session:
    """Push in packets of 0.2 s, no further ahead than a second. `actions`: signal to the engine's process, by packet;
    a final is asked for in the second of them."""
    session = engine.open(SessionOptions(160))
    for number, at in enumerate(range(0, len(pcm), 3_200)):
        engine.push(session, pcm[at : at + 3_200])
        if number == 20:
            engine.finalize(session)
        engine.flush()
        if number in actions:
            send(engine, actions[number])
        reader.wait_heard(session, at / 16_000 - 1.0)
    engine.close(session)
    return session


def send(engine: Engine | RemoteEngine, number: int) -> None:
    assert isinstance(engine, RemoteEngine)
    link = engine._link
    assert isinstance(link, Spawned)
    assert link.process is not None
    os.kill(link.process.pid, number)


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
