"""The pipeline as connectors see it, small enough to look into."""

import asyncio
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from connectors.calls import CallRegistry
from engine.errors import EngineFull, UnknownLocale
from pipeline.call import CallInfo, LegOptions, LegStats
from pipeline.calls import Calls
from pipeline.errors import CallEnded, Draining, DuplicateCall, DuplicateLeg
from pipeline.frames import AudioFrame
from pipeline.intake import Intake
from pipeline.playback import AudioOutlet
from pipeline.records import SpeakerRole


class FakeLeg:
    intake: Intake | None = None
    awaits_answer = False

    def __init__(self, call: "FakeCall", options: LegOptions) -> None:
        self.call = call
        self.options = options
        self.stats = LegStats()
        self.frames: list[AudioFrame] = []
        self.closed = False
        self.outlet: AudioOutlet | None = None

    def connect_outlet(self, outlet: AudioOutlet | None) -> None:
        self.outlet = outlet

    async def admitted(self) -> None:
        await self.call.calls.answered.wait()
        if self.options.leg in self.call.calls.refused:
            raise EngineFull("full")

    def push(self, frame: AudioFrame) -> None:
        assert not self.closed
        self.frames.append(frame)

    def fail(self, error: Exception) -> None:
        raise error

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            await asyncio.sleep(self.call.calls.flush_s)
            self.call.log.append(f"final {self.options.leg}")
            self.call.calls.sessions -= 1

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Everything pushed, checked to be without gap or overlap."""
        position = 0
        for frame in self.frames:
            assert (frame.pts, frame.encoding, frame.sample_rate_hz) == (position, "PCMU", 8000)
            position += frame.samples.size
        parts = [frame.samples.astype(np.uint8) for frame in self.frames]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


class FakeCall:
    def __init__(self, calls: "FakeCalls", info: CallInfo) -> None:
        self.calls = calls
        self.info = info
        self.legs: dict[str, FakeLeg] = {}
        self.metadata = dict(info.metadata)
        self.keys: list[tuple[str, str, float, float]] = []
        self.log: list[str] = []
        self.reason: str | None = None
        self.fault: str | None = None
        self.ended = False
        self.over = asyncio.Event()

    def announce(self) -> None:
        if self.ended:
            raise CallEnded("ended")
        if "START" not in self.log:
            self.log.append("START")

    def add_leg(self, options: LegOptions) -> FakeLeg:
        if self.ended:
            raise CallEnded("ended")
        if options.language not in (None, *self.calls.languages):
            raise UnknownLocale("unknown")
        if self.calls.sessions >= self.calls.max_sessions:
            raise EngineFull("full")
        if options.leg in self.legs and not self.legs[options.leg].closed:
            raise DuplicateLeg("leg")
        self.calls.sessions += 1
        self.legs[options.leg] = FakeLeg(self, options)
        return self.legs[options.leg]

    def update(self, metadata: Mapping[str, str], _roles: Mapping[str, SpeakerRole] | None = None) -> None:
        if self.ended:
            raise CallEnded("ended")
        self.metadata.update(metadata)

    def transfer(self, metadata: Mapping[str, str], _roles: Mapping[str, SpeakerRole] | None = None) -> None:
        raise AssertionError("nobody is transferred here")

    def hold(self) -> None:
        raise AssertionError("nobody is put on hold here")

    def resume(self) -> None:
        raise AssertionError("nobody is put on hold here")

    def dtmf(self, leg: str, digit: str, start: float, duration: float) -> None:
        if self.calls.broken_dtmf:
            raise RuntimeError("dtmf")
        self.keys.append((leg, digit, start, duration))

    async def wait_ended(self) -> None:
        await self.over.wait()

    async def end(self, reason: str) -> None:
        if not self.ended:
            self.ended, self.reason = True, reason
            await asyncio.gather(*(leg.close() for leg in self.legs.values()))
            if "START" in self.log:
                self.log.append("END")
            self.calls.running.pop(self.info.call_id)
            self.over.set()


class FakeCalls:
    """`running` by call id; `history`: every call ever started, in order. `answered`: the engine's word on legs comes;
    `refused`: names of legs that it does not take."""

    def __init__(self) -> None:
        self.running: dict[str, FakeCall] = {}
        self.history: list[FakeCall] = []
        self.languages = {"auto", "en-US", "es-ES"}
        self.sessions = 0
        self.max_sessions = 100
        self.answered = asyncio.Event()
        self.answered.set()
        self.refused: set[str] = set()
        self.draining = False
        self.broken_dtmf = False
        self.flush_s = 0.0

    def start(self, info: CallInfo, *, announce: bool = True) -> FakeCall:
        if self.draining:
            raise Draining("draining")
        if info.call_id in self.running:
            raise DuplicateCall("running")
        call = self.running[info.call_id] = FakeCall(self, info)
        self.history.append(call)
        if announce:
            call.announce()
        return call

    def get(self, call_id: str) -> FakeCall | None:
        return self.running.get(call_id)


def as_registry(calls: Calls) -> CallRegistry:
    """Checked by mypy: the pipeline's own registry is what the connectors ask for."""
    return calls
