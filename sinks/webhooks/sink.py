"""Records to other people's URLs: signed, repeated until they are taken, in order for each call.

Finals and events go into a spool on disk, once for each receiver that wants them, and from there by a lane for each
(`webhook_lane`). Partials are not sent: a request each would cost more than it tells.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sinks.delivery import Delivery
from sinks.message import Message
from sinks.record import AnyRecord, CallRecord, TurnRecord, encode, is_partial
from sinks.spool import Spool
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from sinks.webhooks.endpoint import Endpoint, is_loopback
from sinks.webhooks.lane import WebhookLane
from sinks.webhooks.signature import signing_key
from supervision import Supervisor

log = logging.getLogger(__name__)


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
        left = set(self.spool.topics()) - self._wanted.keys()
        if left:
            names = ", ".join(sorted(left))
            log.warning("webhooks: %s has records for %s, not among the endpoints any more", config.spool, names)

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
        )

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
        async with asyncio.TaskGroup() as lanes:
            for lane in self.lanes:
                lanes.create_task(lane.run())

    def _committed(self) -> None:
        """On the spool's thread."""
        for lane in self.lanes:
            lane.committed()


__all__ = ["WebhookConfig", "WebhookSink", "WebhooksConfig"]
