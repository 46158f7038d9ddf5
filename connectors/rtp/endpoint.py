"""The asyncio driver of one leg's RTP, as the connectors for SIP and SIPREC hold it."""

from collections.abc import Callable

from connectors.calls import AudioLeg
from connectors.rtp.agreed_media import AgreedMedia, SrtpContexts
from connectors.rtp.config import RtpConfig
from connectors.rtp.feed import LegFeed, OnBye, OnDtmf
from connectors.rtp.leg import RtpLeg
from connectors.rtp.outlet import RtpOutlet
from connectors.rtp.ports import PortPool
from connectors.rtp.quality import RtpStats
from connectors.rtp.transport import RtpTransport
from connectors.sdp.offer_answer import Negotiated
from supervision import Supervisor


class RtpEndpoint:
    """One media line: `open` it, `attach` its leg, `update` it with every agreement, `close` it. It receives once it
    has both leg and agreement; until then packets wait in the socket. `port`: the local one for RTP; RTCP has the next.
    """

    def __init__(
        self,
        transport: RtpTransport,
        config: RtpConfig,
        on_inactive: Callable[[], None] | None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.port = transport.port
        self._supervisor = supervisor or Supervisor()
        self._transport, self._config, self._on_inactive = transport, config, on_inactive
        self._srtp = SrtpContexts()
        self._agreed: AgreedMedia | None = None
        self._feed: LegFeed | None = None
        self._started_at: float | None = None
        self._running: RtpLeg | None = None
        self._muted = False

    @classmethod
    async def open(
        cls,
        address: str,
        ports: PortPool,
        config: RtpConfig | None = None,
        *,
        on_inactive: Callable[[], None] | None = None,
    ) -> "RtpEndpoint":
        """Bind a pair of ports. `on_inactive` is called once, after `inactivity_s` without RTP and RTCP while not on
        hold.

        Raises `NoFreePort` (retryable), `OSError`.
        """
        return cls(RtpTransport(address, ports), config or RtpConfig(), on_inactive)

    @property
    def stats(self) -> RtpStats:
        """Counters of the leg so far; the measured figures are those of the last report."""
        return RtpStats() if self._running is None else self._running.stats

    @property
    def alive_at(self) -> float:
        """When the peer's last RTP or RTCP came (monotonic): a muted peer, or one that only speaks when it is spoken
        to, sends but reports. 0 before the first."""
        return 0.0 if self._running is None else self._running.alive_at

    def attach(
        self,
        leg: AudioLeg,
        on_dtmf: OnDtmf | None = None,
        on_bye: OnBye | None = None,
        *,
        started_at: float | None = None,
    ) -> None:
        """Feed a leg, once. `started_at`: monotonic time of its pts 0, so that the legs of a call can share it; by
        default that of the first packet."""
        self._feed, self._started_at = LegFeed(leg, on_dtmf, on_bye), started_at
        self._run()

    def update(self, negotiated: Negotiated) -> None:
        """What was agreed, for the first time or anew. Raises `UnsupportedSuite`, `CodecError`."""
        self._srtp.update(negotiated.remote_crypto, negotiated.local_crypto)
        self._agreed = AgreedMedia(negotiated, self._srtp)
        if self._running is not None:
            self._running.update(self._agreed)
        self._run()

    def leg_changed(self) -> None:
        """The attached leg is fed to another intake from here on."""
        if self._running is not None:
            self._running.leave_lane()

    def pause(self) -> None:
        """Hold: what comes is counted and goes no further."""
        self._mute(True)

    def resume(self) -> None:
        """The hold is over."""
        self._mute(False)

    @property
    def outlet(self) -> RtpOutlet | None:
        """The way back to the peer, the same for as long as the endpoint lasts; None before there is leg and
        agreement."""
        return None if self._running is None else self._running.outlet

    async def close(self) -> None:
        """Hand on what waits, say goodbye, give the ports back. Idempotent."""
        if self._running is not None and not self._transport.closed:
            self._running.close()
        self._transport.close()

    def _run(self) -> None:
        if self._running is None and self._feed is not None and self._agreed is not None:
            self._running = RtpLeg(
                self._transport,
                self._agreed,
                self._feed,
                self._config,
                self._started_at,
                self._on_inactive,
                self._supervisor,
            )
            self._running.mute(self._muted)

    def _mute(self, muted: bool) -> None:
        self._muted = muted
        if self._running is not None:
            self._running.mute(muted)
