"""One receiver's way from the spool to its URL: what is read, what is on its way, what has come of it.

The spool is the truth; what is held here (`WebhookOrder`) may be thrown away and read again. A record leaves the spool
when the receiver has answered that it took it, or refuses it for good. Each receiver has a lane of its own, so one that
is away holds up no other.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time

from sinks.spool import REFUSED, Spool, Spooled
from sinks.webhooks.endpoint import Endpoint, Session, Verdict
from sinks.webhooks.order import WebhookOrder
from supervision import Supervisor, cancel_and_wait

log = logging.getLogger(__name__)

LOOK_AHEAD = 2_000
REACH_EVERY_S = 5.0
READ_AGAIN_S = 1.0


class WebhookLane:
    """`committed` and `stop` may be called from any thread; the rest runs on the loop of `run`."""

    def __init__(self, endpoint: Endpoint, spool: Spool, supervisor: Supervisor) -> None:
        self.name = endpoint.name
        self.connected = False
        self.failed = 0
        self._endpoint, self._spool, self._supervisor = endpoint, spool, supervisor
        self._order = WebhookOrder(at_once=endpoint.at_once, look_ahead=LOOK_AHEAD)
        self._attempts = set[asyncio.Task[None]]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._committed = True
        self._stop_at: float | None = None
        self._away_since: float | None = None

    def committed(self) -> None:
        """There may be entries to read."""
        self._committed = True
        self._wake_up()

    def stop(self, by: float) -> None:
        """Deliver what is committed until `by` (monotonic), or until the receiver fails, then end."""
        self._committed = True
        self._stop_at = by
        self._wake_up()

    def _wake_up(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: the lane has ended
                self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        reaching = asyncio.create_task(self._reach())
        try:
            async with self._endpoint.session() as session:
                try:
                    await self._deliver(session)
                finally:
                    await cancel_and_wait(*self._attempts)
        finally:
            self._loop = None
            await cancel_and_wait(reaching)

    async def _deliver(self, session: Session) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            self._read(now)
            while (one := self._order.next(now)) is not None:
                attempt = asyncio.create_task(self._attempt(session, one, now))
                self._attempts.add(attempt)
                attempt.add_done_callback(self._attempt_ended)
            if self._is_over(now):
                return
            times = [at for at in (self._order.next_at(), self._stop_at) if at is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(min(times) - now, 0.0) if times else None):
                    await self._wake.wait()

    def _is_over(self, now: float) -> bool:
        if self._stop_at is None:
            return False
        has_work = len(self._order) > 0 or self._committed
        return now >= self._stop_at or not has_work or (self._away_since is not None and not self._attempts)

    def _read(self, now: float) -> None:
        room = self._order.room
        if not self._committed or room < LOOK_AHEAD // 4:
            return
        self._committed = False
        try:
            found = self._spool.read(self.name, self._order.cursor, room)
        except sqlite3.Error as error:
            log.error("webhooks: %s: the spool cannot be read: %s: trying again", self.name, error)  # noqa: TRY400
            asyncio.get_running_loop().call_later(READ_AGAIN_S, self.committed)
            return
        self._order.add(found, now)
        if len(found) == room:
            self._committed = True

    async def _attempt(self, session: Session, one: Spooled, now: float) -> None:
        try:
            if self._away_since is not None and not self._is_there(one):
                self._order.gone(one, now)
                return
            outcome = await self._endpoint.post(session, one.entry)
        except Exception as error:  # noqa: BLE001 - of ours: the record stays
            self._supervisor.fault(f"webhook {self.name}", error, "a record is tried again")
            self._order.failed(one, time.monotonic())
            return
        now = time.monotonic()
        if outcome.verdict is Verdict.AGAIN:
            self.failed += 1
            self._order.failed(one, now, outcome.retry_after_s)
            self._away(outcome.why)
            return
        if outcome.verdict is Verdict.TAKEN:
            self._spool.settle([one.id])
        else:
            self.failed += 1
            log.error("webhooks: %s refuses a record for good: %s: %s", self._said, outcome.why, one.entry.named)
            self._spool.reject(one.id, f"{REFUSED}: {outcome.why}")
        self._order.taken(one, now)
        self._back()

    def _attempt_ended(self, attempt: "asyncio.Task[None]") -> None:
        self._attempts.discard(attempt)
        self._wake.set()

    def _is_there(self, one: Spooled) -> bool:
        """Whether it is in the spool yet, which gives what is too old, or too much, to the dead-letter file."""
        try:
            found = self._spool.read(self.name, one.id - 1, 1)
        except sqlite3.Error:
            return True  # nobody knows
        return bool(found) and found[0].id == one.id

    async def _reach(self) -> None:
        """Whether the receiver can be reached is known at the start, and while there is nothing to send."""
        while True:
            if not self.connected and not len(self._order):
                why = (await self._endpoint.reach()).why_not
                if why is None:
                    self._back()
                elif not len(self._order):
                    self._away(why)
            await asyncio.sleep(REACH_EVERY_S)

    @property
    def _said(self) -> str:
        return f"{self.name} ({self._endpoint.host})"

    def _away(self, why: str) -> None:
        """Said once, until everything is delivered again."""
        self.connected = False
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("webhooks: %s: %s; records wait in the spool", self._said, why)

    def _back(self) -> None:
        self.connected = True
        if self._away_since is not None and not self._order.held:
            log.info("webhooks: %s: nothing is held up after %.1f s", self._said, time.monotonic() - self._away_since)
            self._away_since = None
