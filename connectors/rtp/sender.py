"""What we play into a call: audio cut to packets, sent when they are due, without a socket.

Chain: a bot's audio -> queue -> [this: packet length, codec, header] -> [SRTP] -> socket.
"""

import secrets
from collections import deque

import numpy as np
from numpy.typing import NDArray

from connectors.codecs import encoder_for
from connectors.rtp.packet import RtpPacket
from connectors.sdp.rtp_codec import RtpCodec

MAX_QUEUED_S = 120.0

_OPUS_MS = (10, 20, 40, 60)
_LATE_S = 0.1  # a driver that was held up longer starts its packets anew instead of sending them in a burst


class RtpSender:
    """One stream. The queue holds `MAX_QUEUED_S` of audio: what is beyond drops the oldest, counted in
    `dropped_samples`. `packets`, `octets`: sent, for the sender report. Raises `CodecError` for a codec that is none of
    ours."""

    def __init__(self, codec: RtpCodec, ptime_ms: int, ssrc: int) -> None:
        self.packets = self.octets = 0
        self.dropped_samples = 0
        self._ssrc = ssrc
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._next: float | None = None  # when the next packet of a talkspurt is due
        self._sent_until: float | None = None
        self._queue: deque[NDArray[np.int16]] = deque()
        self._queued = 0
        self._codec, self._encoder, self._ptime_ms = codec, encoder_for(codec), _packet_ms(codec, ptime_ms)

    def update(self, codec: RtpCodec, ptime_ms: int) -> None:
        """Another codec from the next packet on; audio that waits at another rate is dropped."""
        encoder = encoder_for(codec)
        if encoder.sample_rate_hz != self._encoder.sample_rate_hz:
            self.dropped_samples += self._queued
            self.clear()
        self._codec, self._encoder, self._ptime_ms = codec, encoder, _packet_ms(codec, ptime_ms)

    @property
    def sample_rate_hz(self) -> int:
        """Of the audio that `push` takes."""
        return self._encoder.sample_rate_hz

    @property
    def queued_s(self) -> float:
        return self._queued / self._encoder.sample_rate_hz

    def push(self, pcm: NDArray[np.int16]) -> None:
        """`pcm`: int16 (T,) at `sample_rate_hz`; any length."""
        if pcm.size:
            self._queue.append(pcm)
            self._queued += pcm.size
        while self.queued_s > MAX_QUEUED_S and len(self._queue) > 1:
            dropped = self._queue.popleft().size
            self._queued -= dropped
            self.dropped_samples += dropped

    def clear(self) -> None:
        """Stop talking: the other side does."""
        self._queue.clear()
        self._queued = 0

    def next_timer(self, now: float) -> float | None:
        """When `due` has a packet; None while there is nothing to send."""
        if not self._queued:
            return None
        return now if self._next is None else self._next

    def due(self, now: float) -> list[bytes]:
        """The packets that are to be sent now. The last one of the audio is filled up with silence."""
        sent: list[bytes] = []
        if self._next is not None and now - self._next > _LATE_S:
            self._next = None
        while self._queued and (self._next is None or now >= self._next):
            starts = self._next is None
            at = now if self._next is None else self._next
            if starts and self._sent_until is not None:  # the clock of the timestamps ran on
                self._timestamp += max(int((at - self._sent_until) * self._codec.clock_rate), 0)
            sent.append(self._packet(starts))
            self._next = self._sent_until = at + self._ptime_ms / 1000
        if not self._queued and self._next is not None and now >= self._next:
            self._next = None
        return sent

    def timestamp(self, now: float) -> int:
        """RTP time of now, for the sender report."""
        if self._sent_until is None:
            return self._timestamp & 0xFFFFFFFF
        return self._timestamp + int((now - self._sent_until) * self._codec.clock_rate) & 0xFFFFFFFF

    def _packet(self, marker: bool) -> bytes:
        payload = self._encoder.encode(self._cut(self._encoder.sample_rate_hz * self._ptime_ms // 1000))
        packet = RtpPacket(
            self._codec.payload_type, self._sequence & 0xFFFF, self._timestamp & 0xFFFFFFFF, self._ssrc, payload, marker
        )
        self._sequence += 1
        self._timestamp += self._codec.clock_rate * self._ptime_ms // 1000
        self.packets += 1
        self.octets += len(payload)
        return packet.encode()

    def _cut(self, size: int) -> NDArray[np.int16]:
        """The next `size` samples of the queue."""
        pcm = np.zeros(size, np.int16)
        filled = 0
        while filled < size and self._queue:
            part = self._queue.popleft()
            take = min(part.size, size - filled)
            pcm[filled : filled + take] = part[:take]
            filled += take
            if take < part.size:
                self._queue.appendleft(part[take:])
        self._queued -= filled
        return pcm


def _packet_ms(codec: RtpCodec, ptime_ms: int) -> int:
    """Opus has packets of a few lengths only."""
    return 20 if codec.name == "OPUS" and ptime_ms not in _OPUS_MS else ptime_ms
