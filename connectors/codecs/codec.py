"""What every decoder and encoder has in common.

A decoder belongs to one stream of one leg: between the packets of a stream it keeps what the codec carries over, so it
is made anew for a new stream and never for a packet. Sits behind the jitter buffer, which says what is missing, and
before the leg's queue. No method raises for what a peer sent.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Encoding, Samples

Sample = TypeVar("Sample", np.uint8, np.int16)


@dataclass(slots=True)
class CodecStats:
    """Packets decoded, those among them that were `damaged`, and the samples that stand in for lost packets:
    `concealed` made up, `recovered` from the redundancy in the packet that followed."""

    packets: int = 0
    damaged: int = 0
    concealed: int = 0
    recovered: int = 0


class AudioDecoder(Protocol):
    """One stream's decoder. All methods return new arrays of the type that `encoding` has in an `AudioFrame`."""

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def encoding(self) -> Encoding: ...

    @property
    def stats(self) -> CodecStats: ...

    def decode(self, payload: bytes, fec_for_lost: int = 0) -> Samples:
        """The audio of one packet. `fec_for_lost`: samples missing right before it, which then come first, as good as
        the codec can restore them. A damaged packet is counted; what can be had of it is returned, maybe nothing."""
        ...

    def conceal(self, samples: int) -> Samples:
        """Exactly `samples` samples in the place of lost ones, where the packet after them is not known."""
        ...


class AudioEncoder(Protocol):
    """One stream's encoder."""

    @property
    def sample_rate_hz(self) -> int: ...

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """The payload of one packet; `pcm`: int16 (T,) at `sample_rate_hz`. Raises `ValueError` where T is no packet
        of this codec."""
        ...


def with_lost(lost: NDArray[Sample], decoded: NDArray[Sample]) -> NDArray[Sample]:
    """What stands in for lost samples, then what was decoded, as one array of their type."""
    return np.concatenate([lost, decoded])
