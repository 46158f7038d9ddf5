"""A fault of ours at every seam of the pipeline: it ends or mends the leg that it concerns, and the other calls publish
the very records of an undisturbed run."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

import pipeline.narrowband
from engine.api import Session, StepEvents
from engine.errors import SessionClosed
from pipeline import AudioFrame, CallInfo, Calls, Encoding, Leg, LegOptions, PipelineConfig
from pipeline.clock import Clock
from pipeline.g711 import FLOAT_TABLE
from pipeline.resample import half_band
from sinks.record import AnyRecord, CallAction, CallRecord, SpeakerRole, TranscriptRecord
from tests.pipeline.scripted import ScriptedRecognizer, script, words
from tests.pipeline.stage import RUN

LEGS = {
    "victim": (Encoding.PCMU, 8_000),
    "narrow": (Encoding.PCMU, 8_000),
    "linear": (Encoding.L16, 8_000),
    "wide": (Encoding.L16, 48_000),
    "plain": (Encoding.L16, 16_000),
}
"""Each the only leg of a call of that name, by all the ways that audio takes to the recogniser."""

TICKS = 100
DISTURBED_AT = 40
MARK = 0x4D
"""A code that only the victim sends."""


class TestClock(Clock):
    """Time that the test sets, the stamps with it, so that records of two runs can be compared whole."""

    __test__ = False

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def stamp(self) -> str:
        return f"2026-01-01T00:{self.now:.3f}Z"


@dataclass
class Run:
    """All calls of `LEGS` side by side. `disturb` is done in the middle."""

    monkeypatch: pytest.MonkeyPatch
    disturb: "Callable[[Run], None] | None" = None
    victim_rate: tuple[Encoding, int] = LEGS["victim"]

    def __post_init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.clock = TestClock()
        self.recognizer = ScriptedRecognizer(*(script(words(f"Hello from {name} today.", start=0.1)) for name in LEGS))
        self.calls = Calls(self.recognizer, self.publish, PipelineConfig(flush_timeout_s=0.2), clock=self.clock)
        self.legs: dict[str, Leg] = {}
        self.formats = LEGS | {"victim": self.victim_rate}

    def publish(self, records: Sequence[AnyRecord]) -> None:
        self.records += records

    @property
    def victim(self) -> Leg:
        return self.legs["victim"]

    def of(self, call_id: str) -> list[AnyRecord]:
        return [record for record in self.records if record.call_id == call_id]

    def end(self, call_id: str = "victim") -> CallRecord:
        (end,) = (one for one in self.of(call_id) if isinstance(one, CallRecord) and one.action is CallAction.END)
        return end

    async def play(self) -> "Run":
        for name in LEGS:
            self.legs[name] = self.calls.start(CallInfo(name, "test", run=RUN)).add_leg(
                LegOptions("leg", SpeakerRole.CUSTOMER, 0)
            )
        for tick in range(TICKS):
            if tick == DISTURBED_AT and self.disturb is not None:
                self.disturb(self)
            for name, leg in self.legs.items():
                leg.push(self.frame(name, tick))
            self.clock.now += 0.02
            self.calls.ingest.tick()
            self.recognizer.steps()
            await asyncio.sleep(0)
        running = [call for name in LEGS if (call := self.calls.get(name)) is not None]
        ending = asyncio.gather(*(call.end("hang-up") for call in running))
        while not ending.done():
            self.recognizer.steps()
            await asyncio.sleep(0.001)
        return self

    def frame(self, name: str, tick: int) -> AudioFrame:
        encoding, rate = self.formats[name]
        size = rate // 50
        samples: NDArray[np.generic] = (
            np.random.default_rng(tick)
            .integers(0, 0x40, size)
            .astype(np.uint8 if encoding is Encoding.PCMU else np.int16)
        )
        if name == "victim":
            samples[:] = np.array(MARK, samples.dtype)
        return AudioFrame(tick * size, samples, encoding, rate, self.clock.now)  # type: ignore[arg-type]


def boom(*_args: object, **_options: object) -> None:
    raise RuntimeError("boom")


class Broken:
    """Whatever is asked of it."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return boom


def resampler(run: Run) -> None:
    run.victim.intake._soxr = Broken()  # type: ignore[assignment]


def half_band_of_one(run: Run) -> None:
    """The product over all legs cannot be computed because of one of them."""
    marked = FLOAT_TABLE[MARK]

    def product(x: NDArray[np.float32]) -> NDArray[np.float32]:
        if (x[:, -1] == marked).any():
            raise FloatingPointError("boom")
        return half_band(x)

    run.monkeypatch.setattr(pipeline.narrowband, "half_band", product)


def bad_frame(samples: NDArray[np.generic]) -> Callable[[Run], None]:
    """One that is not what it says, which `AudioFrame` itself refuses."""

    def push(run: Run) -> None:
        frame = run.frame("victim", DISTURBED_AT)
        object.__setattr__(frame, "samples", samples)
        run.victim.push(frame)

    return push


def push(run: Run) -> None:
    real, victim = run.recognizer.push, run.victim.session

    def fail(session: Session, pcm: NDArray[np.float32]) -> None:
        real(session, pcm) if session != victim else boom()

    run.monkeypatch.setattr(run.recognizer, "push", fail)


def closed_session(run: Run) -> None:
    real, victim = run.recognizer.push, run.victim.session

    def fail(session: Session, pcm: NDArray[np.float32]) -> None:
        if session == victim:
            raise SessionClosed("boom: the session is closed")
        real(session, pcm)

    run.monkeypatch.setattr(run.recognizer, "push", fail)


def timeline(run: Run) -> None:
    run.victim.intake._timeline = Broken()  # type: ignore[assignment]


def segmenter(run: Run) -> None:
    run.monkeypatch.setattr(run.victim._segmenter, "update", boom)


def latencies(run: Run) -> None:
    run.monkeypatch.setattr(run.victim._latencies, "add", boom)


def ended_by_the_engine(run: Run) -> None:
    del run.recognizer.sessions[run.victim.session]
    run.recognizer._emit(StepEvents((), (run.victim.session,), {}))


SEAMS: dict[str, tuple[Callable[[Run], None], tuple[Encoding, int]]] = {
    "resampler": (resampler, (Encoding.L16, 48_000)),
    "half-band filter": (half_band_of_one, LEGS["victim"]),
    "frame of two dimensions": (bad_frame(np.zeros((2, 160), np.uint8)), LEGS["victim"]),
    "linear frame of two dimensions": (bad_frame(np.zeros((4, 40), np.int16)), (Encoding.L16, 8_000)),
    "codes that there are not": (bad_frame(np.full(160, 9_999, np.int16)), LEGS["victim"]),
    "recogniser's push": (push, LEGS["victim"]),
    "session that is closed": (closed_session, LEGS["victim"]),
    "time line": (timeline, LEGS["victim"]),
    "segmenter": (segmenter, LEGS["victim"]),
    "latency histogram": (latencies, LEGS["victim"]),
    "session ended by the engine": (ended_by_the_engine, LEGS["victim"]),
}


@pytest.mark.parametrize("seam", SEAMS)
async def test_a_fault_of_one_leg_ends_that_leg_and_no_other_call_notices(
    seam: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disturb, victim_rate = SEAMS[seam]
    undisturbed = await Run(monkeypatch, victim_rate=victim_rate).play()
    with caplog.at_level(logging.WARNING):
        disturbed = await Run(monkeypatch, disturb, victim_rate).play()
    for name in LEGS.keys() - {"victim"}:
        assert disturbed.of(name) == undisturbed.of(name)
        assert disturbed.end(name).statistics.words == 4  # type: ignore[union-attr]
    end = disturbed.end()
    assert str(end.reason).startswith("internal error: leg leg: ")
    assert end.metadata["leg.leg.fault"] in str(end.reason)
    assert disturbed.of("victim")[-1] is end
    assert disturbed.calls.stats.failed_legs == 1
    assert disturbed.calls.active == 0
    about = [record for record in caplog.records if "victim" in record.getMessage()]
    assert len(about) <= 1
    assert sum(disturbed.calls.supervisor.faults.values()) == sum(record.levelname == "ERROR" for record in about)


@pytest.mark.parametrize("seam", ["resampler", "half-band filter", "recogniser's push", "session that is closed"])
async def test_words_heard_before_the_fault_become_final(seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    disturb, victim_rate = SEAMS[seam]
    run = await Run(monkeypatch, disturb, victim_rate).play()
    finals = [one for one in run.of("victim") if isinstance(one, TranscriptRecord) and one.is_final]
    assert finals[-1].transcript.startswith("Hello from")


async def test_the_other_leg_of_a_call_goes_on_and_the_records_say_which_one_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch)
    run.recognizer = ScriptedRecognizer(script(words("One two.")), script(words("Three four five.")))
    run.calls = Calls(run.recognizer, run.publish, clock=run.clock)
    call = run.calls.start(CallInfo("CA1", "test"))
    legs = [call.add_leg(LegOptions(name, SpeakerRole.CUSTOMER, k)) for k, name in enumerate(("caller", "agent"))]
    for tick in range(100):
        if tick == 40:
            legs[0].intake._timeline = Broken()  # type: ignore[assignment]
        for leg in legs:
            leg.push(run.frame("narrow", tick))
        run.calls.ingest.tick()
        run.recognizer.steps()
        await asyncio.sleep(0)
    assert [one.metadata.get("leg.caller.fault") for one in run.of("CA1") if isinstance(one, CallRecord)] == [
        None, None, None, "RuntimeError: boom",
    ]  # fmt: skip
    assert not call.ended
    ending = asyncio.ensure_future(call.end("hang-up"))
    while not ending.done():
        run.recognizer.steps()
        await asyncio.sleep(0.001)
    end = run.end("CA1")
    assert (end.reason, end.metadata["leg.caller.fault"]) == ("hang-up", "RuntimeError: boom")
    texts = [
        one.transcript
        for one in run.of("CA1")
        if isinstance(one, TranscriptRecord) and one.is_final and one.leg == "agent"
    ]
    assert texts[-1] == "Three four five."


async def test_a_source_that_fails_is_counted_and_keeps_no_other_audio_from_being_heard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = await Run(monkeypatch).play()
    disturbed = await Run(monkeypatch, lambda run: run.calls.ingest.add_source(boom)).play()
    for name in LEGS:
        assert disturbed.of(name) == undisturbed.of(name)
    assert disturbed.calls.supervisor.faults["source"] >= TICKS - DISTURBED_AT
    assert caplog.text.count("RuntimeError: boom\n") == caplog.text.count("Traceback") == 1


async def test_a_recogniser_that_does_not_flush_a_tick_is_asked_again_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = await Run(monkeypatch).play()
    disturbed = await Run(monkeypatch, lambda run: monkeypatch.setattr(run.recognizer, "flush", boom)).play()
    assert disturbed.records == undisturbed.records
    assert disturbed.calls.supervisor.faults == {"recognizer": TICKS - DISTURBED_AT}


@pytest.mark.parametrize("method", ["close", "finalize"])
async def test_what_the_recogniser_raises_for_one_session_is_that_legs_end(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturb(run: Run) -> None:
        real, victim = getattr(run.recognizer, method), run.victim.session
        monkeypatch.setattr(run.recognizer, method, lambda session: boom() if session == victim else real(session))
        for name in LEGS:
            call = run.calls.get(name)
            assert call is not None
            call.hold()

    def hold(run: Run) -> None:
        for name in LEGS:
            call = run.calls.get(name)
            assert call is not None
            call.hold()

    undisturbed = await Run(monkeypatch, hold).play()
    disturbed = await Run(monkeypatch, disturb).play()
    for name in LEGS.keys() - {"victim"}:
        assert disturbed.of(name) == undisturbed.of(name)
    assert disturbed.end().statistics is not None


@pytest.mark.parametrize("method", ["_statistics", "_full_reason"])
async def test_a_call_is_over_and_its_id_free_whatever_fails_at_its_end(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(monkeypatch)
    call = run.calls.start(CallInfo("CA1", "test"))
    monkeypatch.setattr(call, method, boom)
    await call.end("hang-up")
    await call.wait_ended()
    assert run.calls.active == 0
    assert run.end("CA1").reason == "hang-up"
    assert run.calls.supervisor.faults == {"end of a call": 1}


async def test_records_that_cannot_be_published_are_counted_and_the_calls_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(monkeypatch)
    real, broken = run.calls._publish, [True]

    def publish(records: Sequence[AnyRecord]) -> None:
        boom() if broken[0] else real(records)

    run.calls._publish = publish
    run.disturb = lambda run: broken.clear() or broken.append(False)  # type: ignore[func-returns-value]
    await run.play()
    assert run.calls.supervisor.faults["publish"] > 2
    assert caplog.text.count("Traceback") == 1
    for name in LEGS:
        assert run.end(name).statistics.words == 4  # type: ignore[union-attr]


async def test_a_tick_that_fails_altogether_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    ticks = asyncio.Event()
    tick, failures = run.calls.ingest.tick, [3]

    def fail_at_first() -> None:
        if failures[0]:
            failures[0] -= 1
            boom()
        tick()
        ticks.set()

    monkeypatch.setattr(run.calls.ingest, "tick", fail_at_first)
    run.calls.start(CallInfo("CA1", "test")).add_leg(LegOptions("leg", SpeakerRole.CUSTOMER, 0))
    task = run.calls.supervisor.keep(run.calls.run(), "ticks")
    async with asyncio.timeout(10):
        await ticks.wait()
    assert run.calls.supervisor.faults == {"tick": 3}
    assert run.calls.supervisor.failures == {}
    task.cancel()


async def test_a_closed_loop_is_no_fault_of_the_engines_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.calls.start(CallInfo("CA1", "test")).add_leg(LegOptions("leg", SpeakerRole.CUSTOMER, 0))
    gone = asyncio.new_event_loop()
    gone.close()
    run.calls.dispatch._loop = gone
    run.recognizer._emit(StepEvents((), (), {}))
