"""The engine on its own thread: many callers at once, and its end."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from engine.api import Session, SessionOptions, StepEvents
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineError, SessionClosed
from engine.executor import StepExecutor
from testing import audio
from tests.engine.listener import Listener, spoken, transcribe

WAIT_S = 60.0


@pytest.fixture
def running(plain: Checkpoint) -> Iterator[Engine]:
    with Engine(plain, max_sessions=8) as engine:
        yield engine


def when_closed(engine: Engine, count: int) -> threading.Event:
    """Set once so many sessions have ended."""
    ended, closed = threading.Event(), list[Session]()

    def receive(events: StepEvents) -> None:
        closed.extend(events.closed)
        if len(closed) >= count:
            ended.set()

    engine.subscribe(receive)
    return ended


def test_callers_on_many_threads_get_the_words_they_would_get_alone(plain: Checkpoint, running: Engine) -> None:
    calls = [
        (audio.babble(1.0 + 0.3 * i, 300 + i), SessionOptions((80, 160, 560)[i % 3], ("auto", "de-DE")[i % 2]))
        for i in range(8)
    ]
    listener, ended = Listener(running), when_closed(running, len(calls))
    sessions: dict[int, Session] = {}

    def call(number: int) -> None:
        signal, options = calls[number]
        sessions[number] = session = running.open(options)
        for at in range(0, len(signal), 320):
            running.push(session, signal[at : at + 320])
            if at == 16_000:
                running.finalize(session)
        running.close(session)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended.wait(WAIT_S)
    for number, wanted in enumerate(calls):
        (alone,) = transcribe(Engine(plain, max_sessions=1), [wanted])
        assert spoken(listener.words[sessions[number]]) == spoken(alone)
        assert len(listener.finals[sessions[number]]) == 1 + (len(wanted[0]) > 16_000)


def test_an_idle_engine_wakes_for_a_session_that_only_closes(running: Engine) -> None:
    ended = when_closed(running, 1)
    running.close(running.open(SessionOptions(80)))
    assert ended.wait(WAIT_S)


def test_a_session_can_be_opened_from_within_the_callback(running: Engine) -> None:
    """The thread that steps holds no lock while it tells."""
    opened, ended = list[Session](), when_closed(running, 3)

    def receive(events: StepEvents) -> None:
        for _ in events.closed:
            if len(opened) < 2:
                session = running.open(SessionOptions(80))
                opened.append(session)
                running.push(session, audio.babble(0.4, 320))
                running.close(session)

    running.subscribe(receive)
    running.close(running.open(SessionOptions(80)))
    assert ended.wait(WAIT_S)


def test_stop_ends_the_thread_and_can_be_called_twice(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=1)
    before = threading.active_count()
    engine.start()
    session = engine.open(SessionOptions(160))
    engine.push(session, audio.babble(1.0, 321))
    engine.stop()
    engine.stop()
    assert threading.active_count() == before


def test_a_failing_step_ends_all_sessions_and_refuses_new_ones(
    plain: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(StepExecutor, "step", fail)
    with Engine(plain, max_sessions=2) as engine:
        ended = when_closed(engine, 2)
        sessions = [engine.open(SessionOptions(80)) for _ in range(2)]
        engine.push(sessions[0], audio.babble(0.5, 322))
        assert ended.wait(WAIT_S)
        with pytest.raises(EngineError, match="the device is gone"):
            engine.open(SessionOptions(80))
        with pytest.raises(SessionClosed):
            engine.push(sessions[1], np.zeros(320, np.float32))
    assert "the device is gone" in caplog.text
