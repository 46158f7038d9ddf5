"""Half an hour of one session, pushed faster than real time."""

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.api import Precision, SessionOptions
from engine.checkpoint.find import load_checkpoint
from engine.engine import Engine
from engine.precision import has_int8
from testing import audio
from tests.engine.listener import Listener, Spoken, settle, spoken

CHUNK_MS = 1120
PERIOD = 54
"""Chunks after which the sound comes again: 60.48 s."""

MINUTES = 30
MEBIBYTE = 2**20


def period() -> audio.Audio:
    """A minute of the four sentences with pauses between them."""
    total = PERIOD * CHUNK_MS * 16
    sentences = [np.pad(audio.speech(row), (0, 8_000)) for row in range(4)]
    signal = np.concatenate(sentences * 10)
    assert len(signal) >= total
    return signal[:total]


def transcribe(engine: Engine, listener: Listener, periods: int) -> tuple[list[list[Spoken]], list[int]]:
    """The words of each period of a new session, and resident memory after each, in bytes."""
    session = engine.open(SessionOptions(CHUNK_MS, "auto"))
    sound, memory = period(), []
    for _ in range(periods):
        for part in np.array_split(sound, PERIOD):
            engine.push(session, part)
            while engine.step():
                pass
        gc.collect()
        memory.append(psutil.Process().memory_info().rss)
    engine.close(session)
    settle(engine)
    words = spoken(listener.finals[session][-1])
    length = PERIOD * CHUNK_MS / 1000
    return [[word for word in words if index <= word[1] / length < index + 1] for index in range(periods)], memory


def relative(words: list[Spoken]) -> list[Spoken]:
    """Words with times counted from the start of their period, in frames."""
    length = PERIOD * CHUNK_MS / 1000
    offset = words[0][1] // length * length
    return [(text, round((start - offset) / 0.08), round((end - offset) / 0.08)) for text, start, end in words]


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.INT8])
def test_the_thirtieth_minute_is_as_the_third_and_memory_stays(demo_path: Path, precision: Precision) -> None:
    if precision is Precision.INT8 and not has_int8():
        pytest.skip("needs an x86 CPU with AVX2")
    checkpoint = load_checkpoint(demo_path)
    long, fresh = (Engine(checkpoint, precision=precision, max_sessions=1) for _ in range(2))
    minutes, memory = transcribe(long, Listener(long), MINUTES)
    few, _ = transcribe(fresh, Listener(fresh), 4)
    assert len(few[2]) > 60, "the sound says too little to compare"
    # The last minute of each also holds what the flush brings.
    assert minutes[:3] == few[:3]
    for minute in minutes[1:-1]:
        assert relative(minute) == relative(few[2])
    # The words of a session are kept to its end: some 10 kB a minute. A stream's slot and audio do not grow.
    # What the allocator keeps settles within the first ten; 2 MiB in 28 minutes are 1.4 in the other twenty.
    assert memory[-1] - memory[9] < 1.4 * MEBIBYTE
