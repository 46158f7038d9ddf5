"""An engine process, and who listens to it."""

import os
import threading

import numpy as np
from numpy.typing import NDArray

from engine.api import Session, SessionOptions, StepEvents
from engine.engine import Engine
from engine.remote import RemoteEngine, Spawned
from tests.engine.remote.audio import legs
from tests.engine.remote.pair import Reader

WAIT_S = 120.0


SETTINGS = {"max_sessions": 4}


class Watched(Reader):
    """A reader on another thread that can be waited for."""

    def __init__(self, engine: Engine | RemoteEngine) -> None:
        super().__init__()
        self.changed = threading.Condition()
        engine.subscribe(self.receive)

    def receive(self, events: StepEvents) -> None:
        with self.changed:
            super().receive(events)
            self.changed.notify_all()

    def wait_consumed(self, session: Session, seconds: float) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.progress[session] >= seconds, WAIT_S)

    def wait_closed(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.closed) == count, WAIT_S)


def audio(seconds: float) -> NDArray[np.float32]:
    return legs()[0][int(2.5 * 16_000) : int((2.5 + seconds) * 16_000)]


def play(engine: Engine | RemoteEngine, reader: Watched, pcm: NDArray[np.float32], actions: dict[int, int]) -> Session:
    """Push in packets of 0.2 s, no further ahead than a second. `actions`: signal to the engine's process, by packet;
    a final is asked for in the second of them."""
    session = engine.open(SessionOptions(160))
    for number, at in enumerate(range(0, len(pcm), 3_200)):
        engine.push(session, pcm[at : at + 3_200])
        if number == 20:
            engine.finalize(session)
        engine.flush()
        if number in actions:
            send(engine, actions[number])
        reader.wait_consumed(session, at / 16_000 - 1.0)
    engine.close(session)
    return session


def send(engine: Engine | RemoteEngine, number: int) -> None:
    assert isinstance(engine, RemoteEngine)
    link = engine._link
    assert isinstance(link, Spawned)
    assert link.process is not None
    os.kill(link.process.pid, number)
