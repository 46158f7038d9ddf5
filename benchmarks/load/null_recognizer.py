"""A recogniser that hears nothing: what is left of the cost is that of connectors and pipeline."""

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.api import AUTO, Recognizer, Session, SessionOptions, StepEvents


class NullRecognizer(Recognizer):
    """Takes audio, counts it and answers `close` at once. `samples`: 16 kHz, over all sessions."""

    def __init__(self) -> None:
        self.samples = 0
        self._opened = 0
        self._callbacks: list[Callable[[StepEvents], None]] = []

    @property
    def languages(self) -> frozenset[str]:
        return frozenset({AUTO})

    def open(self, options: SessionOptions) -> Session:
        self._opened += 1
        return Session(self._opened, self._opened, self._opened, options.chunk_ms)

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:  # noqa: ARG002 - the protocol's signature
        self.samples += pcm.size

    def finalize(self, session: Session) -> None: ...

    def set_language(self, session: Session, language: str) -> None: ...

    def close(self, session: Session) -> None:
        asyncio.get_running_loop().call_soon(self._closed, session)

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.append(callback)

    def _closed(self, session: Session) -> None:
        for callback in self._callbacks:
            callback(StepEvents((), (session,), {}))
