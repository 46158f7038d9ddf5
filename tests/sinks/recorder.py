"""A sink that keeps what it is given."""

import asyncio
from collections.abc import Sequence

from sinks.record import AnyRecord


class Recorder:
    """Keeps what it is given; `gate` holds writes up while it is clear, `failures` are raised first."""

    def __init__(self, name: str = "recorder", failures: Sequence[Exception] = ()) -> None:
        self.name = name
        self.records: list[AnyRecord] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = list(failures)
        self.writing = asyncio.Event()
        self.started = self.closed = 0

    async def start(self) -> None:
        self.started += 1

    async def write(self, records: Sequence[AnyRecord]) -> None:
        self.writing.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.records += records

    async def close(self) -> None:
        self.closed += 1
