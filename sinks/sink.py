"""What every destination of records looks like."""

from collections.abc import Sequence
from typing import Protocol

from sinks.record import AnyRecord


class Sink(Protocol):
    """A destination of records, driven by one task: `start`, then `write` one batch at a time, then `close`.

    Records of one call arrive in the order in which they were published. A batch whose `write` raised a retryable
    error is given again, whole and before any later record, so a record may arrive twice with the same `event_id`.

    What is written is delivered. A sink whose `write` only takes over (into a spool, say) has a `delivery` in addition
    (`sinks.delivery.Accounting`); one that runs threads or tasks of its own a `supervisor` (`supervision.Supervised`).
    """

    @property
    def name(self) -> str:
        """Unique among the sinks of a server; it labels log lines and metrics."""

    async def start(self) -> None:
        """Make ready. Returns soon even if the service behind the sink is away; raises `SinkMisconfigured`."""

    async def write(self, records: Sequence[AnyRecord]) -> None:
        """Take over a batch; never blocks the event loop. Raises `SinkError`."""

    async def close(self) -> None:
        """Flush what is held, within the sink's own time limit, and release everything."""
