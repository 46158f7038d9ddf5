"""A fault of ours on either side of the connection to an engine: it ends the session that it concerns, or the
connection, after which all sessions go on with the next one. Other sessions' words stay those of an undisturbed engine.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import engine.remote.engine
from engine.api import FaultReason, Session, SessionFault, SessionOptions
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineError, EngineUnavailable
from engine.remote import RemoteEngine, Spawned
from engine.remote.server import EngineServer, serve_connection
from engine.remote.wire import VERSION, Events, Greeting, Open, Push, frame
from engine.sessions.stream import Stream
from tests.engine.listener import exact
from tests.engine.remote.audio import legs
from tests.engine.remote.pair import Pair, Reader, plain
from tests.engine.remote.process import SETTINGS, Watched, audio, play

OPTIONS = SessionOptions(160)


def boom(*_args: object, **_options: object) -> None:
    raise RuntimeError("boom")


def fault_in_engine_emit(pair: Pair, victim: Session) -> None:
    stream_of(pair, victim).add_token = boom  # type: ignore[method-assign]


def fault_in_engine_words(pair: Pair, victim: Session) -> None:
    stream_of(pair, victim).transcript.take = boom  # type: ignore[method-assign]


def fault_in_engine_audio(pair: Pair, victim: Session) -> None:
    stream_of(pair, victim).audio.read = boom  # type: ignore[method-assign]


def fault_in_engine_push(pair: Pair, victim: Session) -> None:
    stream_of(pair, victim).push = boom  # type: ignore[method-assign]


def fault_in_transcript(pair: Pair, victim: Session) -> None:
    pair.client.sessions[victim].transcript.update = boom  # type: ignore[method-assign]


def fault_in_progress(pair: Pair, victim: Session) -> None:
    pair.client.sessions[victim].transcript.advance = boom  # type: ignore[method-assign, assignment]


def fault_in_replay_log(pair: Pair, victim: Session) -> None:
    pair.client.sessions[victim].replay_log.due_audio = boom  # type: ignore[method-assign]


def stream_of(pair: Pair, session: Session) -> Stream:
    number = pair.client.sessions[session].wire_id
    return pair.engine._streams.by_session[pair.gateway.sessions[number]]


SEAMS: list[Callable[[Pair, Session], None]] = [
    fault_in_engine_emit,
    fault_in_engine_words,
    fault_in_engine_audio,
    fault_in_engine_push,
    fault_in_transcript,
    fault_in_progress,
    fault_in_replay_log,
]


def run(checkpoint: Checkpoint, disturb: Callable[[Pair, Session], None] | None) -> tuple[Pair, list[Session]]:
    """Three sessions side by side, the first of them disturbed after two seconds."""
    pair = Pair(checkpoint)
    sessions = [pair.client.open(OPTIONS) for _ in range(3)]
    parts = [legs()[0][(40 + 8 * k) * 1_000 : (120 + 8 * k) * 1_000] for k in range(3)]
    for number, at in enumerate(range(0, len(parts[0]), 3_200)):
        if number == 10 and disturb is not None:
            disturb(pair, sessions[0])
        for session, pcm in zip(sessions, parts, strict=True):
            if session in pair.client.sessions:
                pair.client.push(session, pcm[at : at + 3_200])
        pair.settle()
        failed = pair.client.take_failed()
        if failed is not None:
            pair.reader.receive(failed)
    for session in sessions:
        if session in pair.client.sessions:
            pair.client.close(session)
    pair.settle()
    return pair, sessions


@pytest.fixture(scope="module")
def undisturbed(checkpoint: Checkpoint) -> list[list[object]]:
    pair, sessions = run(checkpoint, None)
    return [[plain(word) for word in pair.reader.words[session]] for session in sessions]


@pytest.mark.parametrize("disturb", SEAMS)
def test_a_fault_of_one_session_ends_it_and_no_other_session_notices(
    disturb: Callable[[Pair, Session], None],
    checkpoint: Checkpoint,
    undisturbed: list[list[object]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair, sessions = run(checkpoint, disturb)
    words = [[plain(word) for word in pair.reader.words[session]] for session in sessions]
    assert words[1:] == undisturbed[1:]
    assert all(words[1:])
    assert sorted(pair.reader.closed, key=lambda one: one.id) == sessions
    assert pair.reader.faults == {sessions[0]: SessionFault(FaultReason.FAILED, "RuntimeError: boom")}
    assert pair.engine.failure is None
    assert pair.engine.open_sessions == 0
    assert pair.client.sessions == {}
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_a_session_that_cannot_be_taken_up_by_a_successor_ends_and_the_others_go_on(
    checkpoint: Checkpoint,
) -> None:
    pair = Pair(checkpoint)
    sessions = [pair.client.open(OPTIONS) for _ in range(2)]
    for session in sessions:
        pair.client.push(session, legs()[0][40_000:80_000])
    pair.settle()
    pair.client.sessions[sessions[0]].transcript.find_splice = boom  # type: ignore[method-assign, assignment]
    pair.kill()
    pair.restart()
    failed = pair.client.take_failed()
    assert failed is not None
    assert failed.closed == (sessions[0],)
    pair.client.close(sessions[1])
    pair.settle()
    assert pair.reader.closed == [sessions[1]]
    assert pair.reader.words[sessions[1]]


@pytest.mark.parametrize("method", ["finalize", "close", "set_language", "open"])
def test_what_the_engine_raises_for_one_request_ends_that_session_and_says_why(
    method: str, checkpoint: Checkpoint
) -> None:
    pair = Pair(checkpoint)
    if method == "open":
        pair.engine.open = boom  # type: ignore[method-assign, assignment]
        session = pair.client.open(OPTIONS)
    else:
        session = pair.client.open(OPTIONS)
        pair.send()
        setattr(pair.engine, method, boom)
        getattr(pair.client, method)(session, *(["es-US"] if method == "set_language" else []))
    pair.send()
    assert pair.reader.closed == [session]
    fault = pair.reader.faults[session]
    assert fault.reason is (FaultReason.REFUSED if method == "open" else FaultReason.FAILED)
    assert "RuntimeError: boom" in fault.detail
    assert pair.exchange.supervisor.faults == {"engine exchange": 1}


def test_audio_of_the_others_in_one_message_is_heard(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint)
    for number in range(3):
        pair.exchange.receive(pair.gateway, Open(number, OPTIONS, False))
    first = pair.gateway.sessions[0]
    pair.engine._streams.by_session[first].push = boom  # type: ignore[method-assign]
    pcm = np.zeros(3 * 3_200, np.float32)
    (answer,) = pair.exchange.receive(pair.gateway, Push([0, 1, 2], [3_200] * 3, pcm.data.cast("B")))
    assert answer == Events([], [0], {}, {0: "RuntimeError: boom"})
    others = [pair.engine._streams.by_session[session] for session in pair.gateway.sessions.values()]
    assert [stream.audio.end for stream in others] == [3_200] * 2


def fails_once(real: Callable[..., object]) -> Callable[..., object]:
    """So that a connection which is made anew works. A plain function, as it may be put in a method's place."""
    failed = threading.Event()

    def call(*args: object, **options: object) -> object:
        if not failed.is_set():
            failed.set()
            boom()
        return real(*args, **options)

    return call


class Beside:
    """An engine of its own for each connection, on a thread: a process takes seconds to start."""

    patience_s = 60.0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._threads: list[threading.Thread] = []

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        engine = Engine(self._checkpoint, max_sessions=4)
        self._threads.append(threading.Thread(target=serve_connection, args=(engine, theirs)))
        self._threads[-1].start()
        return ours

    def end(self, *, kill: bool = False) -> None:
        for thread in self._threads:
            thread.join()


def beside(checkpoint: Checkpoint) -> RemoteEngine:
    return RemoteEngine(Beside(checkpoint), hang_s=60.0)


@pytest.mark.parametrize("place", ["frame", "collect", "receive", "check"])
def test_a_fault_of_the_reader_or_the_writer_ends_the_connection_and_no_word_is_lost(
    place: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = audio(3.6)
    local = Engine(checkpoint, max_sessions=4)
    remote = beside(checkpoint)
    heard = []
    for one in (local, remote):
        reader = Watched(one)
        with one:
            if one is remote:
                target, name = {
                    "frame": (engine.remote.engine, "frame"),
                    "collect": (remote._client, "collect"),
                    "receive": (remote._client, "receive"),
                    "check": (engine.remote.engine._Watchdog, "check"),
                }[place]
                monkeypatch.setattr(target, name, fails_once(getattr(target, name)))
            session = play(one, reader, pcm, {})
            reader.wait_closed(1)
            heard.append([plain(word) for word in reader.words[session]])
            assert one.failure is None
    assert heard[0] == heard[1] != []
    assert remote.stats.restarts == 1
    assert sum(remote.supervisor.faults.values()) == 1


@pytest.mark.parametrize("thread", ["_write", "_read"])
def test_a_thread_that_ends_all_the_same_ends_the_sessions_and_is_told(
    thread: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = beside(checkpoint)
    reader = Watched(remote)
    session = remote.open(OPTIONS)
    go = threading.Event()

    def fail() -> None:
        go.wait()
        raise SystemExit(1)

    monkeypatch.setattr(remote, thread, fail)
    with remote:
        assert remote.failure is None
        go.set()
        reader.wait_closed(1)
        assert reader.closed == [session]
        assert "SystemExit" in str(remote.failure)
        with pytest.raises(EngineError, match="restart the server"):
            remote.open(OPTIONS)


def test_an_engine_that_is_gone_is_told_until_the_next_one_is_there(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = beside(checkpoint)
    away = threading.Event()
    real = remote._connect

    def connect() -> object:
        away.wait()
        return real()

    monkeypatch.setattr(remote, "_connect", connect)
    with remote:
        remote._connection.shutdown(socket.SHUT_RDWR)
        until(lambda: remote.failure is not None)
        assert getattr(remote.failure, "retryable", False)
        assert "the engine is gone" in str(remote.failure)
        away.set()
        until(lambda: remote.failure is None)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_descriptors_for_a_connection_is_said_and_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def socketpair() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", socketpair)
    with pytest.raises(EngineUnavailable, match="Too many open files") as raised:
        Spawned({}).connect()
    assert raised.value.retryable


def test_a_subscriber_that_fails_is_no_end_of_an_engine_in_this_process(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    one = exact(checkpoint, max_sessions=2)
    reader = Reader()
    one.subscribe(boom)
    one.subscribe(reader.receive)
    session = one.open(OPTIONS)
    one.push(session, audio(3.0))
    one.close(session)
    while one.step():
        pass
    assert reader.closed == [session]
    assert reader.words[session]
    assert one.failure is None
    assert one.supervisor.faults["engine subscriber"] > 1
    assert caplog.text.count("Traceback") == 1


def test_a_step_that_fails_ends_an_engine_in_this_process_and_is_told_in_spite_of_a_bad_subscriber(
    checkpoint: Checkpoint,
) -> None:
    one = Engine(checkpoint, max_sessions=2)
    reader = Watched(one)
    one._callbacks.insert(0, boom)
    one._executor.step = boom  # type: ignore[method-assign, assignment]
    with one:
        session = one.open(OPTIONS)
        one.push(session, audio(1.0))
        reader.wait_closed(1)
    assert str(one.failure) == "boom"


@pytest.fixture
async def server(checkpoint: Checkpoint) -> "EngineServer":
    return EngineServer(Engine(checkpoint, max_sessions=2), greeting_s=0.05)


async def listening(server: EngineServer) -> None:
    async with asyncio.timeout(30):
        while server.address is None:  # noqa: ASYNC110 - it says so in no other way
            await asyncio.sleep(0.01)


async def test_who_does_not_greet_takes_no_gateways_place(server: EngineServer, tmp_path: Path) -> None:
    with server.engine:
        serving = asyncio.create_task(server.listen(f"unix:{tmp_path}/engine"))
        await listening(server)
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/engine")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        assert server.stats.silent == 1
        server.stop()
        await serving


async def test_a_gateway_whose_messages_meet_a_fault_is_disconnected_alone(
    server: EngineServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.greeting_s = 60.0
    with server.engine:
        serving = asyncio.create_task(server.listen(f"unix:{tmp_path}/engine"))
        await listening(server)
        good, other = [await asyncio.open_unix_connection(f"{tmp_path}/engine") for _ in range(2)]
        good[1].write(frame(Greeting(VERSION)))
        await good[0].read(4)
        monkeypatch.setattr(server._exchange, "receive", boom)
        other[1].write(frame(Greeting(VERSION)))
        async with asyncio.timeout(10):
            assert await other[0].read() == b""
        assert not good[0].at_eof()
        assert server.supervisor.faults == {"engine gateway": 1}
        for _, writer in (good, other):
            writer.close()
        server.stop()
        await serving
    assert not server.failed


async def test_the_server_of_an_engine_ends_with_a_failure_where_its_own_task_ends(
    server: EngineServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        boom()

    monkeypatch.setattr(server, "_report_capacity", fail)
    with server.engine, caplog.at_level(logging.ERROR):
        async with asyncio.timeout(30):
            await server.listen(f"unix:{tmp_path}/engine")
    assert server.failed
    assert "engine capacity has ended: RuntimeError: boom" in caplog.text


@pytest.mark.parametrize(
    ("number", "ends"),
    [(signal.SIGHUP, False), (signal.SIGUSR1, False), (signal.SIGQUIT, True), (signal.SIGTERM, True)],
)
def test_signals_of_an_engine_that_listens(number: signal.Signals, ends: bool, tmp_path: Path) -> None:
    address = tmp_path / "engine"
    command = [sys.executable, "-m", "trunkline.cli", "engine", "--listen", f"unix:{address}"]
    command[1:3] = ["-c", "import sys; from trunkline.cli import main; sys.exit(main())"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if "engine ready" in line:
            break
    process.send_signal(number)
    if not ends:
        assert f"{number.name} is ignored" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_spawned_engine_leaves_all_signals_to_its_gateway() -> None:
    remote = RemoteEngine.spawn(SETTINGS)
    process = remote._link.process  # type: ignore[attr-defined]
    with remote:
        for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            os.kill(process.pid, number)
        reader = Watched(remote)
        session = remote.open(OPTIONS)
        remote.push(session, audio(1.0))
        remote.close(session)
        reader.wait_closed(1)
    assert process.returncode == 0
    assert remote.stats.restarts == 0
