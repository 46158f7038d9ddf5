"""A recogniser that writes down what it hears: a word for each chunk, naming the language option and the level."""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine import Hypothesis, LanguageSource, Session, SessionOptions, StepEvents, Word
from training.recognize import Batch


class EchoRecognizer:
    """`deliver` reports one step of those that audio has come for. `most`: the most sessions it had at a time.

    A chunk's word is `LANGUAGE:LEVEL`, the level being the chunk's first sample times 100.
    """

    languages = frozenset({"auto", "en-US", "es-US", "de-DE", "fr-FR"})

    def __init__(self, fails: bool = False) -> None:
        self.most = 0
        self._fails = fails
        self._callback: Callable[[StepEvents], None] = lambda events: None
        self._steps: deque[StepEvents] = deque()
        self._audio: dict[Session, NDArray[np.float32]] = {}
        self._language: dict[Session, str] = {}
        self._words: dict[Session, int] = {}
        self._opened = 0

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callback = callback

    def open(self, options: SessionOptions) -> Session:
        session = Session(self._opened, self._opened, 1, options.chunk_ms)
        self._opened += 1
        self._audio[session] = np.zeros(0, np.float32)
        self._language[session] = options.language
        self._words[session] = 0
        self.most = max(self.most, len(self._audio))
        return session

    def awaits_answer(self, session: Session) -> bool:
        return False

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        self._audio[session] = np.concatenate([self._audio[session], pcm])
        self._step(session, session.chunk_ms * 16)

    def flush(self) -> None: ...

    def set_language(self, session: Session, language: str) -> None:
        self._language[session] = language

    def finalize(self, session: Session) -> None:
        raise NotImplementedError

    def close(self, session: Session) -> None:
        if self._fails:
            self._steps.append(StepEvents((), (session,), {}))
            return
        self._step(session, 1)
        final = Hypothesis(session, self._words[session], (), is_final=True)
        self._steps.append(StepEvents((final,), (session,), {}))

    def deliver(self) -> None:
        if self._steps:
            events = self._steps.popleft()
            for session in events.closed:
                del self._audio[session]
            self._callback(events)

    def _step(self, session: Session, least: int) -> None:
        chunk = session.chunk_ms * 16
        while len(self._audio[session]) - self._heard(session) >= least:
            first = self._words[session]
            level = round(float(self._audio[session][self._heard(session)]) * 100)
            language = self._language[session]
            word = Word(f"{language}:{level}", first * chunk / 16_000, 0.0, 1.0, language, LanguageSource.DETECTED)
            self._words[session] += 1
            heard_s = min(self._heard(session), len(self._audio[session])) / 16_000
            hypothesis = Hypothesis(session, first, (word,), is_final=False)
            self._steps.append(StepEvents((hypothesis,), (), {session: heard_s}))

    def _heard(self, session: Session) -> int:
        return self._words[session] * session.chunk_ms * 16


class EchoBatch(Batch):
    """A batch whose recogniser takes one step whenever the batch waits for it."""

    def __init__(self, recognizer: EchoRecognizer, at_once: int = 4) -> None:
        super().__init__(recognizer, at_once)
        self._recognizer = recognizer

    def _next(self) -> StepEvents:
        self._recognizer.deliver()
        return super()._next()
