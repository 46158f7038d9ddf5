"""Pipecat's cost of one Twilio media message: FastAPI WebSocket, Twilio serializer, a pipeline a leg with a recogniser
that says nothing.

`python -m benchmarks.load.pipecat_peer LEGS SECONDS`, run by an interpreter that has `pipecat-ai[websocket]` and
`uvicorn` (and `uvloop`, if it is there). The messages come from the same sender, at the same pace, as those for our
own server. The last line is JSON.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

from benchmarks.load.peer import WARM_UP_S, attribute, figures, leave, start_sender

HOST = "127.0.0.1"
PIPELINE_RATE_HZ = 16_000


class Counters:
    """`messages`: taken from the WebSockets. `samples`: heard by the recognisers."""

    messages = 0
    samples = 0


async def main() -> None:
    legs, seconds = int(sys.argv[1]), float(sys.argv[2])
    fastapi, uvicorn = importlib.import_module("fastapi"), importlib.import_module("uvicorn")
    service = _service()
    application = fastapi.FastAPI()

    async def media(websocket: Any) -> None:
        await websocket.accept()
        while (message := json.loads(await websocket.receive_text()))["event"] != "start":
            pass
        await _run(websocket, message["streamSid"], service())

    media.__annotations__["websocket"] = fastapi.WebSocket
    application.websocket("/twilio")(media)
    server = uvicorn.Server(uvicorn.Config(application, HOST, 0, log_level="critical"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - the library has no event for it
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    sender = await start_sender({"kind": "twilio", "port": port, "path": "/twilio", "legs": legs}, seconds)
    await asyncio.sleep(WARM_UP_S)
    before, began, cpu = (Counters.messages, Counters.samples), time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    cpu, took = time.process_time() - cpu, time.monotonic() - began
    handled, samples = Counters.messages - before[0], Counters.samples - before[1]
    kept_up = samples >= 0.95 * legs * took * PIPELINE_RATE_HZ
    what = "FastAPI WebSocket, Twilio serializer, pipeline with a null recogniser"
    print(figures("pipecat-ai", what, legs, handled, cpu, kept_up=kept_up), flush=True)
    sender.kill()
    serving.cancel()
    leave()


def _service() -> Any:
    """A null recogniser as Pipecat has them."""
    base: Any = attribute("pipecat.services.stt_service.STTService")
    settings = attribute("pipecat.services.settings.STTSettings")(model=None, language=None)

    class NullService(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(sample_rate=PIPELINE_RATE_HZ, settings=settings, ttfs_p99_latency=1.0)

        async def run_stt(self, audio: bytes) -> AsyncGenerator[None, None]:
            Counters.samples += len(audio) // 2
            yield None

    return NullService


def _counting_serializer(stream_sid: str) -> Any:
    base: Any = attribute("pipecat.serializers.twilio.TwilioFrameSerializer")

    class Serializer(base):  # type: ignore[misc]
        async def deserialize(self, data: str | bytes) -> Any:
            Counters.messages += 1
            return await super().deserialize(data)

    return Serializer(stream_sid, params=base.InputParams(auto_hang_up=False))


async def _run(websocket: Any, stream_sid: str, service: Any) -> None:
    transport = importlib.import_module("pipecat.transports.websocket.fastapi")
    worker = importlib.import_module("pipecat.pipeline.worker")
    params = transport.FastAPIWebsocketParams(
        serializer=_counting_serializer(stream_sid), audio_in_enabled=True, audio_out_enabled=False
    )
    entry = transport.FastAPIWebsocketTransport(websocket, params)
    job = worker.PipelineWorker(
        attribute("pipecat.pipeline.pipeline.Pipeline")([entry.input(), service]),
        params=worker.PipelineParams(audio_in_sample_rate=PIPELINE_RATE_HZ),
        enable_rtvi=False,
        idle_timeout_secs=None,
    )
    runner = attribute("pipecat.workers.runner.WorkerRunner")(handle_sigint=False)
    await runner.add_workers(job)
    await runner.run()


if __name__ == "__main__":
    for package in ("pipecat", "fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            sys.exit(f"{package} is not installed for {sys.executable}")
    importlib.import_module("loguru").logger.remove()
    with contextlib.suppress(ImportError):
        importlib.import_module("uvloop").install()
    asyncio.run(main())
