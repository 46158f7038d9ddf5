"""The live view: running calls as a screen shows them, and its in-process form."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from sinks.calls import CallBook
from sinks.config import LiveConfig
from sinks.record import AnyRecord, as_builtins
from sinks.subscription import JsonRecord, Subscription


@dataclass(frozen=True, slots=True)
class CallSnapshot:
    """A call as known at one moment.

    `call`: `call_id`, `run`, `connector`, `from`, `to`, `metadata`, `legs`, `started_at`, `ended_at` (null while it
    runs), `status` (`active`, `held`, `ended`, and over Redis `lost` with `lost_at`), `reason`, `statistics` (both null
    until the end). `segments`: the newest transcript record of each segment, by start. `dtmf`: key presses in order of
    arrival, at most the first 200. `version` grows with every record that changed the call.
    """

    call: JsonRecord
    segments: list[JsonRecord]
    dtmf: list[JsonRecord]
    version: int


class View(Protocol):
    """What screens read. A screen subscribes first and reads the snapshot then, so that nothing falls between.

    A record that came in between is in both: it is dropped by its segment's revision, or applied twice without harm.
    """

    async def calls(self) -> list[JsonRecord]:
        """The `call` of every call known, newest first. Raises `ViewUnavailable`."""

    async def snapshot(self, call_id: str) -> CallSnapshot | None:
        """None: no such call. Raises `ViewUnavailable`."""

    def subscribe(self, call_id: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[JsonRecord]]:
        """Records of one call, or of all, from entering on. Entering raises `ViewUnavailable`.

        A slow reader loses partials, oldest first. The iteration ends when it falls behind further or the view is
        lost: subscribe again and read a new snapshot.
        """


class LiveView:
    """Sink and View in one, in this process's memory. For the event loop's thread only."""

    name = "live"

    def __init__(self, config: LiveConfig | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config or LiveConfig()
        self._book = CallBook(retain_s=self._config.retain_s, max_calls=self._config.max_calls, history=0, clock=clock)
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    async def start(self) -> None:
        """Nothing to prepare."""

    async def write(self, records: Sequence[AnyRecord]) -> None:
        for record in records:
            if self._book.apply(record) is not None and self._subscriptions:
                fields = as_builtins(record)
                for subscription in self._subscriptions:
                    subscription.offer(fields)

    async def close(self) -> None:
        """End every subscription, also those to come; the calls stay readable."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()

    async def calls(self) -> list[JsonRecord]:
        return [dict(state.call) for state in self._book.newest_first()]

    async def snapshot(self, call_id: str) -> CallSnapshot | None:
        state = self._book.get(call_id)
        if state is None:
            return None
        return CallSnapshot(
            call=dict(state.call),
            segments=[as_builtins(record) for record in state.in_order()],
            dtmf=[as_builtins(record) for record in state.dtmf.values()],
            version=state.version,
        )

    @asynccontextmanager
    async def subscribe(self, call_id: str | None = None) -> AsyncIterator[AsyncIterator[JsonRecord]]:
        subscription = Subscription(call_id, self._config.queue_records)
        self._subscriptions.add(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)


__all__ = ["CallSnapshot", "LiveConfig", "LiveView", "View"]
