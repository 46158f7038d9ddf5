"""A recogniser that says what the test wrote: words appear when their audio was consumed."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.api import (
    SAMPLE_RATE_HZ,
    FaultReason,
    Hypothesis,
    LanguageSource,
    Recognizer,
    Session,
    SessionFault,
    SessionOptions,
    StepEvents,
    Word,
    replace_from,
)
from engine.errors import EngineFull, SessionClosed, UnknownLocale

CARRIED, DETECTED, CONFIGURED = LanguageSource.CARRIED, LanguageSource.DETECTED, LanguageSource.CONFIGURED
SESSION = Session(0, 0, 0, 80)
"""Of hypotheses that no recogniser made."""


@dataclass(frozen=True)
class Cue:
    """`words` replace all from `first` on, once `at_s` seconds of the session were consumed."""

    at_s: float
    first: int
    words: tuple[Word, ...]


def words(
    text: str,
    start: float = 0.0,
    language: str | None = "en-US",
    source: LanguageSource | None = LanguageSource.DETECTED,
    pace: float = 0.32,
) -> tuple[Word, ...]:
    """A word every `pace` seconds, each 0.24 s long."""
    return tuple(
        Word(part, start + k * pace, start + k * pace + 0.24, 0.9, language, source)
        for k, part in enumerate(text.split())
    )


def script(*sentences: tuple[Word, ...]) -> list[Cue]:
    """Every word is recognised at its end, one after the other."""
    flat = [word for sentence in sentences for word in sentence]
    return [Cue(word.end, index, (word,)) for index, word in enumerate(flat)]


@dataclass
class Running:
    """State of one scripted session."""

    options: SessionOptions
    cues: list[Cue]
    pcm: list[NDArray[np.float32]] = field(default_factory=list)
    pushed: int = 0
    consumed: int = 0
    said: int = 0
    finalize: int = 0
    closing: bool = False

    def audio(self) -> NDArray[np.float32]:
        return np.concatenate([np.zeros(0, np.float32), *self.pcm])


class ScriptedRecognizer(Recognizer):
    """Scripts are handed out in the order of `open`. `flushes` False: it never answers `close`. `answers` False:
    whether it takes a session is said by `admit` and `refuse`, as by an engine in another process. `ahead_s`: the
    answer to `finalize` has the words that are due so long after it, too, as a flushed clone writes them. `finalizes`
    False: it gives none."""

    def __init__(
        self,
        *scripts: list[Cue],
        max_sessions: int = 64,
        flushes: bool = True,
        answers: bool = True,
        ahead_s: float = 0.0,
        finalizes: bool = True,
    ) -> None:
        self.max_sessions = max_sessions
        self.ahead_s = ahead_s
        self.finalizes = finalizes
        self.flushes = flushes
        self.answers = answers
        self.unanswered: dict[Session, None] = {}
        self.sessions: dict[Session, Running] = {}
        self.opened: list[Session] = []
        self.running: list[Running] = []
        self.wakeups = 0
        self._scripts = list(scripts)
        self._callbacks: list[Callable[[StepEvents], None]] = []
        self._lock = threading.Lock()

    @property
    def languages(self) -> frozenset[str]:
        return frozenset({"auto", "en-US", "es-US"})

    def open(self, options: SessionOptions) -> Session:
        if options.language not in self.languages:
            raise UnknownLocale(f"no prompt for {options.language}")
        if len(self.sessions) == self.max_sessions:
            raise EngineFull(f"{self.max_sessions} sessions are open")
        number = len(self.opened)
        session = Session(id=number, slot=number % self.max_sessions, generation=number, chunk_ms=options.chunk_ms)
        running = Running(options, self._scripts.pop(0) if self._scripts else [])
        self.sessions[session] = running
        self.opened.append(session)
        if not self.answers:
            self.unanswered[session] = None
        self.running.append(running)
        return session

    def awaits_answer(self, session: Session) -> bool:
        return session in self.unanswered

    def admit(self, *sessions: Session) -> None:
        """Take them, as the engine's word on them."""
        for session in sessions:
            del self.unanswered[session]
        self._emit(StepEvents((), (), {}, opened=sessions))

    def refuse(self, session: Session, *, retryable: bool = True) -> None:
        """The engine has no room for it."""
        del self.unanswered[session]
        self.lose(session, SessionFault(FaultReason.REFUSED, "no time for another session", retryable))

    def lose(self, session: Session, fault: SessionFault) -> None:
        """It ends at once, with nothing more of it."""
        del self.sessions[session]
        self._emit(StepEvents((), (session,), {}, faults={session: fault}))

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        assert pcm.dtype == np.float32
        assert pcm.ndim == 1
        running = self._running(session)
        with self._lock:
            running.pcm.append(pcm)
            running.pushed += pcm.size

    def finalize(self, session: Session) -> None:
        self._running(session).finalize += 1

    def set_language(self, session: Session, language: str) -> None:
        running = self._running(session)
        running.options = replace(running.options, language=language)

    def close(self, session: Session) -> None:
        self._running(session).closing = True

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.append(callback)

    def step(self) -> bool:
        """Every session with a whole chunk advances one; a closing one is flushed. False when there was nothing."""
        hypotheses: list[Hypothesis] = []
        closed: list[Session] = []
        progress: dict[Session, float] = {}
        with self._lock:
            for session, running in list(self.sessions.items()):
                chunk, before = session.chunk_ms * SAMPLE_RATE_HZ // 1000, running.consumed
                flush = running.closing and self.flushes and running.pushed - running.consumed < chunk
                if running.pushed - running.consumed >= chunk:
                    running.consumed += chunk
                elif flush:
                    running.consumed = running.pushed
                elif not (running.finalize and self.finalizes):
                    continue
                if running.consumed > before:  # an answer alone is no progress
                    progress[session] = running.consumed / SAMPLE_RATE_HZ
                answers = (running.finalize if self.finalizes else 0) + flush
                consumed = running.pushed if answers else running.consumed
                cues = self._due(running, consumed / SAMPLE_RATE_HZ + (self.ahead_s if answers else 0.0))
                if answers and cues:
                    first, said = min(cue.first for cue in cues), list[Word]()
                    for cue in cues:
                        replace_from(said, cue.first, cue.words, first)
                    hypotheses.append(Hypothesis(session, first, tuple(said), True))
                    answers -= 1
                else:
                    hypotheses += [Hypothesis(session, cue.first, cue.words, False) for cue in cues]
                hypotheses += [Hypothesis(session, running.said, (), True)] * answers
                running.finalize = 0 if self.finalizes else running.finalize
                if flush:
                    closed.append(session)
                    del self.sessions[session]
        events = StepEvents(tuple(hypotheses), tuple(closed), progress)
        if progress or hypotheses:
            self._emit(events)
        return bool(progress or hypotheses)

    def steps(self) -> None:
        """Until there is nothing to do."""
        while self.step():
            pass

    def _due(self, running: Running, consumed_s: float) -> Sequence[Cue]:
        due = [cue for cue in running.cues if cue.at_s <= consumed_s + 1e-6]
        running.cues = running.cues[len(due) :]
        for cue in due:
            running.said = cue.first + len(cue.words)
        return due

    def _emit(self, events: StepEvents) -> None:
        self.wakeups += 1
        for callback in self._callbacks:
            callback(events)

    def _running(self, session: Session) -> Running:
        if session not in self.sessions:
            raise SessionClosed(f"session {session.id} has ended")
        return self.sessions[session]
