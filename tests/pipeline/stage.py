"""A call with a scripted recogniser."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import numpy as np

from pipeline import (
    AudioFrame,
    Bot,
    CallInfo,
    Calls,
    Encoding,
    Leg,
    LegOptions,
    PipelineConfig,
)
from pipeline.clock import Clock
from pipeline.turns.detector import TurnDetector
from sinks.record import (
    AnyRecord,
    CallAction,
    CallRecord,
    SpeakerRole,
    TranscriptRecord,
)
from tests.pipeline.scripted import ScriptedRecognizer

RUN = "0123456789ab"
"""For calls whose records are compared with those of another stage."""

CALLER = LegOptions("caller", SpeakerRole.CUSTOMER, 0)


AGENT = LegOptions("agent", SpeakerRole.AGENT, 1)


class ManualClock(Clock):
    """Monotonic time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Stage:
    """Calls with a scripted recogniser, stepped by hand, and all they published."""

    def __init__(
        self,
        recognizer: ScriptedRecognizer,
        config: PipelineConfig | None = None,
        turns: TurnDetector | None = None,
        bots: Sequence[Bot] = (),
    ) -> None:
        self.recognizer = recognizer
        self.batches: list[list[AnyRecord]] = []
        self.clock = ManualClock()
        self.calls = Calls(recognizer, self._publish, config, clock=self.clock, turns=turns, bots=bots)
        self.closing = False

    def _publish(self, records: Sequence[AnyRecord]) -> None:
        assert records
        self.batches.append(list(records))

    @property
    def records(self) -> list[AnyRecord]:
        return list(itertools.chain.from_iterable(self.batches))

    def transcripts(self, leg: str | None = None) -> list[TranscriptRecord]:
        return [one for one in self.records if isinstance(one, TranscriptRecord) and leg in (None, one.leg)]

    def finals(self, leg: str | None = None) -> list[TranscriptRecord]:
        return [one for one in self.transcripts(leg) if one.is_final]

    def segment_id(self, leg: str, number: int) -> str:
        """Of a leg's segment, in the run of the first call that was published."""
        return f"{leg}-{self.records[0].run}-{number:04d}"

    def actions(self) -> list[CallAction]:
        return [one.action for one in self.records if isinstance(one, CallRecord)]

    async def play(self, *legs: Leg, seconds: float = 1.0) -> None:
        """So much silence on each leg, in frames of 20 ms, recognised as it comes."""
        for _ in range(round(seconds * 50)):
            for leg in legs:
                leg.push(silence(leg.intake.stats.frames * 160, self.clock.now))
                leg.stats.packets += 1
            self.clock.now += 0.02
            self.calls.ingest.tick()
            self.recognizer.steps()
            await asyncio.sleep(0)

    @asynccontextmanager
    async def flushing(self) -> AsyncIterator[None]:
        """The recogniser works while something waits for it."""

        async def work() -> None:
            while True:
                self.recognizer.steps()
                await asyncio.sleep(0.001)

        task = asyncio.create_task(work())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def end(self, call_id: str = "CA1", reason: str = "hang-up") -> None:
        call = self.calls.get(call_id)
        assert call is not None
        async with self.flushing():
            await call.end(reason)


def silence(pts: int, arrival: float, samples: int = 160) -> AudioFrame:
    return AudioFrame(pts, np.full(samples, 0xFF, np.uint8), Encoding.PCMU, 8000, arrival)


def info(call_id: str = "CA1", run: str | None = None) -> CallInfo:
    return CallInfo(call_id, "twilio", "+15550001", "+15550002", {"queue": "billing"}, run)
