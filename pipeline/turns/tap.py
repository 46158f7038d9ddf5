"""Audio on its way from the ingest to the recogniser, of which turn detection gets its part."""

import numpy as np
from numpy.typing import NDArray

from engine.api import Recognizer, Session
from pipeline.turns.detector import TurnDetector


class Tap:
    """Stands before the recogniser. What a session refuses is not detected either."""

    def __init__(self, recognizer: Recognizer, turns: TurnDetector) -> None:
        self._recognizer = recognizer
        self._turns = turns

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        """float32 (T,), 16 kHz. Raises what the recogniser does."""
        self._recognizer.push(session, pcm)
        self._turns.push(session, pcm)

    def flush(self) -> None:
        """The end of a tick."""
        self._recognizer.flush()
        self._turns.tick()
