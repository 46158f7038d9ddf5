"""Pipelines for tests: the recogniser at work, audio as frames, what came out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import numpy as np
from pipecat.frames.frames import Frame, InputAudioRawFrame, InterimTranscriptionFrame, TranscriptionFrame

from tests.pipeline.scripted import ScriptedRecognizer


@asynccontextmanager
async def at_work(recognizer: ScriptedRecognizer) -> AsyncIterator[None]:
    async def work() -> None:
        while True:
            recognizer.steps()
            await asyncio.sleep(0.002)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def silence(seconds: float, rate_hz: int = 16_000, channels: int = 1) -> list[InputAudioRawFrame]:
    """In frames of 20 ms."""
    piece = np.zeros(rate_hz // 50 * channels, "<i2").tobytes()
    return [InputAudioRawFrame(piece, rate_hz, channels) for _ in range(round(seconds * 50))]


def finals(frames: Sequence[Frame]) -> list[tuple[str, bool]]:
    """(text, finalized)"""
    return [(one.text, one.finalized) for one in frames if isinstance(one, TranscriptionFrame)]


def interims(frames: Sequence[Frame]) -> list[str]:
    return [one.text for one in frames if isinstance(one, InterimTranscriptionFrame)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of code under test, which has no event for it
            await asyncio.sleep(0.005)
