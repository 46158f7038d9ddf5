"""`RemoteEngine`: the engine's interface in a gateway, the engine itself in another process.

Two threads. The reader takes the engine's messages and calls its users back, as the engine's own thread does in one
process. It is the watchdog too: an engine that is gone or does not answer is replaced, and every session goes on there.
The writer sends what has gathered since it sent last. There is no queue between the two and the callers: what is to be
sent waits in the sessions' audio rings, which are bounded.

Whatever goes wrong with a connection gives that connection up: the engine is replaced and the sessions go on. Should
one of the threads end all the same, so do the sessions, and `failure` says why.
"""

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.api import EngineLoad, Session, SessionOptions, StepEvents
from engine.errors import EngineError, EngineUnavailable, MalformedFrame
from engine.remote.client import Client
from engine.remote.link import Link, Remote, Spawned
from engine.remote.wire import VERSION, Events, Failed, Framer, FromEngine, Greeting, Hello, Ping, frame, from_engine
from engine.stats import EngineStats
from supervision import Supervisor, one_line

logger = logging.getLogger(__name__)

_READ = 1 << 18

_POLL_S = 0.25
"""How often the reader looks at the time where nothing comes."""

_SHORT_LIFE_S = 30.0
"""An engine that is lost sooner than this after its start is replaced after a pause only."""

_LONGEST_PAUSE_S = 10.0


class RemoteEngine:
    """Implements `Recognizer` and what a server needs beside it. Thread-safe; its callbacks run on its threads.

    Connects at once and raises `EngineUnavailable` where that fails. `replay_s`: audio kept for each session, for the
    case that the engine is lost: it must cover the engine's start. `hang_s`: an engine that owes something and says
    nothing for so long is given up.
    """

    def __init__(self, link: Link, *, replay_s: float = 30.0, hang_s: float = 10.0) -> None:
        self._link = link
        self._hang_s = hang_s
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._callbacks: list[Callable[[StepEvents], None]] = []
        self._up = True
        self._sending = False
        self._absent: str | None = None
        self.supervisor = Supervisor(self._fail)
        self._connection, self._framer, hello = self._connect()
        self._client = Client(hello, replay_s)
        self.supervisor.include(self._client.supervisor)

    @classmethod
    def spawn(cls, settings: Mapping[str, Any] | None = None, **options: float) -> "RemoteEngine":
        """Start an engine process of our own; `settings`: the arguments of `Engine.load`."""
        return cls(Spawned(settings or {}), **options)

    @classmethod
    def at(cls, address: str, **options: float) -> "RemoteEngine":
        """Use the engine that listens at `unix:/path` or `tcp:host:port`."""
        return cls(Remote(address), **options)

    def start(self) -> None:
        """Start the threads."""
        for target, name in ((self._read, "engine reader"), (self._write, "engine writer")):
            self._threads.append(self.supervisor.thread(target, name))

    def stop(self) -> None:
        """Leave the engine; one of our own ends. Open sessions get nothing more."""
        with self._changed:
            self._stopping = True
            self._hang_up()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._connection.close()
        self._link.end()

    def __enter__(self) -> "RemoteEngine":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self._client.hello.languages)

    @property
    def chunks_ms(self) -> tuple[int, ...]:
        """Latency classes of the checkpoint, fastest first."""
        return tuple(self._client.hello.chunks_ms)

    @property
    def max_sessions(self) -> int:
        return self._client.max_sessions

    @property
    def open_sessions(self) -> int:
        """Sessions of this gateway."""
        return len(self._client.sessions)

    def snapshot(self) -> EngineLoad:
        """How busy the engine is, by its last report."""
        return self._client.load

    @property
    def stats(self) -> EngineStats:
        """The engine's last report: one comes several times a second."""
        return self._client.stats

    @property
    def failure(self) -> Exception | None:
        """Why nothing comes now: a thread has ended, or there is no engine and the next one is awaited; None while
        it works."""
        failures = self.supervisor.failures
        if failures:
            return EngineError("; ".join(f"{name}: {why}" for name, why in failures.items()))
        return None if self._absent is None else EngineUnavailable(self._absent)

    def open(self, options: SessionOptions) -> Session:
        """Returns at once. Whether the engine takes the session comes as `StepEvents.opened` or `faults`."""
        with self._changed:
            if self.supervisor.failures:
                raise EngineError(f"the engine cannot be used ({self.failure}): restart the server")
            session = self._client.open(options)
            self._changed.notify_all()
        return session

    def awaits_answer(self, session: Session) -> bool:
        with self._lock:
            return self._client.awaits_answer(session)

    def reserve(self, chunk_ms: int) -> None:
        """Have the engine allocate the slots of a class now. Raises `UnknownChunk`."""
        with self._changed:
            self._client.reserve(chunk_ms)
            self._changed.notify_all()

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        with self._lock:
            self._client.push(session, pcm)

    def flush(self) -> None:
        with self._changed:
            if self._client.has_outgoing:
                self._changed.notify_all()

    def finalize(self, session: Session) -> None:
        with self._changed:
            self._client.finalize(session)
            self._changed.notify_all()

    def set_language(self, session: Session, language: str) -> None:
        with self._changed:
            self._client.set_language(session, language)
            self._changed.notify_all()

    def close(self, session: Session) -> None:
        with self._changed:
            self._client.close(session)
            self._changed.notify_all()

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.remove(callback)

    def _write(self) -> None:
        """Send whatever has gathered, while there is a connection."""
        while True:
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                while not self._stopping and not (self._up and self._client.has_outgoing):
                    self._changed.wait()
                if self._stopping:
                    return
                self._sending = True
                connection, failed = self._connection, None
                try:
                    messages, failed = self._client.collect(), self._client.take_failed()
                except Exception as error:  # noqa: BLE001 - the next engine is asked for everything anew
                    self._give_up(error)
                    messages = []
            if failed is not None:
                self._publish(failed)
            try:
                for message in messages:
                    connection.sendall(frame(message))
            except OSError:  # the reader sees the same end, and what was not consumed goes out to the next engine
                with self._changed:
                    self._up = False
            except Exception as error:  # noqa: BLE001 - the next engine is asked for everything anew
                with self._changed:
                    self._give_up(error)

    def _read(self) -> None:
        """Serve one engine after the other."""
        pause_s = 0.0
        while True:
            began = time.monotonic()
            try:
                lost = self._serve()
            except Exception as error:  # noqa: BLE001 - the next engine is asked for everything anew
                self.supervisor.fault("engine reader", error, "the connection is given up")
                lost = f"cannot be followed ({one_line(error)})"
            with self._changed:
                self._absent = f"the engine {lost}"
                self._hang_up()
                self._changed.wait_for(lambda: not self._sending)
                if self._stopping or self.supervisor.failures:
                    return
                events = self._client.disconnected()
            logger.error("the engine %s: its %d sessions go on with the next one", lost, self.open_sessions)
            self._connection.close()
            self._link.end(kill=True)
            self._publish(events)
            if time.monotonic() - began > _SHORT_LIFE_S:
                pause_s = 0.0
            while not self._replace(pause_s):
                if self._stopping:
                    return
                pause_s = min(max(2 * pause_s, 0.1), _LONGEST_PAUSE_S)
            pause_s = max(pause_s, 0.1)

    def _replace(self, pause_s: float) -> bool:
        """Find a new engine after a pause. Returns whether there is one."""
        with self._changed:
            if self._changed.wait_for(lambda: self._stopping, pause_s):
                return False
        try:
            connection, framer, hello = self._connect()
        except EngineUnavailable as error:
            logger.error("%s: trying again", error)  # noqa: TRY400 - the message says it all
            self._absent = str(error)
            return False
        except Exception as error:  # noqa: BLE001 - the next attempt is another one
            self.supervisor.fault("engine reader", error, "trying again")
            return False
        with self._changed:
            self._connection, self._framer = connection, framer
            self._up = not self._stopping
            self._client.connected(hello)
            failed = self._client.take_failed()
            self._absent = None
            self._changed.notify_all()
        if failed is not None:
            self._publish(failed)
        return True

    def _connect(self) -> tuple[socket.socket, Framer[FromEngine], Hello]:
        """A connection to an engine that has said what it is. Raises `EngineUnavailable`."""
        connection, framer = self._link.connect(), from_engine()
        try:
            connection.sendall(frame(Greeting(VERSION)))
            return connection, framer, self._greet(connection, framer)
        except (EngineUnavailable, MalformedFrame, OSError) as error:
            connection.close()
            self._link.end(kill=True)
            raise EngineUnavailable(str(error)) from error

    def _greet(self, connection: socket.socket, framer: Framer[FromEngine]) -> Hello:
        """Wait for the engine's first message."""
        until = time.monotonic() + self._link.patience_s
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        while not self._stopping:
            if poll.poll(_POLL_S * 1000):
                data = connection.recv(_READ)
                if not data:
                    raise EngineUnavailable("the engine ended before it was ready: its own log says why")
                for message in framer.feed(data):
                    if isinstance(message, Failed):
                        raise EngineUnavailable(message.reason)
                    if isinstance(message, Hello):
                        return message
            elif time.monotonic() > until:
                raise EngineUnavailable(f"the engine does not answer within {self._link.patience_s:g} s")
        raise EngineUnavailable("the engine is not needed any more")

    def _serve(self) -> str:
        """Take the present engine's messages until it is lost; returns how."""
        connection, poll, watchdog = self._connection, select.poll(), _Watchdog(self._hang_s)
        poll.register(connection, select.POLLIN)
        while True:
            events = poll.poll(_POLL_S * 1000)
            try:
                data = connection.recv(_READ) if events else None
                if data == b"":
                    return "is gone"
                stepped = data is not None and self._take(data)
            except OSError as error:
                return f"is gone ({error.strerror})"
            except MalformedFrame as error:
                return f"sent what is no message ({error})"
            with self._changed:
                if watchdog.check(time.monotonic(), received=data is not None, stepped=stepped, client=self._client):
                    self._client.send(Ping(0))
                    self._changed.notify_all()
            if watchdog.hung:
                return f"does not answer for {self._hang_s:g} s"

    def _take(self, data: bytes) -> bool:
        """Publish what the messages bring. Returns whether one was of a step."""
        stepped = False
        for message in self._framer.feed(data):
            stepped = stepped or isinstance(message, Events)
            with self._changed:
                events, failed = self._client.receive(message), self._client.take_failed()
                if self._client.has_outgoing:
                    self._changed.notify_all()
            for update in (events, failed):
                if update is not None:
                    self._publish(update)
        return stepped

    def _publish(self, events: StepEvents) -> None:
        if not (events.hypotheses or events.closed or events.progress or events.opened):
            return
        for callback in list(self._callbacks):
            try:
                callback(events)
            except Exception as error:  # noqa: BLE001 - the others have their calls to serve
                self.supervisor.fault("engine subscriber", error)

    def _give_up(self, error: Exception) -> None:
        """Of the writer, for a fault that is no end of the connection. Holding the lock."""
        self.supervisor.fault("engine writer", error, "the connection is given up")
        self._hang_up()

    def _fail(self, _name: str, why: str) -> None:
        """A thread has ended: end every session, so that no call waits for words that cannot come."""
        with self._changed:
            self._sending = False
            self._hang_up()
            events = self._client.end_all()
        logger.error("the engine cannot be used any more (%s): %d sessions end", why, len(events.closed))
        self._publish(events)

    def _hang_up(self) -> None:
        """End the connection for both threads. Holding the lock."""
        self._up = False
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._changed.notify_all()


class _Watchdog:
    """Whether an engine still works. Time in which this process itself stood still counts as one moment."""

    def __init__(self, hang_s: float) -> None:
        self.hung = False
        self._hang_s = hang_s
        self._last = time.monotonic()
        self._silent_s = 0.0  # since it said anything
        self._idle_s = 0.0  # since its last step
        self._stalled_s = 0.0  # since its last step, while it owed one
        self._asked = False

    def check(self, now: float, *, received: bool, stepped: bool, client: Client) -> bool:
        """Take notice of what came; returns whether the engine is to be asked for a sign of life."""
        passed, self._last = min(now - self._last, 1.0), now
        self._silent_s = 0.0 if received else self._silent_s + passed
        self._idle_s = 0.0 if stepped else self._idle_s + passed
        if stepped:
            self._stalled_s = 0.0
        elif self._idle_s >= 1.0:
            self._stalled_s = self._stalled_s + self._idle_s if client.unanswered else 0.0
            self._idle_s = 0.0
        if received:
            self._asked = False
        self.hung = max(self._silent_s, self._stalled_s) > self._hang_s
        ask = not self._asked and self._silent_s > self._hang_s / 3
        self._asked = self._asked or ask
        return ask
