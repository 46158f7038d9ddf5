"""The media of one dialog: what is negotiated, an RTP endpoint for each audio line, and the leg that each one feeds.

Sits between `dialog_call.DialogCall`, which knows the call, and `connectors.sdp.offer_answer` and `connectors.rtp`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from connectors.calls import LegHandle
from connectors.codecs import usable
from connectors.rtp.config import RtpConfig
from connectors.rtp.endpoint import RtpEndpoint
from connectors.rtp.events import DtmfEvent
from connectors.rtp.ports import PortPool
from connectors.rtp.transport import RtpTransport
from connectors.sdp.capabilities import DEFAULT_CODECS, Capabilities
from connectors.sdp.media_lines import Direction
from connectors.sdp.offer_answer import Negotiated, NegotiationSession
from connectors.sip.config import SipConfig
from pipeline.call import LegStats
from pipeline.frames import AudioFrame
from pipeline.intake import Intake
from supervision import Supervisor

Background = Callable[[Coroutine[Any, Any, object]], object]
"""Runs a coroutine to its end, whatever becomes of the caller."""


def capabilities(config: SipConfig, direction: Direction) -> Capabilities:
    """The configured codecs, as far as their libraries are here, with telephone events and comfort noise."""
    rank: dict[str, int] = {name: place for place, name in enumerate(config.codecs) if usable(name)}
    audio = sorted((codec for codec in DEFAULT_CODECS if codec.name in rank), key=lambda codec: rank[codec.name])
    others = [codec for codec in DEFAULT_CODECS if not codec.is_audio]
    return Capabilities(codecs=(*audio, *others), direction=direction, srtp=config.srtp)


@dataclass(slots=True)
class MediaPlace:
    """Where media of a dialog are: `bind_host` of the sockets, `address` in the description."""

    bind_host: str
    address: str
    ports: PortPool
    config: RtpConfig
    supervisor: Supervisor = field(default_factory=Supervisor)


class DialogStream:
    """One audio line: its endpoint, which lasts as long as its port, and its leg, which may be another later.

    To the endpoint it is the leg that it feeds.
    """

    def __init__(self, endpoint: RtpEndpoint) -> None:
        self.endpoint = endpoint
        self.leg: LegHandle | None = None
        self.stats = LegStats()
        self.is_fed = self.listened = False

    def bind(self, leg: LegHandle | None) -> None:
        """From now on it feeds this leg, or none."""
        self.endpoint.leg_changed()
        if self.leg is not None and leg is not self.leg:
            self.leg.connect_outlet(None)
        self.leg = leg
        self._connect_outlet()
        self.stats = LegStats() if leg is None else leg.stats

    def update(self, negotiated: Negotiated) -> None:
        """What was agreed, for the first time or anew. A peer that has listened once may be spoken to from then on,
        while it listens. Raises `UnsupportedSuite`, `CodecError`."""
        self.endpoint.update(negotiated)
        self.listened = self.listened or negotiated.direction.sends
        self._connect_outlet()

    def _connect_outlet(self) -> None:
        if self.leg is not None and self.listened:
            self.leg.connect_outlet(self.endpoint.outlet)

    @property
    def intake(self) -> Intake | None:
        """Of the present leg."""
        return None if self.leg is None else self.leg.intake

    def push(self, frame: AudioFrame) -> None:
        """Audio is let go where there is no leg."""
        if self.leg is not None:
            self.leg.push(frame)

    def fail(self, error: Exception) -> None:
        """Nothing of this line can be decoded: its leg ends."""
        if self.leg is not None:
            self.leg.fail(error)


@dataclass(slots=True)
class DialogMedia:
    """`streams` by local port, in the order they were made. `on_gone`: called when a line and its leg are gone."""

    place: MediaPlace
    offered: Capabilities
    background: Background
    streams: dict[int, DialogStream] = field(default_factory=dict)
    on_gone: Callable[[], None] = lambda: None
    negotiation: NegotiationSession = field(init=False)

    def __post_init__(self) -> None:
        self.negotiation = NegotiationSession(
            self.place.address, self.offered, self._allocate, release_port=self._release
        )

    def stream_of(self, negotiated: Negotiated) -> DialogStream:
        """The stream that was agreed on."""
        return self.streams[negotiated.local.port]

    def attach(
        self, stream: DialogStream, leg: LegHandle, on_dtmf: Callable[[LegHandle, DtmfEvent], None], started_at: float
    ) -> None:
        """Feed a leg from a stream. `started_at`: when the call's media time began."""
        stream.bind(leg)
        if not stream.is_fed:
            stream.is_fed = True
            stream.endpoint.attach(
                stream,
                lambda event: None if stream.leg is None else on_dtmf(stream.leg, event),
                started_at=started_at,
            )

    @property
    def alive_at(self) -> float:
        """When the peer's last RTP or RTCP came, of whatever use: from then on it counts as silent."""
        return max((stream.endpoint.alive_at for stream in self.streams.values()), default=0.0)

    @property
    def unanswered(self) -> list[DialogStream]:
        """Those of whose leg the engine has not said yet whether it takes it."""
        return [stream for stream in self.streams.values() if stream.leg is not None and stream.leg.awaits_answer]

    def let_go(self) -> list[LegHandle]:
        """The legs are somebody else's from now on."""
        legs = [stream.leg for stream in self.streams.values() if stream.leg is not None]
        for stream in self.streams.values():
            stream.bind(None)
        return legs

    async def close(self) -> None:
        """Close all endpoints, what they still held having gone to the legs; these stay."""
        streams, self.streams = self.streams, {}
        self.negotiation.close()
        await asyncio.gather(*(stream.endpoint.close() for stream in streams.values()))

    def _allocate(self) -> int:
        place = self.place
        transport = RtpTransport(place.bind_host, place.ports)
        endpoint = RtpEndpoint(transport, place.config, None, place.supervisor)
        self.streams[endpoint.port] = DialogStream(endpoint)
        return endpoint.port

    def _release(self, port: int) -> None:
        """A line is gone. Its leg ends with it, unless the leg was taken over before."""
        stream = self.streams.pop(port, None)
        if stream is not None:
            self.background(self._close(stream))

    async def _close(self, stream: DialogStream) -> None:
        await stream.endpoint.close()
        if stream.leg is not None:
            await stream.leg.close()
        self.on_gone()
