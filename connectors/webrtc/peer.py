"""WebRTC peers by aiortc: ICE, DTLS and SRTP are its; RTP goes the way that all legs' RTP goes.

Chain: aiortc (ICE, DTLS, SRTP opened) -> `RtpReceiver` -> `LegFeed` -> the leg. aiortc's own jitter buffer and decoder
are passed by: one lost packet stalls them for 300 ms. What is taken instead of them is private to aiortc, so its
version is pinned and a test holds that contract. The one module that imports aiortc.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from aiohttp import web

from connectors.calls import CallRegistry, LegHandle
from connectors.rtp.feed import LegFeed
from connectors.rtp.leg import MOST_FAULTS
from connectors.rtp.outlet import RtpOutlet
from connectors.rtp.packet import HEADER, PLAIN
from connectors.rtp.quality import RtpStats
from connectors.rtp.receiver import RtpReceiver
from connectors.sdp.rtp_codec import RtpCodec
from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.http import WhipServer
from connectors.webrtc.sessions import WhipSessions
from connectors.webrtc.whip import IceFragment, Offer, WebRtcUnavailable, WhipRefused, answered_codecs, sent_codecs
from supervision import Supervisor

try:
    from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
    from aiortc.rtcconfiguration import RTCBundlePolicy
    from aiortc.rtp import AnyRtcpPacket, RtpPacket
    from aiortc.sdp import candidate_from_sdp
except ImportError as error:
    raise WebRtcUnavailable("WebRTC is configured, but aiortc is missing: pip install 'trunkline[webrtc]'") from error

logger = logging.getLogger(__name__)

PACKET_MS = 20
"""Of what is sent: what browsers send themselves."""

_ANYWHERE = ("webrtc", 0)
"""The address of every packet: where they may come from, ICE has settled."""


class WebRtcConnector:
    """The WHIP endpoint of a server: add its `routes()`, and `close()` it before the calls."""

    def __init__(self, calls: CallRegistry, config: WebRtcConfig) -> None:
        self.supervisor = Supervisor()
        sessions = WhipSessions(calls, config, lambda: WebRtcPeer(config, self.supervisor))
        self.supervisor.include(sessions.supervisor)
        self._server = WhipServer(sessions, config)
        self.stats = sessions.stats

    def routes(self) -> list[web.RouteDef]:
        return self._server.routes()

    async def start(self) -> None:
        """Its routes are served as soon as they are added."""

    def drain(self) -> None:
        """New sessions are refused by the calls, which drain themselves."""

    def reload(self) -> list[str]:
        """There is nothing to read again."""
        return []

    async def close(self) -> None:
        """Take no more sessions, end the running ones and wait until their calls have ended."""
        await self._server.close()


class WebRtcPeer:
    """One peer connection. It only listens, unless the peer asks for audio back."""

    def __init__(self, config: WebRtcConfig, supervisor: Supervisor | None = None) -> None:
        self._supervisor = supervisor or Supervisor()
        servers = [RTCIceServer(one.url, one.username, one.credential) for one in config.ice_servers]
        self.lost: str | None = None
        self._connection = RTCPeerConnection(RTCConfiguration(servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._connection.on("connectionstatechange", self._changed)
        self._codecs = config.codecs
        self._tracks: list[WebRtcTrack] = []
        self._closed = False
        self._offer = ""

    @property
    def arrived(self) -> float:
        """When the last audio came; 0 before the first."""
        return max((track.arrived for track in self._tracks), default=0.0)

    async def take_offer(self, offer: Offer) -> None:
        """Raises `WhipRefused` (400): whatever aiortc raises here, the offer is what made it."""
        capabilities = RTCRtpReceiver.getCapabilities("audio")
        known = [] if capabilities is None else capabilities.codecs
        wanted = [f"audio/{name.lower()}" for name in self._codecs]
        preferred = [codec for name in wanted for codec in known if codec.mimeType.lower() == name]
        self._offer = offer.text
        for _ in range(offer.tracks):
            transceiver = self._connection.addTransceiver("audio", "sendrecv" if offer.listens else "recvonly")
            transceiver.setCodecPreferences(preferred)
            transceiver.sender.send = _nothing  # type: ignore[method-assign]
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.text, "offer"))
        except Exception as error:  # noqa: BLE001 - it raises all kinds of them for what its parser meets
            logger.debug("offer refused by aiortc: %r", error)
            raise WhipRefused(400, "the offer cannot be used") from None

    async def answer(self, legs: Sequence[LegHandle]) -> str:
        connection = self._connection
        await connection.setLocalDescription(await connection.createAnswer())
        answer: str = connection.localDescription.sdp
        transceivers, received = connection.getTransceivers(), answered_codecs(answer)
        sent = sent_codecs(self._offer, answer)
        for transceiver, codecs, codec, leg in zip(transceivers, received, sent, legs, strict=True):
            ssrc = transceiver.sender._ssrc
            track = WebRtcTrack(transceiver.receiver, codecs, leg, self._supervisor, ssrc, codec)
            self._tracks.append(track)
            leg.connect_outlet(track.outlet)
        return answer

    async def add_candidates(self, fragment: IceFragment) -> None:
        for mid, value in fragment.candidates:
            candidate = candidate_from_sdp(value.removeprefix("candidate:"))
            candidate.sdpMid = mid
            await self._connection.addIceCandidate(candidate)
        if fragment.complete:
            await self._connection.addIceCandidate(None)

    def report(self) -> None:
        for track in self._tracks:
            track.report()

    def finish(self) -> Sequence[RtpStats]:
        return [track.finish() for track in self._tracks]

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._connection.close()

    def _changed(self) -> None:
        """ICE consent ran out (RFC 7675), DTLS was closed by the peer, or neither came about."""
        for track in self._tracks:
            track.listens(self._connection.connectionState == "connected")
        if self._connection.connectionState in ("failed", "closed") and self.lost is None:
            self.lost = "disconnected"


async def _nothing(parameters: object) -> None:
    """In the place of `RTCRtpSender.send`, which would look for audio fifty times a second and mark every packet: what
    is sent, `WebRtcTrack` sends."""


class WebRtcTrack:
    """One audio track: its RTP out of aiortc's receiver and into a leg. `outlet`: what is said to the peer, in `codec`
    and under `ssrc`; None where it does not listen.

    A packet that cannot be taken for a fault of ours is let go and counted: what aiortc or a timer meets would end the
    whole connection. `MOST_FAULTS` in a row end the leg.
    """

    def __init__(
        self,
        receiver: RTCRtpReceiver,
        codecs: Sequence[RtpCodec],
        leg: LegHandle,
        supervisor: Supervisor | None = None,
        ssrc: int | None = None,
        codec: RtpCodec | None = None,
    ) -> None:
        self._supervisor = supervisor or Supervisor()
        self._faults = 0
        self._transport = receiver.transport
        self._rtp = RtpReceiver(codecs, ssrc=ssrc)
        self._codec = codec
        self.outlet = None if codec is None else RtpOutlet(self._spawn_send, self._rtp.ssrc, codec, PACKET_MS, False)
        self._feed = LegFeed(leg)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._finished = False
        receiver._handle_rtp_packet = self._receive  # type: ignore[method-assign]
        receiver._handle_rtcp_packet = self._receive_rtcp  # type: ignore[method-assign]

    @property
    def arrived(self) -> float:
        """When the last packet came, or the last report once there was one; 0 before."""
        return self._rtp.alive_at if self._rtp.arrived else 0.0

    def report(self) -> None:
        """A receiver report: a browser chooses its redundancy by the loss that it reports."""
        self._feed.report(self._rtp.stats)
        if self.arrived and not self._finished:
            now = time.monotonic()
            sent = None if self.outlet is None else self.outlet.sent(now)
            self._spawn_send(self._rtp.report(now, sent))

    def listens(self, connected: bool) -> None:
        """Whether the peer can be reached."""
        if self.outlet is not None and self._codec is not None:
            self.outlet.update(self._codec, PACKET_MS, connected)

    def finish(self) -> RtpStats:
        """Hand on what waits. Idempotent."""
        if not self._finished:
            if self.outlet is not None:
                self.outlet.close()
            self._feed.deliver(self._rtp.finish(time.monotonic()))
            self._feed.report(self._rtp.stats)
            self._finished = True
            if self._timer is not None:
                self._timer.cancel()
        return self._rtp.stats

    async def _receive(self, packet: RtpPacket, arrival_time_ms: int) -> None:  # noqa: ARG002 - aiortc's signature
        """In the place of `RTCRtpReceiver._handle_rtp_packet`. The packet is put together again without the header
        extensions, so that it takes the in-order fast path."""
        if self._finished:
            return
        try:
            self._take(packet)
        except Exception as error:  # noqa: BLE001 - of this packet alone
            self._fault(error)
        else:
            self._faults = 0

    def _take(self, packet: RtpPacket) -> None:
        now = time.monotonic()
        kind = packet.payload_type | (packet.marker << 7)
        header = HEADER.pack(PLAIN, kind, packet.sequence_number, packet.timestamp, packet.ssrc)
        self._rtp.receive(header + packet.payload, _ANYWHERE, now)
        self._feed.deliver(self._rtp.taken())
        if self._timer is None or self._rtp.waiting:
            self._arm(now)

    async def _receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        """In the place of `RTCRtpReceiver._handle_rtcp_packet`."""
        if not self._finished:
            now = time.monotonic()
            try:
                self._rtp.receive_rtcp(bytes(packet), _ANYWHERE, now)
                self._feed.deliver(self._rtp.taken())
            except Exception as error:  # noqa: BLE001 - of this packet alone
                self._fault(error)

    def _fault(self, error: Exception) -> None:
        self._faults += 1
        self._supervisor.fault("webrtc", error, "a packet is let go")
        if self._faults == MOST_FAULTS:
            self._feed.fail(error)

    def _arm(self, now: float) -> None:
        """A timer that is there is left to fire early: packets in order move the due time away only."""
        due = self._rtp.next_timer(now)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_later(max(due - now, 0.0), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = time.monotonic()
        try:
            self._feed.deliver(self._rtp.take(now))
            self._arm(now)
        except Exception as error:  # noqa: BLE001 - the next packet sets another timer
            self._fault(error)

    def _spawn_send(self, data: bytes) -> None:
        task = self._supervisor.spawn(self._send(data), "webrtc sending")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, data: bytes) -> None:
        try:
            await self._transport._send_rtp(data)
        except (ConnectionError, OSError):
            logger.debug("a packet could not be sent")
