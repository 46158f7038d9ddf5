"""Callers in real time: every stream pushes 20 ms of audio every 20 ms, each at its own phase, into an engine process.

The lag of a chunk is the time from the push of the packet that completed it to the report of its result, both taken in
the callers' process: both ways between the processes are in it.
"""

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from engine.api import SAMPLE_RATE_HZ, Session, SessionOptions, StepEvents
from engine.remote import RemoteEngine
from testing.audio import Audio, babble

PACKET = SAMPLE_RATE_HZ // 50
TICKS = 2
"""Ticks in the time of a packet, as in the pipeline; at each, half of the streams push."""

TICK_S = 0.02 / TICKS
SPEECH_S = 40.0


@dataclass(slots=True, eq=False)
class _Stream:
    """`pushed`: times of the packets from number `first` on, of those whose results have not come."""

    session: Session
    phase: int
    at: int
    pushed: deque[float] = field(default_factory=deque)
    first: int = 0

    def lag(self, consumed_s: float, now: float) -> float | None:
        """Since the packet with the last sample that was consumed; forgets the packets before it."""
        number = -(-round(consumed_s * SAMPLE_RATE_HZ) // PACKET) - 1
        while self.first < number and len(self.pushed) > 1:
            self.pushed.popleft()
            self.first += 1
        return now - self.pushed[0] if self.pushed and self.first == number else None


@dataclass(slots=True)
class Window:
    """`lags`: seconds; `hypotheses`: how many were reported; `behind`: seconds that the callers were late."""

    lags: list[float] = field(default_factory=list)
    hypotheses: int = 0
    behind: float = 0.0


class Callers:
    """Entered, a thread pushes for all streams. `resize` opens streams and hangs up."""

    def __init__(self, engine: RemoteEngine, chunk_ms: int) -> None:
        self._window = Window()
        self._engine = engine
        self._options = SessionOptions(chunk_ms)
        self._speech = np.concatenate([babble(SPEECH_S / 4, 40 + part) for part in range(4)])
        self._streams: dict[Session, _Stream] = {}
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._speak, name="callers", daemon=True)

    def __enter__(self) -> "Callers":
        self._engine.subscribe(self._hear)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.hang_up()
        self._engine.unsubscribe(self._hear)

    def __len__(self) -> int:
        return len(self._streams)

    def resize(self, count: int) -> None:
        """Have so many streams."""
        with self._lock:
            while len(self._streams) > count:
                session = next(reversed(self._streams))
                del self._streams[session]
                self._engine.close(session)
            while len(self._streams) < count:
                session = self._engine.open(self._options)
                begin = self._random.randrange(0, len(self._speech))
                self._streams[session] = _Stream(session, self._random.randrange(TICKS), begin)

    def hang_up(self) -> None:
        """End all streams and wait until the engine has worked off what they had said."""
        self.resize(0)
        until = time.monotonic() + 60.0
        while self._engine.open_sessions and time.monotonic() < until:
            time.sleep(0.05)

    def stagger(self, count: int) -> None:
        """Open up to `count` streams, spread over a chunk."""
        while (missing := count - len(self._streams)) > 0:
            step = -(-missing // max(1, int(self._options.chunk_ms / 1000 / TICK_S)))
            self.resize(len(self._streams) + step)
            time.sleep(TICK_S)

    def window(self) -> Window:
        """What was reported since the last call."""
        with self._lock:
            window, self._window = self._window, Window()
        return window

    def _speak(self) -> None:
        due, tick = time.monotonic(), 0
        while not self._stopping.is_set():
            due += TICK_S
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            with self._lock:
                self._window.behind = max(self._window.behind, -wait)
                for stream in self._streams.values():
                    if stream.phase == tick:
                        self._push(stream)
            self._engine.flush()
            tick = (tick + 1) % TICKS

    def _push(self, stream: _Stream) -> None:
        packet: Audio = self._speech[stream.at : stream.at + PACKET]
        stream.at = (stream.at + PACKET) % (len(self._speech) - PACKET)
        stream.pushed.append(time.monotonic())
        self._engine.push(stream.session, packet)

    def _hear(self, events: StepEvents) -> None:
        now = time.monotonic()
        with self._lock:
            self._window.hypotheses += len(events.hypotheses)
            for session, consumed_s in events.progress.items():
                stream = self._streams.get(session)
                lag = stream.lag(consumed_s, now) if stream is not None else None
                if lag is not None:
                    self._window.lags.append(lag)
