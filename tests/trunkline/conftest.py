"""The whole server with the demo model, in this process, on a free loopback port."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.media_ws import PlayerReport, TwilioPlayer
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from sinks.record import AnyRecord, CallAction, CallRecord
from trunkline.config import Config
from trunkline.server import Server


@dataclass
class Recorder:
    """A sink that keeps everything."""

    name: str = "recorder"
    records: list[AnyRecord] = field(default_factory=list)

    async def start(self) -> None: ...

    async def write(self, records: Sequence[AnyRecord]) -> None:
        self.records += records

    async def close(self) -> None: ...

    def of(self, call_id: str) -> list[AnyRecord]:
        return [record for record in self.records if record.call_id == call_id]

    def ended(self, call_id: str) -> bool:
        return any(isinstance(item, CallRecord) and item.action is CallAction.END for item in self.of(call_id))


@dataclass
class Running:
    """`url`: http://127.0.0.1:PORT. `recorder` has been written to when `running` was left."""

    url: str
    server: Server
    recorder: Recorder
    twilio: str

    async def play(
        self,
        inbound: NDArray[np.uint8] | None,
        outbound: NDArray[np.uint8] | None = None,
        *,
        call_sid: str,
        pace: float = 4.0,
        **options: Any,
    ) -> PlayerReport:
        """One call by the real protocol, faster than real time."""
        player = TwilioPlayer(self.twilio, inbound, outbound, call_sid=call_sid, pace=pace, **options)
        return await player.play()


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session")
def demo_checkpoint() -> Checkpoint:
    return load_checkpoint()


@pytest.fixture
def serve(demo_checkpoint: Checkpoint) -> Serve:
    """`async with serve(config) as running: ...`; leaving it drains the server, so all records are there."""

    @asynccontextmanager
    async def start(config: Config | None = None, max_sessions: int = 64) -> AsyncIterator[Running]:
        config = config or Config()
        jsonl = msgspec.structs.replace(config.jsonl, path=config.jsonl.path if config.jsonl.path != DEFAULT else "")
        server_section = msgspec.structs.replace(config.server, port=0, drain_s=60)
        config = msgspec.structs.replace(config, server=server_section, jsonl=jsonl)
        recorder = Recorder()
        server = Server(config, Engine(demo_checkpoint, max_sessions=max_sessions), [recorder])
        async with server.running() as url:
            yield Running(url, server, recorder, url.replace("http", "ws", 1) + config.twilio.path)

    return start


DEFAULT = Config().jsonl.path
