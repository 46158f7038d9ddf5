"""A leg that receives: datagrams to the core, its events to the leg, timers and reports (RFC 3550, section 6)."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable

from connectors.rtp.agreed_media import AgreedMedia
from connectors.rtp.bulk import IN_ORDER_AFTER, lane_entry
from connectors.rtp.config import RtpConfig
from connectors.rtp.events import Audio
from connectors.rtp.feed import LegFeed
from connectors.rtp.latching import Address
from connectors.rtp.outlet import RtpOutlet
from connectors.rtp.quality import RtpStats
from connectors.rtp.reader import Lane
from connectors.rtp.receiver import RtpReceiver
from connectors.rtp.transport import RtpTransport
from supervision import Supervisor

MOST_FAULTS = 8
"""In a row, after which a leg ends: what comes of it is lost packet by packet."""

_AFTER_FAULT_S = 0.1

logger = logging.getLogger(__name__)


class RtpLeg:
    """Runs from `start` to `close`. `on_inactive`: called once, when neither RTP nor RTCP came for `inactivity_s`.

    While its packets come in order the leg may be in a lane (`bulk`), and `receiver` is behind: `_settle` brings it up
    to date. What changes anything has the leg `leave_lane`; it soon enters one again.

    Its callbacks raise nothing. A packet that cannot be taken for a fault of ours is let go and counted; `MOST_FAULTS`
    in a row end the leg.
    """

    def __init__(
        self,
        transport: RtpTransport,
        agreed: AgreedMedia,
        feed: LegFeed,
        config: RtpConfig,
        started_at: float | None,
        on_inactive: Callable[[], None] | None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._supervisor = supervisor or Supervisor()
        self._faults = 0
        self.receiver = RtpReceiver(
            agreed.negotiated.receive,
            signalled=agreed.rtp_address,
            symmetric=config.symmetric,
            srtp=agreed.srtp.receiver,
            started_at=started_at,
        )
        codec, ptime_ms = agreed.negotiated.codec, agreed.negotiated.ptime_ms
        self.outlet = RtpOutlet(self.send, self.receiver.ssrc, codec, ptime_ms, agreed.listens)
        self._transport, self._agreed, self._feed, self._config = transport, agreed, feed, config
        self._on_inactive = on_inactive
        self._active_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._lane: Lane | None = None
        self._clock_changes = 0
        transport.start(self._on_rtp, self._on_rtcp)
        self._reporting = self._loop.call_later(self._until_report(), self._report)

    def update(self, agreed: AgreedMedia) -> None:
        """A new agreement."""
        self.leave_lane()
        self._agreed = agreed
        self.receiver.update(agreed.negotiated.receive, agreed.rtp_address, agreed.srtp.receiver)
        self.outlet.update(agreed.negotiated.codec, agreed.negotiated.ptime_ms, agreed.listens)
        self._active_at = time.monotonic()

    def mute(self, muted: bool) -> None:
        """Hold: what comes is counted and goes no further, and its absence is no inactivity."""
        self.leave_lane()
        self._feed.muted = muted
        self._active_at = time.monotonic()

    @property
    def stats(self) -> RtpStats:
        """Counters so far."""
        self._settle()
        return self.receiver.stats

    @property
    def alive_at(self) -> float:
        """When the peer's last RTP or RTCP came; 0 before the first."""
        self._settle()
        return self.receiver.alive_at

    def _settle(self) -> None:
        if self._lane is not None:
            self._lane.settle()

    def leave_lane(self) -> None:
        """Bring `receiver` up to date; packets come here one by one for a while."""
        if self._lane is not None:
            lane, self._lane = self._lane, None
            payloads = lane.leave()
            try:
                self._feed.prime(payloads)
                self._arm(time.monotonic())
            except Exception as error:  # noqa: BLE001 - of this leg alone
                self.fault(error)

    def deliver(self, audio: Audio) -> None:
        """A packet that the lane has counted and that is still to be delivered."""
        try:
            self._feed.deliver([audio])
        except Exception as error:  # noqa: BLE001 - of this leg alone
            self.fault(error)

    def fault(self, error: Exception) -> None:
        """Something of this leg is lost for a fault of ours."""
        self._faults += 1
        self._supervisor.fault("rtp", error, "a packet is let go")
        if self._faults == MOST_FAULTS:
            self._feed.fail(error)

    def _enter_lane(self) -> None:
        """If there is one for the leg."""
        entry = lane_entry(self, self.receiver, self._feed)
        if entry is None:
            return
        self._lane = self._transport.enter_lane(entry)
        if self._lane is not None and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, packet: bytes) -> None:
        """An RTP packet to where the peer's come from, or else to where it said."""
        sealer = self._agreed.srtp.sender
        data = packet if sealer is None else sealer.seal(packet)
        self._transport.send(data, self.receiver.peer or self._agreed.rtp_address)

    def close(self) -> None:
        """Hand on what waits, in the socket too, and say goodbye."""
        self.leave_lane()
        self._transport.read_waiting()
        self.leave_lane()
        self._reporting.cancel()
        if self._timer is not None:
            self._timer.cancel()
        try:
            self.outlet.close()
            self._feed.deliver(self.receiver.finish(time.monotonic()))
            self._feed.report(self.receiver.stats)
            self._log_clock_change()
            self._send_rtcp(self.receiver.goodbye())
        except Exception as error:  # noqa: BLE001 - the leg ends all the same
            self.fault(error)
        self._feed.detach()

    def _on_rtp(self, data: bytes, address: Address) -> None:
        try:
            self._take(data, address)
        except Exception as error:  # noqa: BLE001 - of this packet alone
            self.fault(error)
        else:
            self._faults = 0

    def _take(self, data: bytes, address: Address) -> None:
        self.leave_lane()
        now = time.monotonic()
        receiver = self.receiver
        receiver.receive(data, address, now)
        self._feed.deliver(receiver.taken())
        if receiver.state.in_a_row >= IN_ORDER_AFTER:
            self._enter_lane()
        if self._lane is None and (self._timer is None or receiver.waiting):
            self._arm(now)

    def _on_rtcp(self, data: bytes, address: Address) -> None:
        try:
            self._settle()
            self.receiver.receive_rtcp(data, address, time.monotonic())
            if events := self.receiver.taken():
                self.leave_lane()
                self._feed.deliver(events)
        except Exception as error:  # noqa: BLE001 - of this packet alone
            self.fault(error)

    def _arm(self, now: float) -> None:
        """See that `_tick` comes in time. It comes too early where packets have moved the time on: that is cheaper than
        a timer for each packet."""
        due = self.receiver.next_timer(now)
        if due is not None and (self._timer is None or due < self._due):
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = self._loop.call_later(max(due - now, 0.0), self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self._timer = None
        try:
            due = self.receiver.next_timer(now)
            if due is not None and due <= now:
                self._feed.deliver(self.receiver.take(now))
            self._arm(now)
        except Exception as error:  # noqa: BLE001 - of this leg alone
            self._timer = self._loop.call_later(_AFTER_FAULT_S, self._tick)
            self._due = math.inf
            self.fault(error)

    def _report(self) -> None:
        self._reporting = self._loop.call_later(self._until_report(), self._report)
        try:
            self._send_report()
        except Exception as error:  # noqa: BLE001 - the next one is another one
            self.fault(error)

    def _send_report(self) -> None:
        self._settle()
        now = time.monotonic()
        self._send_rtcp(self.receiver.report(now, self.outlet.sent(now)))
        self._feed.report(self.receiver.stats)
        self._log_clock_change()
        silent_s = now - max(self.receiver.alive_at, self._active_at)
        if silent_s >= self._config.inactivity_s and not self._feed.muted and self._on_inactive is not None:
            on_inactive, self._on_inactive = self._on_inactive, None
            on_inactive()

    def _log_clock_change(self) -> None:
        """Once for each change: audio is placed by another clock than the session description has."""
        stats = self.receiver.stats
        if stats.clock_changes != self._clock_changes:
            self._clock_changes = stats.clock_changes
            logger.warning(
                "media port %d: the peer's RTP timestamps run at %s and are read so; its sender has the wrong clock",
                self._transport.port,
                f"{stats.clock_hz} a second" if stats.clock_hz else "the clock of the codec again",
            )

    def _until_report(self) -> float:
        """Half of the interval to one and a half, so that the reports of many legs do not fall together (RFC 3550,
        section 6.2)."""
        return self._config.report_s * (0.5 + random.random())  # noqa: S311 - nothing secret

    def _send_rtcp(self, data: bytes) -> None:
        agreed = self._agreed
        sealer = agreed.srtp.sender
        data = data if sealer is None else sealer.seal_rtcp(data)
        address = self.receiver.rtcp_peer or agreed.rtcp_address(self.receiver.peer)
        if agreed.negotiated.rtcp_mux:
            self._transport.send(data, address)
        else:
            self._transport.send_rtcp(data, address)
