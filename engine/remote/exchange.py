"""An engine process's side of the conversation: the sessions of all gateways. Sans-IO: no socket, no clock.

Whatever one gateway sends, the others' sessions go on: what is no message ends its connection, what the engine does not
take is answered or left out. A fault of ours with one session ends that session: it is dropped, and its gateway gets
the reason.
"""

import logging
from typing import Protocol

import numpy as np

from engine.api import EngineLoad, Recognizer, Session, SessionOptions, StepEvents
from engine.errors import EngineError, EngineFull, MalformedFrame
from engine.remote.wire import (
    VERSION,
    CapacityReport,
    Close,
    Drop,
    Events,
    Finalize,
    FromEngine,
    FromGateway,
    Greeting,
    Hello,
    Open,
    Opened,
    OpenRefused,
    Ping,
    Pong,
    Push,
    Reserve,
    SetLanguage,
    WireHypothesis,
)
from engine.stats import EngineStats
from supervision import Supervisor, one_line

logger = logging.getLogger(__name__)


class Served(Recognizer, Protocol):
    """What of the engine is needed to serve it."""

    stats: EngineStats

    def open(self, options: SessionOptions, *, again: bool = False) -> Session: ...

    @property
    def chunks_ms(self) -> tuple[int, ...]: ...

    @property
    def max_sessions(self) -> int: ...

    @property
    def open_sessions(self) -> int: ...

    def snapshot(self) -> EngineLoad: ...

    def reserve(self, chunk_ms: int) -> None: ...

    def drop(self, session: Session) -> None: ...


class Gateway:
    """One connection: its sessions by the gateway's numbers. `greeted`: it has said that it is one."""

    def __init__(self) -> None:
        self.greeted = False
        self.sessions: dict[int, Session] = {}


class Exchange:
    """Not thread-safe. `ignored`: messages about sessions that are not there, or that the engine did not take."""

    def __init__(self, engine: Served) -> None:
        self.ignored = 0
        self.supervisor = Supervisor()
        self._engine = engine
        self._owners: dict[Session, tuple[Gateway, int]] = {}

    def receive(self, gateway: Gateway, message: FromGateway) -> list[FromEngine]:
        """Do what a gateway asks; returns the answers. Raises `MalformedFrame` where it breaks the protocol."""
        if isinstance(message, Push):
            return self._push(gateway, message)
        if isinstance(message, Greeting):
            return [self._greet(gateway, message)]
        if not gateway.greeted:
            raise MalformedFrame(f"{type(message).__name__} before the greeting")
        if isinstance(message, Open):
            return self._open(gateway, message)
        if isinstance(message, Ping):
            return [Pong(message.number)]
        try:
            self._ask(gateway, message)
        except EngineError as error:
            self.ignored += 1
            logger.debug("%s is not done: %s", type(message).__name__, error)
        except Exception as error:  # noqa: BLE001 - of this session alone
            return self._fault(gateway, getattr(message, "id", None), error)
        return []

    def step(self, events: StepEvents) -> dict[Gateway, Events]:
        """What a step of the engine brought, for each gateway that it brought something."""
        parts: dict[Gateway, Events] = {}
        owners = self._owners
        for hypothesis in events.hypotheses:
            if owner := owners.get(hypothesis.session):
                sent = WireHypothesis(owner[1], hypothesis.first, hypothesis.words, hypothesis.is_final)
                _part(parts, owner[0]).hypotheses.append(sent)
        for session, seconds in events.progress.items():
            if owner := owners.get(session):
                _part(parts, owner[0]).progress[owner[1]] = seconds
        for session in events.closed:
            if owner := owners.pop(session, None):
                gateway, number = owner
                _part(parts, gateway).closed.append(number)
                gateway.sessions.pop(number, None)
                if fault := events.faults.get(session):
                    _part(parts, gateway).failed[number] = fault.detail
        return parts

    def capacity(self, gateway: Gateway) -> CapacityReport:
        """How busy the engine is, as this gateway sees it."""
        engine = self._engine
        others = max(engine.open_sessions - len(gateway.sessions), 0)
        return CapacityReport(engine.max_sessions, others, engine.stats, engine.snapshot())

    def leave(self, gateway: Gateway) -> None:
        """The gateway is gone: its slots are free."""
        for session in gateway.sessions.values():
            self._owners.pop(session, None)
            self._engine.drop(session)
        gateway.sessions.clear()

    def _greet(self, gateway: Gateway, greeting: Greeting) -> Hello:
        if greeting.version != VERSION:
            raise MalformedFrame(f"protocol version {greeting.version}: this engine speaks {VERSION}")
        gateway.greeted = True
        engine = self._engine
        return Hello(VERSION, sorted(engine.languages), list(engine.chunks_ms), engine.max_sessions)

    def _open(self, gateway: Gateway, message: Open) -> list[FromEngine]:
        if message.id in gateway.sessions:
            raise MalformedFrame(f"session {message.id} is open already")
        try:
            session = self._engine.open(message.options, again=message.again)
        except EngineError as error:
            return [OpenRefused(message.id, str(error), isinstance(error, EngineFull))]
        except Exception as error:  # noqa: BLE001 - of this session alone
            return self._fault(gateway, message.id, error)
        gateway.sessions[message.id] = session
        self._owners[session] = gateway, message.id
        return [Opened(message.id)]

    def _fault(self, gateway: Gateway, number: int | None, error: Exception) -> list[FromEngine]:
        """The answer where it concerns a session, whose slot is free then."""
        self.supervisor.fault("engine exchange", error, "" if number is None else f"session {number} ends", always=True)
        if number is None:
            return []
        session = gateway.sessions.pop(number, None)
        if session is None:
            return [OpenRefused(number, f"internal error: {one_line(error)}", False)]
        self._owners.pop(session, None)
        try:
            self._engine.drop(session)
        except Exception as fault:  # noqa: BLE001 - the answer says that the session is over
            self.supervisor.fault("engine exchange", fault)
        return [Events([], [number], {}, {number: one_line(error)})]

    def _push(self, gateway: Gateway, message: Push) -> list[FromEngine]:
        answers: list[FromEngine] = []
        pcm, at = np.frombuffer(message.pcm, np.float32), 0
        sessions, engine = gateway.sessions, self._engine
        for number, length in zip(message.ids, message.lengths, strict=True):
            session = sessions.get(number)
            try:
                if session is None:
                    self.ignored += 1
                else:
                    engine.push(session, pcm[at : at + length])
            except EngineError:
                self.ignored += 1
            except Exception as error:  # noqa: BLE001 - of this session alone
                answers += self._fault(gateway, number, error)
            at += length
        return answers

    def _ask(self, gateway: Gateway, message: FromGateway) -> None:
        engine = self._engine
        if isinstance(message, Reserve):
            engine.reserve(message.chunk_ms)
            return
        assert isinstance(message, Finalize | SetLanguage | Close | Drop)
        session = gateway.sessions.get(message.id)
        if session is None:
            self.ignored += 1
        elif isinstance(message, Finalize):
            engine.finalize(session)
        elif isinstance(message, SetLanguage):
            engine.set_language(session, message.language)
        elif isinstance(message, Close):
            engine.close(session)
        else:
            del gateway.sessions[message.id], self._owners[session]
            engine.drop(session)


def _part(parts: dict[Gateway, Events], gateway: Gateway) -> Events:
    part = parts.get(gateway)
    if part is None:
        part = parts[gateway] = Events([], [], {})
    return part
