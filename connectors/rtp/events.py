"""What a received RTP stream brings, in the order of its media time.

`pts`: samples since the leg began, at the rate of the decoded audio (`codecs.sample_rate_hz`): 8 kHz for G.711, 16 kHz
for G.722 and Opus. `arrival`: seconds on the driver's monotonic clock.
"""

from dataclasses import dataclass
from typing import NamedTuple

from connectors.sdp.rtp_codec import RtpCodec


class Audio(NamedTuple):
    """One packet, not decoded. `lost_before`: samples right before `pts` that were lost and are to be concealed. A
    tuple because one is made for each packet of each leg, at a quarter of the cost of a frozen dataclass."""

    pts: int
    payload: bytes
    codec: RtpCodec
    arrival: float
    lost_before: int = 0


class Silence(NamedTuple):
    """The peer sends nothing, or comfort noise: `samples` without speech."""

    pts: int
    samples: int
    codec: RtpCodec
    arrival: float


@dataclass(frozen=True, slots=True)
class DtmfEvent:
    """A key was pressed and let go. `start_s`, `duration_s`: media time of the leg."""

    digit: str
    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Bye:
    """The peer ended its stream (RTCP BYE)."""

    reason: str = ""


RtpEvent = Audio | Silence | DtmfEvent | Bye
