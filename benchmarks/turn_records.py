"""What a user of the records gets: legs played in real time through the pipeline, and when their records come.

The clock of a leg begins with its first packet: a record that comes `t` seconds later than the end of the speech was
played is `t` late. Engine, turn detection, segments and records are real, in this process; packets of 20 ms are pushed.
"""

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.load.null_recognizer import NullRecognizer
from engine import Engine
from engine.api import Recognizer, Session, StepEvents
from pipeline import AudioFrame, Encoding, PipelineConfig
from pipeline.call import CallInfo, LegOptions
from pipeline.calls import Calls
from pipeline.turns.config import TurnConfig, TurnModels
from pipeline.turns.detector import TurnDetector
from sinks.record import AnyRecord, SpeakerRole, TranscriptRecord, TurnEvent, TurnRecord
from training.turn_legs import Leg
from training.voices import SAMPLE_RATE_HZ

PACKET = SAMPLE_RATE_HZ // 50
MATCH_S = 0.5
"""An end of a turn is told of the speech that ended so near to it."""


@dataclass(slots=True)
class Told:
    """`at`: when each record of a leg came, seconds after its first packet."""

    began: float = 0.0
    records: list[tuple[float, AnyRecord]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds, sorted. `start`: of StartOfTurn after the speech began. `end`: of EndOfTurn after it ended. `final`: of
    the first final transcript that reaches that end. `ends`: known; `cut`: pauses inside turns in which a turn was told
    to be over, of `holds`."""

    start: list[float]
    end: list[float]
    final: list[float]
    ends: int
    cut: int
    holds: int


async def play(legs: Sequence[Leg], config: TurnConfig, chunk_ms: int, seconds: float) -> list[Told]:
    """Each leg as a call, begun at different points of a tick and a step."""
    with Engine.load(max_sessions=max(len(legs), 8)) as engine:
        return await _play(engine, legs, config, chunk_ms, seconds)


async def _play(
    engine: Recognizer, legs: Sequence[Leg], config: TurnConfig, chunk_ms: int, seconds: float
) -> list[Told]:
    told = [Told() for _ in legs]

    def publish(records: Sequence[AnyRecord]) -> None:
        now = time.monotonic()
        for record in records:
            one = told[int(record.call_id)]
            one.records.append((now - one.began, record))

    detector = TurnDetector.installed(config)
    calls = Calls(engine, publish, PipelineConfig(chunk_ms=chunk_ms), turns=detector)
    ticking = asyncio.create_task(calls.run())

    async def speak(number: int) -> None:
        await asyncio.sleep(number * 0.033)
        call = calls.start(CallInfo(str(number), "benchmark"))
        leg = call.add_leg(LegOptions("caller", SpeakerRole.CUSTOMER, 0))
        pcm = legs[number].pcm[: int(seconds * SAMPLE_RATE_HZ)]
        told[number].began = began = time.monotonic()
        for at in range(0, pcm.size - PACKET, PACKET):
            await asyncio.sleep(max(began + (at + PACKET) / SAMPLE_RATE_HZ - time.monotonic(), 0.0))
            leg.push(AudioFrame(at, pcm[at : at + PACKET], Encoding.FLOAT32, SAMPLE_RATE_HZ, time.monotonic()))
        await call.end("over")

    try:
        await asyncio.gather(*(speak(number) for number in range(len(legs))))
    finally:
        ticking.cancel()
        if detector is not None:
            detector.close()
    return told


def delays(legs: Sequence[Leg], told: Sequence[Told], seconds: float) -> Delays:
    """Of the speech that ended some seconds before the leg did."""
    start, end, final = [], [], []
    ends = cut = holds = 0
    for leg, one in zip(legs, told, strict=True):
        turns = [(at, record) for at, record in one.records if isinstance(record, TurnRecord)]
        texts = [(at, record) for at, record in one.records if isinstance(record, TranscriptRecord) and record.is_final]
        over = [(at, record) for at, record in turns if record.event is TurnEvent.END_OF_TURN]
        begun = [(at, record) for at, record in turns if record.event is TurnEvent.START_OF_TURN]
        was_end = True
        for number, speech in enumerate(leg.speech):
            following_s = leg.speech[number + 1].start_s if number + 1 < len(leg.speech) else np.inf
            if speech.end_s > seconds - 4:
                break
            if was_end:
                start += [at - speech.start_s for at, _ in begun if speech.start_s <= at < speech.end_s + MATCH_S][:1]
            was_end = speech.ends_turn
            after = [at - speech.end_s for at, _ in over if speech.end_s - MATCH_S <= at < following_s]
            if speech.ends_turn:
                ends += 1
                end += after[-1:]
                late = [at for at, record in texts if record.start + record.duration > speech.end_s - MATCH_S]
                final += [at - speech.end_s for at in late if at > speech.end_s - MATCH_S][:1]
            elif following_s - speech.end_s >= 0.2:
                holds += 1
                cut += bool(after)
    return Delays(sorted(start), sorted(end), sorted(final), ends, cut, holds)


def percentile_ms(seconds: Sequence[float], percent: float) -> float | None:
    """None of none."""
    return round(1000 * float(np.percentile(seconds, percent)), 1) if seconds else None


@dataclass(frozen=True, slots=True)
class Cost:
    """Of turn detection for `legs` at once: per cent of a core, MB, for each of them."""

    legs: int
    core_pct_per_leg: float
    mb_per_leg: float


async def cost(legs: Sequence[Leg], count: int, seconds: float) -> Cost:
    """CPU of the process with turn detection less that without, and what is resident more. `legs` are taken over and
    over from different places; words there are none, so Smart Turn is asked as often as it can be."""
    many = [legs[number % len(legs)] for number in range(count)]
    without_s, _ = await _measured(many, TurnConfig(models=TurnModels.OFF), seconds)
    with_s, mb = await _measured(many, TurnConfig(), seconds)
    return Cost(count, 100 * (with_s - without_s) / seconds / count, mb / count)


async def _measured(legs: Sequence[Leg], config: TurnConfig, seconds: float) -> tuple[float, float]:
    gc.collect()
    process = psutil.Process()
    before, resident = time.process_time(), process.memory_info().rss
    await _play(_Steps(), legs, config, 160, seconds)
    return time.process_time() - before, (process.memory_info().rss - resident) / 1e6


class _Steps(NullRecognizer):
    """Says of each session how far it has come, as an engine does once a step."""

    def __init__(self) -> None:
        super().__init__()
        self._pushed: dict[Session, int] = {}
        self._told: dict[Session, int] = {}

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        super().push(session, pcm)
        self._pushed[session] = self._pushed.get(session, 0) + pcm.size

    def flush(self) -> None:
        step = 160 * SAMPLE_RATE_HZ // 1000
        due = {one: size // step * step for one, size in self._pushed.items() if size - self._told.get(one, 0) >= step}
        if due:
            self._told |= due
            progress = {one: size / SAMPLE_RATE_HZ for one, size in due.items()}
            for callback in self._callbacks:
                callback(StepEvents((), (), progress))
