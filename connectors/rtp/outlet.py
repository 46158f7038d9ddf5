"""Audio to the peer of an RTP leg: packets go out as they come, and what went out was heard.

The peer's jitter buffer plays them some 20 to 60 ms later, which nobody tells us. Fulfils
`pipeline.playback.AudioOutlet`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from connectors.codecs import sample_rate_hz
from connectors.rtp.sender import RtpSender, packet_length_ms
from connectors.sdp.rtp_codec import RtpCodec


class RtpOutlet:
    """`send`: puts a packet on the network. `ready`: whether the peer listens now. `ptime_ms`: as it was agreed."""

    lead_ms = 0
    fault = None

    def __init__(self, send: Callable[[bytes], None], ssrc: int, codec: RtpCodec, ptime_ms: int, ready: bool) -> None:
        self.sent_ms = 0
        self._send, self._ssrc = send, ssrc
        self._closed = False
        self._sender: RtpSender | None = None  # made with the first packet: most legs only listen
        self.update(codec, ptime_ms, ready)

    def update(self, codec: RtpCodec, ptime_ms: int, ready: bool) -> None:
        """A new agreement; on hold the peer does not listen. Raises `CodecError`."""
        self.sample_rate_hz = sample_rate_hz(codec)
        self.packet_ms = packet_length_ms(codec, ptime_ms)
        self.ready = ready and not self._closed
        self._codec = codec
        if self._sender is not None:
            self._sender.update(codec)

    def send(self, pcm: NDArray[np.int16], at: float, *, starts: bool) -> None:
        if self._sender is None:
            self._sender = RtpSender(self._codec, self._ssrc)
        self._send(self._sender.packet(pcm, at, starts=starts))
        self.sent_ms += self.packet_ms

    def confirm(self) -> None:
        """It is known at once."""

    def played_ms(self, now: float) -> int:  # noqa: ARG002 - it does not depend on it
        return self.sent_ms

    def clear(self) -> None:
        """Nothing of it waits anywhere that could be reached."""

    def close(self) -> None:
        """The leg is over: nothing more is sent. Without the way to it, it is freed at once."""
        self._closed, self.ready = True, False
        self._send = _nowhere

    def sent(self, now: float) -> tuple[int, int, int] | None:
        """For the sender report: RTP time of now, packets and octets; None before the first packet."""
        sender = self._sender
        return None if sender is None else (sender.timestamp(now), sender.packets, sender.octets)


def _nowhere(packet: bytes) -> None:
    """Where nothing is to be sent any more."""
