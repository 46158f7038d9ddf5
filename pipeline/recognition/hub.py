"""From the engine's thread to the speech streams: one subscription for each recogniser, however many streams come and
go, and one wake-up of an event loop for each engine step."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

from engine.api import Hypothesis, Recognizer, Session, SessionFault, StepEvents


class Listener(Protocol):
    """Who has opened a session; called on its own event loop."""

    def stepped(self, session: Session, hypotheses: Sequence[Hypothesis], progress_s: float | None, /) -> None: ...
    def opened(self, session: Session, /) -> None: ...
    def ended(self, session: Session, fault: SessionFault | None, /) -> None: ...


class Hub:
    """Of one recogniser (`Hub.of`). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[Session, tuple[asyncio.AbstractEventLoop, Listener]] = {}

    @staticmethod
    def of(recognizer: Recognizer) -> "Hub":
        with _lock:
            if (hub := _hubs.get(recognizer)) is None:
                hub = _hubs[recognizer] = Hub()
                recognizer.subscribe(hub.take)
            return hub

    @property
    def sessions(self) -> int:
        """That are listened to."""
        return len(self._listeners)

    def listen(self, session: Session, listener: Listener) -> None:
        """Deliver the session's events on the running loop until it has ended."""
        with self._lock:
            self._listeners[session] = asyncio.get_running_loop(), listener

    def leave(self, session: Session) -> None:
        """Nothing more of it is wanted. Idempotent."""
        with self._lock:
            self._listeners.pop(session, None)

    def take(self, events: StepEvents) -> None:
        """On the engine's thread."""
        with self._lock:
            loops = {loop for loop, _ in self._listeners.values()}
        for loop in loops:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads the words
                loop.call_soon_threadsafe(self._deliver, loop, events)

    def _deliver(self, loop: asyncio.AbstractEventLoop, events: StepEvents) -> None:
        for session in events.opened:
            if (listener := self._listener(session, loop)) is not None:
                listener.opened(session)
        hypotheses: dict[Session, list[Hypothesis]] = {}
        for hypothesis in events.hypotheses:
            hypotheses.setdefault(hypothesis.session, []).append(hypothesis)
        for session in dict.fromkeys([*events.progress, *hypotheses]):
            if (listener := self._listener(session, loop)) is not None:
                listener.stepped(session, hypotheses.get(session, ()), events.progress.get(session))
        for session in events.closed:
            if (listener := self._listener(session, loop)) is not None:
                self.leave(session)
                listener.ended(session, events.faults.get(session))

    def _listener(self, session: Session, loop: asyncio.AbstractEventLoop) -> Listener | None:
        with self._lock:
            one = self._listeners.get(session)
        return one[1] if one is not None and one[0] is loop else None


_hubs: WeakKeyDictionary[Recognizer, Hub] = WeakKeyDictionary()
_lock = threading.Lock()
