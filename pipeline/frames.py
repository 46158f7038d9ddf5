"""Audio as connectors hand it to the pipeline: still in its codec, with its place on the leg's time line.

Decoding waits until the tick, where all legs are decoded at once; a frame is never decoded on its own.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Encoding(StrEnum):
    """What `AudioFrame.samples` holds: one element is one sample in each of them."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    L16 = "L16"
    FLOAT32 = "FLOAT32"


Samples = NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.float32]

_DTYPES: dict[Encoding, np.dtype[np.generic]] = {
    Encoding.PCMU: np.dtype(np.uint8),
    Encoding.PCMA: np.dtype(np.uint8),
    Encoding.L16: np.dtype(np.int16),
    Encoding.FLOAT32: np.dtype(np.float32),
}


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """A run of samples of one leg.

    `pts`: samples at `sample_rate_hz` since the leg began. `samples`: (T,) uint8 codes (PCMU, PCMA), int16 in native
    byte order (L16) or float32 in [-1, 1] (FLOAT32). `arrival`: the driver's monotonic clock in seconds.
    Raises `ValueError` where type and encoding disagree: that is the connector's fault, never the peer's.
    """

    pts: int
    samples: Samples
    encoding: Encoding
    sample_rate_hz: int
    arrival: float

    def __post_init__(self) -> None:
        if self.samples.dtype != _DTYPES[self.encoding] or self.samples.ndim != 1:
            raise ValueError(
                f"{self.encoding} takes a flat array of {_DTYPES[self.encoding]}, got {self.samples.dtype}"
            )
        if self.sample_rate_hz <= 0:
            raise ValueError(f"sample rate {self.sample_rate_hz} Hz")
