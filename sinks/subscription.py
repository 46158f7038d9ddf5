"""What one screen has still to read."""

import asyncio
from typing import Any

from sinks.shedding import SheddingQueue

JsonRecord = dict[str, Any]


class Subscription:
    """An endless iterator of records as dictionaries, at most `limit` waiting.

    Overflow: the oldest partial goes first. When only records that must not be lost are waiting, the subscription is
    closed, what waits is discarded, and the iteration ends: the screen subscribes again and reads a snapshot. The
    dictionaries are shared between subscriptions and must not be changed.
    """

    def __init__(self, call_id: str | None, limit: int) -> None:
        self._call_id = call_id
        self._waiting: SheddingQueue[JsonRecord] = SheddingQueue(limit)
        self._wake = asyncio.Event()
        self._closed = False
        self.offered = 0  # records that came for this screen

    def offer(self, record: JsonRecord) -> None:
        """Queue a record if it is of the call subscribed to."""
        if self._closed or self._call_id not in (None, record["call_id"]):
            return
        self.offered += 1
        partial = record["type"] == "transcript" and not record["is_final"]
        if not self._waiting.put(record, partial=partial) and not partial:
            self.close()
        self._wake.set()

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
        self._waiting.clear()
        self._wake.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> JsonRecord:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.take(1)[0]
