"""The RTP stream of what we say: each packet with its codec, number and time, without a socket or a clock.

Chain: `pipeline.playback` (when) -> [this: codec, header] -> [SRTP] -> socket.
"""

import secrets

import numpy as np
from numpy.typing import NDArray

from connectors.codecs import encoder_for
from connectors.rtp.packet import HEADER, PLAIN
from connectors.sdp.rtp_codec import RtpCodec

_JITTER_S = 0.001
_OPUS_MS = (10, 20, 40, 60)
_LONGEST_MS = 60
_USUAL_MS = 20


def packet_length_ms(codec: RtpCodec, ptime_ms: int) -> int:
    """What was agreed, where it is a length that everybody has: it is a wish (RFC 8866, section 6.4)."""
    is_usual = ptime_ms in _OPUS_MS if codec.name == "OPUS" else not ptime_ms % 10 and ptime_ms <= _LONGEST_MS
    return ptime_ms if is_usual else _USUAL_MS


class RtpSender:
    """One stream. `packets`, `octets`: sent, for the sender report. Raises `CodecError` for a codec that is none of
    ours."""

    def __init__(self, codec: RtpCodec, ssrc: int) -> None:
        self.packets = self.octets = 0
        self._ssrc = ssrc
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._until: float | None = None  # end of what was sent
        self._codec, self._encoder = codec, encoder_for(codec)

    def update(self, codec: RtpCodec) -> None:
        """Another codec from the next packet on; sequence numbers and timestamps go on (RFC 3550, section 5.1)."""
        if codec != self._codec:
            self._codec, self._encoder = codec, encoder_for(codec)

    def packet(self, pcm: NDArray[np.int16], at: float, *, starts: bool) -> bytes:
        """`pcm`: int16 (T,) of one packet at the codec's rate. `at`: its place in time, in seconds of any clock.
        `starts`: a talk-spurt begins; its first packet has the marker (RFC 3551, section 4.1), and the timestamps have
        gone on through the silence before it."""
        clock_rate = self._codec.clock_rate
        if self._until is not None and at - self._until > _JITTER_S:
            self._timestamp += round((at - self._until) * clock_rate)
        payload = self._encoder.encode(pcm)
        kind = self._codec.payload_type | (0x80 if starts else 0)
        header = HEADER.pack(PLAIN, kind, self._sequence & 0xFFFF, self._timestamp & 0xFFFFFFFF, self._ssrc)
        self._sequence += 1
        self._timestamp += pcm.size * clock_rate // self._encoder.sample_rate_hz
        self._until = at + pcm.size / self._encoder.sample_rate_hz
        self.packets += 1
        self.octets += len(payload)
        return header + payload

    def timestamp(self, now: float) -> int:
        """RTP time of now, for the sender report."""
        passed = 0.0 if self._until is None else now - self._until
        return self._timestamp + round(passed * self._codec.clock_rate) & 0xFFFFFFFF
