"""The parts of the server that the microphone page needs, with the demo model, on a loopback port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from numpy.typing import NDArray

from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.peer import WebRtcConnector
from engine.engine import Engine
from liveview.api import LivePage, LiveViewConfig
from liveview.microphone import Microphone
from pipeline.calls import Calls
from pipeline.g711 import decode_mulaw
from sinks.live import LiveView
from sinks.record import AnyRecord, CallAction, CallRecord, TranscriptRecord
from trunkline.demo.script import load_audio, load_script

LEAD_S, PAUSE_S = 1.5, 0.8


def agent_speech(lines: int) -> tuple[NDArray[np.float32], str]:
    """The first sentences of the demo call's agent with pauses between them and none at the end, float32 48 kHz, and
    their words."""
    codes = load_audio()[1]
    spoken = [line for line in load_script() if line.role == "agent"][:lines]
    parts: list[NDArray[np.float32]] = [np.zeros(int(LEAD_S * 8000), dtype=np.float32)]
    for line in spoken:
        pcm = decode_mulaw(codes[int((line.start - 0.1) * 8000) : int((line.end + 0.1) * 8000)])
        parts += [pcm.astype(np.float32) * np.float32(1 / 32768), np.zeros(int(PAUSE_S * 8000), dtype=np.float32)]
    wide: NDArray[np.float32] = soxr.resample(np.concatenate(parts[:-1]), 8000, 48000)
    return wide, " ".join(line.text for line in spoken)


def write_wav(path: str, pcm: NDArray[np.float32]) -> None:
    """As Chromium's fake microphone reads it: 48 kHz, 16 bits."""
    soundfile.write(path, pcm, 48_000, subtype="PCM_16")


@dataclass
class MicServer:
    """`records`: everything published, in order."""

    client: TestClient[Any, Any]
    connector: WebRtcConnector
    calls: Calls
    records: list[AnyRecord]

    @property
    def url(self) -> str:
        return str(self.client.make_url("/"))

    @property
    def finals(self) -> list[TranscriptRecord]:
        return [one for one in self.records if isinstance(one, TranscriptRecord) and one.is_final]

    def steps(self, action: CallAction) -> list[CallRecord]:
        return [one for one in self.records if isinstance(one, CallRecord) and one.action is action]


@asynccontextmanager
async def mic_server(
    config: WebRtcConfig | None = None, liveview: LiveViewConfig | None = None, *, max_sessions: int = 4
) -> AsyncIterator[MicServer]:
    """Serves the page, its API and the WHIP endpoint; leaving it ends the calls."""
    config = config or WebRtcConfig()
    engine = Engine.load(None, max_sessions=max_sessions)
    view, records = LiveView(), list[AnyRecord]()
    queue: asyncio.Queue[list[AnyRecord]] = asyncio.Queue()

    def publish(batch: Any) -> None:
        records.extend(batch)
        queue.put_nowait(list(batch))

    async def forward() -> None:
        while True:
            await view.write(await queue.get())

    calls = Calls(engine, publish)
    engine.reserve(calls.config.chunk_ms)
    connector = WebRtcConnector(calls, config)
    app = web.Application()
    app.add_routes(connector.routes())
    LivePage(view, liveview or LiveViewConfig(list_interval_ms=20), Microphone(config.path, config.token)).install(app)
    with engine:
        tasks = [asyncio.create_task(calls.run()), asyncio.create_task(forward())]
        try:
            async with TestClient(TestServer(app)) as client:
                yield MicServer(client, connector, calls, records)
                await connector.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
