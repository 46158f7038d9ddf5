"""`PipecatBot`: a bot of Trunkline that is a Pipecat pipeline."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.runner import WorkerRunner

from pipeline.bots import AttendedCall
from pipeline.pipecat.log import hand_on_log
from pipeline.pipecat.transport import TrunklineTransport
from pipeline.records import CallInfo
from supervision import cancel_and_wait

logger = logging.getLogger(__name__)

WAY_BACK_S = 10.0
"""A leg that can be spoken to has to be there so long after the call began."""

END_S = 3.0
"""A pipeline may go on for so long after its call has ended."""

_POLL_S = 0.02

Made = PipelineWorker | Sequence[FrameProcessor]
Make = Callable[[AttendedCall, TrunklineTransport], Awaitable[Made]]


class PipecatBot:
    """`make(call, transport)`: returns the processors of a pipeline, with `transport.input()` first and
    `transport.output()` among them, or a worker that has one. `leg`: by default the first that can be spoken to.

    Implements `pipeline.bots.Bot`. When the pipeline ends, so does the call, and the other way round.
    """

    def __init__(self, make: Make, *, name: str = "pipecat", leg: str | None = None) -> None:
        hand_on_log()
        self.name = name
        self._make, self._leg = make, leg

    def attends(self, info: CallInfo) -> bool:  # noqa: ARG002 - for a subclass to decide
        return True

    async def attend(self, call: AttendedCall) -> None:
        leg = await self._find_leg(call)
        if leg is None:
            return
        transport = TrunklineTransport(call, leg)
        made = await self._make(call, transport)
        worker = made if isinstance(made, PipelineWorker) else _worker(made)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        ending = asyncio.create_task(_end_with(call, worker))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            await runner.cancel()
            await asyncio.wait([running], timeout=END_S)
            raise
        finally:
            await cancel_and_wait(ending)
        await call.call.end("the bot has ended")

    async def _find_leg(self, call: AttendedCall) -> str | None:
        """None: the call has ended before, or nobody on it can be spoken to; then it is left as it is."""
        until = asyncio.get_running_loop().time() + WAY_BACK_S
        while not call.call.ended:
            for name, leg in call.call.legs.items():
                if self._leg in (None, name) and leg.player.outlet is not None:
                    return name
            if asyncio.get_running_loop().time() > until:
                logger.warning(
                    "call %s: bot %s leaves it: no leg of it can be spoken to (docs/playback.md)",
                    call.info.call_id,
                    self.name,
                )
                return None
            await asyncio.sleep(_POLL_S)
        return None


def _worker(processors: Sequence[FrameProcessor]) -> PipelineWorker:
    """16 kHz in, as legs have it. A service that can do nothing any more ends the call: nobody is left in silence."""
    return PipelineWorker(
        Pipeline(list(processors)),
        params=PipelineParams(audio_in_sample_rate=16_000, enable_metrics=True),
        idle_timeout_secs=None,
        processor_unusable_policy=ProcessorUnusablePolicy.END,
    )


async def _end_with(call: AttendedCall, worker: PipelineWorker) -> None:
    await call.call.wait_ended()
    await worker.stop_when_done()
    await asyncio.sleep(END_S)
    await worker.cancel(reason="the call has ended")
