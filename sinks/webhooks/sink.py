"""Records to other people's URLs: signed, repeated until they are taken, in order for each call.

Finals and events go into a spool on disk, once for each receiver that wants them, and from there by a lane for each
(`webhook_lane`). Partials are not sent: a request each would cost more than it tells.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sinks.delivery import Delivery, EndpointDelivery
from sinks.message import Message
from sinks.record import AnyRecord, CallRecord, TurnRecord, encode, is_partial
from sinks.spool import Spool
from sinks.spool_file import waiting
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from sinks.webhooks.endpoint import Endpoint, is_loopback
from sinks.webhooks.lane import WebhookLane
from sinks.webhooks.signature import signing_key
from supervision import Supervisor, cancel_and_wait

log = logging.getLogger(__name__)

COUNT_EVERY_S = 2.0


class WebhookSink:
    """`write` never waits: records are appended to the spool. A thread with an event loop of its own does what goes
    over the network. Raises `SinkMisconfigured` for a spool or a file of authorities that cannot be used."""

    name = "webhooks"

    def __init__(self, config: WebhooksConfig) -> None:
        self._config = config
        self._wanted = {one.name: frozenset(one.events) for one in config.endpoints}
        self.supervisor = Supervisor()
        self._thread: threading.Thread | None = None
        endpoints = [Endpoint(one, signing_key(one.secret or config.secret or "")) for one in config.endpoints]
        self.spool = Spool(
            Path(config.spool),
            max_bytes=config.spool_max_bytes,
            max_age_s=3600 * config.spool_max_age_h,
            on_committed=self._committed,
            supervisor=self.supervisor,
        )
        self.lanes = [WebhookLane(endpoint, self.spool, self.supervisor) for endpoint in endpoints]
        for endpoint in endpoints:
            if not endpoint.is_encrypted and not is_loopback(endpoint.host):
                log.warning("webhooks: records go to %s (%s) unencrypted: use https", endpoint.name, endpoint.host)
        self._waiting = waiting(self.spool.path)
        for name, one in self._endpoints().items():
            for line in one.warnings(name) if not one.configured else ():
                log.warning("webhooks: %s: %s", config.spool, line)

    def delivery(self) -> Delivery:
        """Of records for receivers: one that two receivers get counts twice."""
        spool = self.spool.stats
        return Delivery(
            delivered=spool.settled.total(),
            spooled=len(self.spool),
            oldest_age_s=self.spool.oldest_age_s,
            dead_lettered=spool.dead_lettered.copy(),
            lost=spool.lost,
            errors=spool.disk_errors + sum(lane.failed for lane in self.lanes),
            connected=all(lane.connected for lane in self.lanes),
            degraded=self.spool.degraded,
            endpoints=self._endpoints(),
        )

    def _endpoints(self) -> dict[str, EndpointDelivery]:
        """Those that are configured, and those of which records are left."""
        now, found = time.time(), {}
        connected = {lane.name: lane.connected for lane in self.lanes}
        for name in (*self._wanted, *(self._waiting.keys() - self._wanted.keys())):
            count, at = self._waiting.get(name, (0, now))
            age_s = max(now - at, 0.0)
            found[name] = EndpointDelivery(connected.get(name, False), count, age_s, configured=name in connected)
        return found

    async def start(self) -> None:
        """Returns at once. What a former process left goes first."""
        self.spool.start()
        self._thread = self.supervisor.thread(lambda: asyncio.run(self._deliver()), "webhooks")

    async def write(self, records: Sequence[AnyRecord]) -> None:
        """Take them over; they are on disk within a commit's time."""
        entries: list[Message] = []
        for record in records:
            receivers = [] if is_partial(record) else self._receivers(record)
            if receivers:
                key, value = record.call_id.encode(), encode(record)
                headers = (("event_id", record.event_id.encode()),)
                entries += [Message(name, key, value, headers) for name in receivers]
        if entries:
            self.spool.append(entries)

    async def close(self) -> None:
        """Give what waits `close_timeout_s`; the rest stays for the next start."""
        await asyncio.to_thread(self._close)

    def _receivers(self, record: AnyRecord) -> list[str]:
        kind = str(record.__struct_config__.tag)
        names = {kind}
        if isinstance(record, CallRecord):
            names.add(f"{kind}.{record.action}")
        elif isinstance(record, TurnRecord):
            names.add(f"{kind}.{record.event}")
        return [name for name, wanted in self._wanted.items() if not names.isdisjoint(wanted)]

    def _close(self) -> None:
        deadline = time.monotonic() + self._config.close_timeout_s
        self.spool.flush(self._config.close_timeout_s)
        for lane in self.lanes:
            lane.stop(deadline)
        if self._thread is not None:
            self._thread.join(max(deadline - time.monotonic(), 0.0) + 2.0)
        self.spool.stop()

    async def _deliver(self) -> None:
        counting = asyncio.create_task(self._count())
        try:
            async with asyncio.TaskGroup() as lanes:
                for lane in self.lanes:
                    lanes.create_task(lane.run())
        finally:
            await cancel_and_wait(counting)

    async def _count(self) -> None:
        """What waits for each receiver; a large spool is looked at less often."""
        while True:
            began = time.monotonic()
            with contextlib.suppress(sqlite3.Error):  # the sink says itself that its disk refuses
                self._waiting = await asyncio.to_thread(waiting, self.spool.path) if len(self.spool) else {}
            await asyncio.sleep(max(COUNT_EVERY_S, 20 * (time.monotonic() - began)))

    def _committed(self) -> None:
        """On the spool's thread."""
        for lane in self.lanes:
            lane.committed()


__all__ = ["WebhookConfig", "WebhookSink", "WebhooksConfig"]
