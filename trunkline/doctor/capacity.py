"""The configured engine, loaded and timed as a server does at its start. A process of its own, for `doctor.engine`.

A checkpoint may want more memory than there is, and a kernel more than the CPU has: then this process dies, and the
doctor says of what. It reads one JSON object from standard input and prints another.
"""

import sys
from typing import Any

import msgspec

from engine.chunking import DEFAULT_CHUNK_MS, nearest_class
from engine.errors import EngineError
from trunkline.config import EngineConfig
from trunkline.engines import load_engine
from trunkline.errors import TrunklineError


class Question(msgspec.Struct, frozen=True):
    """What of the configuration matters."""

    engine: EngineConfig
    chunk_ms: int
    language: str


class Answer(msgspec.Struct, frozen=True):
    """`error`: its class and its message. `step_ms`: of one row. `legs`: that an idle machine admits."""

    error: tuple[str, str] | None = None
    precision: str = ""
    chunk_ms: int = 0
    step_ms: float = 0.0
    legs: int = 0
    max_sessions: int = 0


def answer(question: Question) -> Answer:
    """Blocks for as long as the checkpoint takes to load, and some two seconds."""
    try:
        engine = load_engine(msgspec.structs.replace(question.engine, admission=True), serving=True)
        if question.language not in engine.languages:
            known = ", ".join(sorted(engine.languages))
            return Answer(("UnknownLocale", f"[pipeline] language = {question.language!r}: use one of {known}"))
        chunk_ms = question.chunk_ms
        if chunk_ms == DEFAULT_CHUNK_MS:
            chunk_ms = nearest_class(chunk_ms, engine.chunks_ms)
        engine.reserve(chunk_ms)
        with engine:
            load, times = engine.snapshot(), engine.step_times
    except (EngineError, TrunklineError) as error:
        return Answer((type(error).__name__, str(error)))
    legs = next(one.capacity for one in load.classes if one.chunk_ms == chunk_ms)
    first = min(times[chunk_ms].items())[1]
    return Answer(None, str(engine.precision), chunk_ms, 1000 * first, legs, load.max_sessions)


def _main() -> None:
    question: Any = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(answer(question)))


if __name__ == "__main__":
    _main()
