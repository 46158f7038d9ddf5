"""A recorded call, heard by the shipped model, with turns and without."""

import asyncio
import time
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise

import numpy as np
import soundfile
from numpy.typing import NDArray

from engine.engine import Engine
from pipeline import AudioFrame, Calls, Encoding, LegOptions, PipelineConfig
from pipeline.turns.config import TurnConfig
from pipeline.turns.detector import TurnDetector
from sinks.record import AnyRecord, TranscriptRecord, TurnEvent, TurnRecord
from tests.pipeline.stage import AGENT, CALLER, info

SECONDS = 5
TICK = 160


def recording() -> NDArray[np.int16]:
    """(T, 2), 8 kHz."""
    with (files("trunkline.demo") / "call.wav").open("rb") as file:
        pcm: NDArray[np.int16] = soundfile.read(file, SECONDS * 8_000, dtype="int16")[0]
    return pcm


async def heard(turns: TurnDetector | None, options: Sequence[LegOptions] = (CALLER, AGENT)) -> list[AnyRecord]:
    pcm, engine, records = recording(), Engine.load(max_sessions=4), list[AnyRecord]()
    calls = Calls(engine, records.extend, PipelineConfig(chunk_ms=160), turns=turns)
    call = calls.start(info())
    legs = [call.add_leg(option) for option in options]
    for at in range(0, len(pcm), TICK):
        for channel, leg in enumerate(legs):
            samples = np.ascontiguousarray(pcm[at : at + TICK, channel])
            leg.push(AudioFrame(at, samples, Encoding.L16, 8_000, time.monotonic()))
        calls.ingest.tick()
        while engine.step():
            pass
        await asyncio.sleep(0.002 if turns else 0)
    ending = asyncio.ensure_future(call.end("hang-up"))
    while not ending.done():
        engine.step()
        await asyncio.sleep(0.001)
    return records


def finals(records: Sequence[AnyRecord], leg: str) -> list[str]:
    """Words of the last final of each segment."""
    last = {one.segment_id: one for one in records if isinstance(one, TranscriptRecord) and one.is_final}
    return [word.word for one in last.values() if one.leg == leg for word in one.words]


async def test_a_call_has_the_same_words_with_turns_and_without() -> None:
    turns = TurnDetector.installed(TurnConfig())
    assert turns is not None
    with_turns, without = await heard(turns), await heard(None)
    turns.close()
    for leg in ("caller", "agent"):
        assert finals(with_turns, leg) == finals(without, leg) != []
        of_leg = [one for one in with_turns if one.leg == leg]
        ends = [
            (before, end)
            for before, end in pairwise(of_leg)
            if isinstance(end, TurnRecord) and end.event is TurnEvent.END_OF_TURN
        ]
        assert ends
        for before, end in ends:
            assert isinstance(before, TranscriptRecord), end
            assert before.is_final
            assert before.speech_final
    assert turns.stats.late_finals == 0
