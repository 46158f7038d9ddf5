"""Audio on its way from the ingest to the recogniser, of which others get their part: turn detection, bots."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.api import Recognizer, Session


class Listener(Protocol):
    """Takes no part of a session that it does not know. Raises nothing."""

    def push(self, session: Session, pcm: NDArray[np.float32], /) -> None:
        """float32 (T,), 16 kHz; not to be changed, and not changed afterwards."""
        ...

    def tick(self) -> None:
        """The end of a tick."""
        ...


class Tap:
    """Stands before the recogniser. What a session refuses nobody else gets either."""

    def __init__(self, recognizer: Recognizer, listeners: Sequence[Listener]) -> None:
        self._recognizer = recognizer
        self._listeners = listeners

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        """float32 (T,), 16 kHz. Raises what the recogniser does."""
        self._recognizer.push(session, pcm)
        for listener in self._listeners:
            listener.push(session, pcm)

    def flush(self) -> None:
        """The end of a tick."""
        self._recognizer.flush()
        for listener in self._listeners:
            listener.tick()
