"""From the end of speech to the final text, in a Pipecat pipeline: `python -m benchmarks.pipecat`.

The customer of the demo call speaks in real time into `TrunklineSTTService`, with the shipped model on the CPU. 200 ms
after each of their sentences, as a voice activity detector would, `VADUserStoppedSpeakingFrame` says that they have
finished; measured is the time from there to the `TranscriptionFrame` that answers it.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from engine.engine import Engine
from pipeline.pipecat.stt import TrunklineSTTService

DEMO = Path(__file__).parents[1] / "trunkline" / "demo"
STOP_S = 0.2


class Finals(FrameProcessor):
    """When finals came that answer the end of speech."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame) and frame.finalized:
            self.at.append(time.monotonic())
        await self.push_frame(frame, direction)


async def speak(
    worker: PipelineWorker, pcm: NDArray[np.int16], rate_hz: int, said: list[dict[str, Any]]
) -> list[float]:
    """In real time; returns when each sentence was said to have ended."""
    size, began = rate_hz // 50, time.monotonic()
    starts, stops = [one["start"] for one in said], [one["end"] + STOP_S for one in said]
    ended = []
    for at in range(0, pcm.size - size, size):
        now_s = at / rate_hz
        await asyncio.sleep(max(began + now_s - time.monotonic(), 0))
        await worker.queue_frame(InputAudioRawFrame(pcm[at : at + size].tobytes(), rate_hz, 1))
        if starts and now_s >= starts[0]:
            starts.pop(0)
            await worker.queue_frame(VADUserStartedSpeakingFrame())
        if stops and now_s >= stops[0]:
            stops.pop(0)
            ended.append(time.monotonic())
            await worker.queue_frame(VADUserStoppedSpeakingFrame(stop_secs=STOP_S))
    return ended


async def measure(chunk_ms: int, calls: int) -> list[float]:
    """Seconds from each end of speech to its final."""
    pcm, rate_hz = soundfile.read(DEMO / "call.wav", dtype="int16")
    script = json.loads((DEMO / "script.json").read_text("utf-8"))
    said = [one for one in script if one["leg"] == "inbound"]
    waits: list[float] = []
    with Engine.load(max_sessions=2 * calls) as engine:

        async def one_call() -> None:
            finals = Finals()
            stt = TrunklineSTTService(engine, chunk_ms=chunk_ms)
            worker = PipelineWorker(Pipeline([stt, finals]), idle_timeout_secs=None)
            runner = WorkerRunner(handle_sigint=False)
            await runner.add_workers(worker)
            running = asyncio.create_task(runner.run())
            ended = await speak(worker, np.ascontiguousarray(pcm[:, 0]), rate_hz, said)
            await worker.queue_frame(EndFrame())
            await running
            for end in ended:
                after = [at for at in finals.at if at >= end]
                waits.extend([after[0] - end] if after else [])

        await asyncio.gather(*(one_call() for _ in range(calls)))
    return waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--calls", type=int, default=4, help="at once")
    parser.add_argument("--chunk-ms", type=int, default=160)
    options = parser.parse_args()
    waits = np.array(asyncio.run(measure(options.chunk_ms, options.calls))) * 1000
    p50, p95, p99 = (round(float(np.percentile(waits, q)), 1) for q in (50, 95, 99))
    print(f"{waits.size} ends of speech, {options.calls} calls at once, chunks of {options.chunk_ms} ms")
    print(json.dumps({"ends": waits.size, "final_p50_ms": p50, "final_p95_ms": p95, "final_p99_ms": p99}))


if __name__ == "__main__":
    main()
