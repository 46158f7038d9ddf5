"""What a steady stream is, and its state: handed from `stream.RtpStream` to `bulk` and back."""

from dataclasses import dataclass

STEADY_TICKS, STEADY_RATE_HZ = 160, 8_000
"""The packets that `bulk` takes: 20 ms at 8 kHz."""

STEADY_AFTER = 8
"""Undisturbed packets in a row make a stream steady."""


@dataclass(slots=True)
class SteadyState:
    """What packets in order change of a stream, in its units. `sequence`: the extended number due next."""

    sequence: int
    timestamp: int
    media: int
    position: int
    transit: float
    earliest: float
    jitter: float
    heard_at: float
    received: int
