"""What the boundary between gateway and engine process costs: microseconds of CPU a session and tick of 20 ms.

    python -m benchmarks.engine_process [--sessions 200 1000]

Both sides of the conversation in one process, through a real socket pair, with a recogniser that only copies the audio:
the gateway's side is `push` and the messages both ways, the engine's side what it takes to hand each session its audio.
Every eighth tick (160 ms) the engine tells of all sessions' progress, and of a word of every fourth. The last line is
JSON.
"""

import argparse
import json
import socket
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.api import (
    AUTO,
    EngineLoad,
    Hypothesis,
    LanguageSource,
    Recognizer,
    Session,
    SessionOptions,
    StepEvents,
    Word,
)
from engine.remote.client import Client
from engine.remote.exchange import Exchange, Gateway
from engine.remote.wire import VERSION, Events, Greeting, Hello, frame, from_engine, from_gateway
from engine.stats import EngineStats

TICK_S = 0.02
TICKS = 200
PACKET = int(16_000 * TICK_S)


class Copier(Recognizer):
    """Keeps a session's last audio, and says a word when it is told to."""

    def __init__(self) -> None:
        self.stats = EngineStats()
        self.chunks_ms = (160,)
        self.max_sessions = 1 << 20
        self.sessions: dict[Session, NDArray[np.float32]] = {}

    @property
    def languages(self) -> frozenset[str]:
        return frozenset({AUTO})

    @property
    def open_sessions(self) -> int:
        return len(self.sessions)

    def open(self, options: SessionOptions, *, again: bool = False) -> Session:  # noqa: ARG002 - the engine's signature
        session = Session(len(self.sessions), 0, 0, options.chunk_ms)
        self.sessions[session] = np.zeros(PACKET, np.float32)
        return session

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        self.sessions[session][:] = pcm

    def snapshot(self) -> EngineLoad:
        return EngineLoad(0, 0, 0.0, ())

    def reserve(self, chunk_ms: int) -> None: ...
    def drop(self, session: Session) -> None: ...
    def finalize(self, session: Session) -> None: ...
    def set_language(self, session: Session, language: str) -> None: ...
    def close(self, session: Session) -> None: ...
    def subscribe(self, callback: Callable[[StepEvents], None]) -> None: ...

    def step(self, consumed_s: float, words: int) -> StepEvents:
        word = Word("word", consumed_s, consumed_s + 0.08, 0.9, "en-US", LanguageSource.DETECTED)
        hypotheses = tuple(Hypothesis(session, words, (word,), is_final=False) for session in list(self.sessions)[::4])
        return StepEvents(hypotheses, (), dict.fromkeys(self.sessions, consumed_s))


def measure(count: int) -> dict[str, float]:
    """CPU microseconds a session and tick on both sides, and MB/s on the wire."""
    engine, gateway = Copier(), Gateway()
    exchange = Exchange(engine)
    (hello,) = exchange.receive(gateway, Greeting(VERSION))
    assert isinstance(hello, Hello)
    client, to_engine, to_client = Client(hello, 30.0), from_gateway(), from_engine()
    sessions = [client.open(SessionOptions(160)) for _ in range(count)]
    ours, theirs = socket.socketpair()
    pcm = np.random.default_rng(1).standard_normal((count, PACKET)).astype(np.float32)
    push_s = gateway_s = engine_s = 0.0
    sent = 0
    for tick in range(TICKS):
        began = time.thread_time()
        for row, session in enumerate(sessions):
            client.push(session, pcm[row])
        push_s += time.thread_time() - began
        data = b"".join(frame(message) for message in client.collect())
        sender = threading.Thread(target=ours.sendall, args=(data,))
        gateway_s += time.thread_time() - began
        sender.start()
        began, sent, left = time.thread_time(), sent + len(data), len(data)
        while left:
            part = theirs.recv(1 << 18)
            left -= len(part)
            for message in to_engine.feed(part):
                exchange.receive(gateway, message)
        answer = b""
        if tick % 8 == 7:
            (events,) = exchange.step(engine.step((tick + 1) * TICK_S, tick // 8)).values()
            answer = bytes(frame(events))
        engine_s += time.thread_time() - began
        sender.join()
        began = time.thread_time()
        for back in to_client.feed(answer):
            assert isinstance(back, Events)
            client.receive(back)
        gateway_s += time.thread_time() - began
    ours.close()
    theirs.close()
    ticks = TICKS * count
    return {
        "push_us": round(1e6 * push_s / ticks, 2),
        "gateway_us": round(1e6 * gateway_s / ticks, 2),
        "engine_us": round(1e6 * engine_s / ticks, 2),
        "mb_per_s": round(sent / (TICKS * TICK_S) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[200, 1_000])
    options = parser.parse_args()
    results = {}
    for count in options.sessions:
        measure(min(count, 50))
        results[str(count)] = result = measure(count)
        print(
            f"{count} sessions, a packet of 20 ms each: gateway {result['gateway_us']} us (push {result['push_us']}), "
            f"engine {result['engine_us']} us a session and tick, {result['mb_per_s']} MB/s"
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
