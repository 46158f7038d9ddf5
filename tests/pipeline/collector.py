"""The part of a recogniser that the tick sees, keeping what it was given."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.api import Recognizer, Session, SessionOptions, StepEvents
from engine.errors import SessionClosed


class Collector(Recognizer):
    """Keeps every push; `dead` sessions take no audio."""

    def __init__(self) -> None:
        self.pushes: dict[Session, list[NDArray[np.float32]]] = {}
        self.dead: set[Session] = set()

    @property
    def languages(self) -> frozenset[str]:
        return frozenset({"auto"})

    def open(self, options: SessionOptions) -> Session:
        return Session(0, 0, 0, options.chunk_ms)

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        if session in self.dead:
            raise SessionClosed(f"session {session.id} has ended")
        assert pcm.dtype == np.float32
        self.pushes.setdefault(session, []).append(pcm)

    def audio(self, session: Session) -> NDArray[np.float32]:
        return np.concatenate([np.zeros(0, np.float32), *self.pushes.get(session, [])])

    def finalize(self, session: Session) -> None: ...
    def set_language(self, session: Session, language: str) -> None: ...
    def close(self, session: Session) -> None: ...
    def subscribe(self, callback: Callable[[StepEvents], None]) -> None: ...
