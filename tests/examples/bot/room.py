"""A call with a scripted recogniser that a bot attends, in real time, and a voice that costs nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline import Bot, Call, CallInfo, Calls
from pipeline.playback import PlaybackStats
from sinks.record import AnyRecord, CallAction, CallRecord
from tests.pipeline.playback.line import Outlet
from tests.pipeline.scripted import ScriptedRecognizer, script, words
from tests.pipeline.stage import CALLER, silence
from trunkline_bot.voice import RATE_HZ


@dataclass
class Tones:
    """A voice: every sentence takes `seconds`. `asked`: the sentences, in order."""

    seconds: float
    asked: list[str] = field(default_factory=list)

    async def render(self, sentence: str, language: str) -> NDArray[np.int16]:
        await asyncio.sleep(0)
        self.asked.append(sentence)
        return np.full(round(self.seconds * RATE_HZ), 1_000, np.int16)


@dataclass
class Room:
    """A running call. `faults`: that there are to be."""

    calls: Calls
    call: Call
    outlet: Outlet
    records: list[AnyRecord]
    faults: int = 0

    @property
    def playback(self) -> PlaybackStats:
        return self.calls.stats.playback

    async def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - of plain lists and counters
                await asyncio.sleep(0.01)

    @property
    def reasons(self) -> list[str | None]:
        return [one.reason for one in self.records if isinstance(one, CallRecord) and one.action is CallAction.END]


@asynccontextmanager
async def room(attending: Bot, *sentences: tuple[float, str]) -> AsyncIterator[Room]:
    """The caller says the sentences, from these seconds on, on a leg that can be spoken to."""
    recognizer = ScriptedRecognizer(script(*(words(text, start) for start, text in sentences)))
    records: list[AnyRecord] = []

    def publish(batch: Sequence[AnyRecord]) -> None:
        records.extend(batch)

    calls = Calls(recognizer, publish, bots=[attending])
    call = calls.start(CallInfo("CA1", "sip"), announce=False)
    leg = call.add_leg(CALLER)
    outlet = Outlet(time.monotonic)
    call.announce()
    leg.connect_outlet(outlet)

    async def line() -> None:
        began, frames = time.monotonic(), 0
        while True:
            while frames * 0.02 < time.monotonic() - began:
                leg.push(silence(frames * 160, time.monotonic()))
                frames += 1
            recognizer.steps()
            await asyncio.sleep(0.01)

    working = [asyncio.create_task(calls.run()), asyncio.create_task(line())]
    try:
        yield (one := Room(calls, call, outlet, records))
        await call.end("completed")
        await calls.bots.close()
        assert calls.supervisor.faults.total() == one.faults
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
