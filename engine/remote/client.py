"""A gateway's side of the conversation with an engine process: all its sessions. Sans-IO: no socket, thread or clock.

`push` and the like write into the sessions; `collect` turns what has gathered since into messages, the audio of all
sessions into one `Push`. `receive` takes the engine's messages. `disconnected` and `connected` come around the loss of
an engine: every session is then opened again and its replay log goes out from before the splice on.
"""

import itertools
import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.api import (
    SAMPLE_RATE_HZ,
    EngineLoad,
    FaultReason,
    Hypothesis,
    Session,
    SessionFault,
    SessionOptions,
    StepEvents,
)
from engine.errors import EngineFull, SessionClosed, UnknownChunk, UnknownLocale
from engine.remote.takeover.replay import SendAudio, SendClose
from engine.remote.takeover.session import RemoteSession
from engine.remote.wire import (
    MAX_SAMPLES,
    CapacityReport,
    Close,
    Drop,
    Events,
    Finalize,
    FromEngine,
    FromGateway,
    Hello,
    Open,
    Opened,
    OpenRefused,
    Push,
    Reserve,
    SetLanguage,
)
from engine.stats import EngineStats
from supervision import Supervisor, one_line

logger = logging.getLogger(__name__)

_PART = MAX_SAMPLES // 2
"""Samples of the longest piece of one session's audio."""

_LOST_ENGINES = 3
"""Engines lost in a row while they were at a session that has ended, after which its last words are given up: its audio
may be what they die of. The audio of a running session passes by itself."""


class Client:
    """Not thread-safe: its owner holds a lock. `replay_s`: audio that each session keeps, oldest thrown out first.

    `lost_samples`: audio that no engine had because it was thrown out before one was there. What goes wrong with one
    session ends that session, which `take_failed` reports.
    """

    def __init__(self, hello: Hello, replay_s: float) -> None:
        self.hello = hello
        self.stats = EngineStats()
        self.lost_samples = 0
        self.supervisor = Supervisor()
        self._failed: dict[Session, SessionFault] = {}
        self.sessions: dict[Session, RemoteSession] = {}
        self._replay_s = replay_s
        self._by_wire_id: dict[int, RemoteSession] = {}
        self._dirty: dict[RemoteSession, None] = {}
        self._waiting: list[RemoteSession] = []
        self._messages: list[FromGateway] = []
        self._reserved: dict[int, None] = {}
        self._ids = itertools.count()
        self._wire_ids = itertools.count()
        self._max_sessions = hello.max_sessions
        self._others = 0
        self._load: EngineLoad | None = None
        self._unanswered: dict[RemoteSession, None] = {}
        self._uncounted = 0  # sessions opened since the last `CapacityReport`
        self._up = True
        self._refusals = 0
        self._restarts = 0

    @property
    def max_sessions(self) -> int:
        return self._max_sessions

    @property
    def load(self) -> EngineLoad:
        """How busy the engine is, by its last report."""
        if self._load is None:
            return EngineLoad(len(self.sessions), self._max_sessions, 0.0, ())
        return self._load

    @property
    def has_outgoing(self) -> bool:
        """`collect` may have something."""
        return bool(self._dirty or self._messages)

    @property
    def unanswered(self) -> bool:
        """The engine owes words, finals or ends to some session."""
        return any(remote.opened and remote.replay_log.unanswered for remote in self.sessions.values())

    def open(self, options: SessionOptions) -> Session:
        """Raises `EngineFull`, by the engine's last report, `UnknownLocale`, `UnknownChunk`."""
        self.check_chunk(options.chunk_ms)
        self._check_language(options.language)
        if len(self.sessions) + self._others >= self._max_sessions:
            self._refusals += 1
            raise EngineFull(f"all {self._max_sessions} sessions of the engine are in use: try again later")
        if any(of.chunk_ms == options.chunk_ms and of.headroom <= self._uncounted for of in self.load.classes):
            self._refusals += 1
            raise EngineFull(f"the engine has no time for another session of {options.chunk_ms} ms: try again later")
        self._uncounted += 1
        number = next(self._ids)
        session = Session(id=number, slot=number, generation=0, chunk_ms=options.chunk_ms)
        remote = RemoteSession(session, options, next(self._wire_ids), self._replay_s)
        self.sessions[session] = self._by_wire_id[remote.wire_id] = remote
        self._dirty[remote] = self._unanswered[remote] = None
        return session

    def awaits_answer(self, session: Session) -> bool:
        """The engine has not said yet whether it takes the session."""
        remote = self.sessions.get(session)
        return remote is not None and not remote.admitted

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        remote = self._running(session)
        log = remote.replay_log
        log.push(pcm)
        if log.overrun and self._up:
            self._begin_again(remote)
        self._dirty[remote] = None

    def finalize(self, session: Session) -> None:
        remote = self._running(session)
        remote.replay_log.finalize()
        self._dirty[remote] = None

    def set_language(self, session: Session, language: str) -> None:
        self._check_language(language)
        remote = self._running(session)
        remote.replay_log.set_language(language)
        self._dirty[remote] = None

    def close(self, session: Session) -> None:
        remote = self._running(session)
        remote.replay_log.closed = True
        self._dirty[remote] = None

    def reserve(self, chunk_ms: int) -> None:
        """Have the engine allocate the slots of a class. Raises `UnknownChunk`."""
        self.check_chunk(chunk_ms)
        self._reserved[chunk_ms] = None
        self._messages.append(Reserve(chunk_ms))

    def send(self, message: FromGateway) -> None:
        """Put a message of the connection's own before what is collected next."""
        self._messages.append(message)

    def collect(self) -> list[FromGateway]:
        """Messages to send now, of `MAX_SAMPLES` of audio or little more; what is left stays for the next call."""
        batch, dirty = _MessageBatch(self._messages), self._dirty
        self._messages, self._dirty = [], {}
        for remote in dirty:
            if batch.samples >= MAX_SAMPLES:
                self._dirty[remote] = None
            elif not remote.waiting:
                try:
                    self._collect(remote, batch)
                except Exception as error:  # noqa: BLE001 - of this session alone
                    self._fault(remote, error)
        return batch.finish()

    def take_failed(self) -> StepEvents | None:
        """The sessions that a fault of ours has ended since the last time."""
        failed, self._failed = self._failed, {}
        return StepEvents((), tuple(failed), {}, faults=failed) if failed else None

    def _fault(self, remote: RemoteSession, error: Exception) -> None:
        """What goes wrong with one session here ends it, and the engine gives its slot to another."""
        self.supervisor.fault("remote engine", error, f"session {remote.session.id} ends", always=True)
        if remote.opened and remote.wire_id in self._by_wire_id:
            self._messages.append(Drop(remote.wire_id))
        self._end(remote)
        self._failed[remote.session] = SessionFault(FaultReason.FAILED, one_line(error))

    def _collect(self, remote: RemoteSession, batch: "_MessageBatch") -> None:
        if not remote.opened:
            remote.opened = True
            batch.add(Open(remote.wire_id, self._options(remote), remote.again))
        audio = remote.replay_log.due_audio()
        if audio is not None:
            self._add_audio(remote, *audio, batch)
            return
        for action in remote.replay_log.due():
            if isinstance(action, SendAudio):
                self._add_audio(remote, action.begin, action.end, batch)
            elif isinstance(action, SendClose):
                batch.add(Close(remote.wire_id))
            elif action.language is None:
                batch.add(Finalize(remote.wire_id))
            else:
                batch.add(SetLanguage(remote.wire_id, action.language))

    @staticmethod
    def _add_audio(remote: RemoteSession, begin: int, end: int, batch: "_MessageBatch") -> None:
        while begin < end:
            part = min(begin + _PART, end)
            batch.add_audio(remote.wire_id, remote.replay_log.read(begin, part))
            begin = part

    def receive(self, message: FromEngine) -> StepEvents | None:
        """Take a message of the engine; returns the events that its users get by it."""
        if isinstance(message, Events):
            return self._events(message)
        if isinstance(message, Opened):
            return self._admit(message)
        if isinstance(message, OpenRefused):
            return self._refuse(message)
        if isinstance(message, CapacityReport):
            self._max_sessions, self._others, self.stats = message.max_sessions, message.others, message.stats
            self._load, self._uncounted = message.load, 0
            self.stats.refused += self._refusals
            self.stats.skipped_samples += self.lost_samples
            self.stats.restarts = self._restarts
            waiting, self._waiting = self._waiting, []
            for remote in waiting:
                self._begin_again(remote)
        return None

    def end_all(self) -> StepEvents:
        """No engine will be asked any more: every session ends."""
        ended = tuple(self.sessions)
        self._messages, self._dirty, self._waiting, self._by_wire_id, self.sessions = [], {}, [], {}, {}
        fault = SessionFault(FaultReason.LOST, "no engine will be asked any more", retryable=False)
        return StepEvents((), ended, {}, faults=dict.fromkeys(ended, fault))

    def disconnected(self) -> StepEvents:
        """The engine is gone, and all it had not sent. Ends the sessions that no engine is asked to take up again."""
        self._up = False
        self._messages, self._dirty, self._waiting, self._by_wire_id = [], {}, [], {}
        given_up = []
        for session, remote in self.sessions.items():
            remote.lost += remote.opened
            if remote.replay_log.closed and remote.lost > _LOST_ENGINES:
                logger.error("session %d is given up: the engine failed on it %d times", session.id, remote.lost)
                given_up.append(session)
        for session in given_up:
            self._unanswered.pop(self.sessions.pop(session), None)
        fault = SessionFault(FaultReason.LOST, f"{_LOST_ENGINES + 1} engines were lost while they heard it")
        return StepEvents((), tuple(given_up), {}, faults=dict.fromkeys(given_up, fault))

    def connected(self, hello: Hello) -> None:
        """Another engine is there: it is asked for everything that is not published."""
        self.hello, self._max_sessions, self._others = hello, hello.max_sessions, 0
        self._load, self._uncounted = None, 0
        self._up = True
        self._restarts += 1
        self.stats.restarts = self._restarts
        self._messages = [Reserve(chunk_ms) for chunk_ms in self._reserved]
        for remote in list(self.sessions.values()):
            self._begin_again(remote)

    def _begin_again(self, remote: RemoteSession) -> None:
        try:
            self._rewind(remote)
        except Exception as error:  # noqa: BLE001 - of this session alone
            self._fault(remote, error)

    def _rewind(self, remote: RemoteSession) -> None:
        if self._by_wire_id.pop(remote.wire_id, None) is not None and remote.opened:
            self._messages.append(Drop(remote.wire_id))
        remote.rewind(next(self._wire_ids))
        known = max(round(remote.transcript.consumed_s * SAMPLE_RATE_HZ), remote.given_up)
        self.lost_samples += max(remote.replay_log.start - known, 0)
        remote.given_up = max(remote.replay_log.start, known)
        self._by_wire_id[remote.wire_id] = remote
        self._dirty[remote] = None

    def _events(self, events: Events) -> StepEvents:
        by_wire_id = self._by_wire_id
        hypotheses: list[Hypothesis | None] = []
        closed: list[Session] = []
        faults: dict[Session, SessionFault] = {}
        progress: dict[Session, float] = {}
        for received in events.hypotheses:
            remote = by_wire_id.get(received.id)
            if remote is not None:
                try:
                    hypotheses.append(remote.receive(received))
                except Exception as error:  # noqa: BLE001 - of this session alone
                    self._fault(remote, error)
        for wire_id, consumed_s in events.progress.items():
            remote = by_wire_id.get(wire_id)
            if remote is None:
                continue
            try:
                hypothesis, is_more = remote.advance(consumed_s)
            except Exception as error:  # noqa: BLE001 - of this session alone
                self._fault(remote, error)
                continue
            hypotheses.append(hypothesis)
            if is_more:
                progress[remote.session] = remote.transcript.consumed_s
            if remote.replay_log.paced:
                self._dirty[remote] = None
        for wire_id in events.closed:
            remote = by_wire_id.get(wire_id)
            if remote is not None:
                self._end(remote)
                closed.append(remote.session)
                if wire_id in events.failed:
                    faults[remote.session] = SessionFault(FaultReason.FAILED, events.failed[wire_id])
        known = tuple(one for one in hypotheses if one is not None)
        return StepEvents(known, tuple(closed), progress, faults=faults)

    def _admit(self, opened: Opened) -> StepEvents | None:
        remote = self._by_wire_id.get(opened.id)
        if remote is None or remote.admitted:
            return None
        remote.admitted = True
        del self._unanswered[remote]
        return StepEvents((), (), {}, opened=(remote.session,))

    def _refuse(self, refused: OpenRefused) -> StepEvents | None:
        remote = self._by_wire_id.get(refused.id)
        if remote is None:
            return None
        if remote.again and refused.retryable:
            remote.waiting, remote.opened = True, False  # it has words already: it is asked for until a slot is free
            self._waiting.append(remote)
            del self._by_wire_id[refused.id]
            return None
        self._refusals += 1
        logger.warning("session %d is refused by the engine: %s", remote.session.id, refused.reason)
        self._end(remote)
        fault = SessionFault(FaultReason.REFUSED, refused.reason, refused.retryable)
        return StepEvents((), (remote.session,), {}, faults={remote.session: fault})

    def _end(self, remote: RemoteSession) -> None:
        self.sessions.pop(remote.session, None)
        self._by_wire_id.pop(remote.wire_id, None)
        self._dirty.pop(remote, None)
        self._unanswered.pop(remote, None)

    def _options(self, remote: RemoteSession) -> SessionOptions:
        """Those it was opened with, and the language that has been set since."""
        return replace(remote.options, language=remote.replay_log.language)

    def _running(self, session: Session) -> RemoteSession:
        remote = self.sessions.get(session)
        if remote is None or remote.replay_log.closed:
            raise SessionClosed(f"session {session.id} is closed: open a new one")
        return remote

    def check_chunk(self, chunk_ms: int) -> None:
        """Raises `UnknownChunk`."""
        if chunk_ms not in self.hello.chunks_ms:
            known = ", ".join(map(str, self.hello.chunks_ms))
            raise UnknownChunk(f"chunk_ms={chunk_ms}: this checkpoint has {known}")

    def _check_language(self, language: str) -> None:
        if language not in self.hello.languages:
            known = ", ".join(sorted(self.hello.languages))
            raise UnknownLocale(f"unknown language {language!r}: this checkpoint has {known}")


class _MessageBatch:
    """Messages in the making. Audio gathers in one `Push` until another message must stand behind it."""

    def __init__(self, messages: list[FromGateway]) -> None:
        self.samples = 0
        self._messages = messages
        self._ids: list[int] = []
        self._pcm: list[NDArray[np.float32]] = []
        self._pending = 0

    def add(self, message: FromGateway) -> None:
        self._end_push()
        self._messages.append(message)

    def add_audio(self, wire_id: int, pcm: NDArray[np.float32]) -> None:
        self._ids.append(wire_id)
        self._pcm.append(pcm)
        self._pending += len(pcm)
        self.samples += len(pcm)
        if self._pending >= _PART:
            self._end_push()

    def finish(self) -> list[FromGateway]:
        self._end_push()
        return self._messages

    def _end_push(self) -> None:
        if self._ids:
            audio = np.concatenate(self._pcm).data.cast("B")
            self._messages.append(Push(self._ids, [len(pcm) for pcm in self._pcm], audio))
            self._ids, self._pcm, self._pending = [], [], 0
