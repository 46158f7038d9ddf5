"""An ingest that is ticked by hand."""

import numpy as np
from numpy.typing import NDArray

from engine.api import Session
from pipeline.frames import AudioFrame, Encoding
from pipeline.ingest import Ingest
from tests.pipeline.collector import Collector


def codes(samples: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, samples, dtype=np.uint8)


def frame(
    pts: int, samples: NDArray[np.generic], encoding: Encoding = Encoding.PCMU, rate: int = 8000, arrival: float = 0.0
) -> AudioFrame:
    return AudioFrame(pts, samples, encoding, rate, arrival)  # type: ignore[arg-type]


class Bench:
    """An ingest with some legs."""

    def __init__(self, legs: int = 1, queue_s: float = 10.0, max_gap_s: float = 2.0, batch_rows: int = 256) -> None:
        self.recognizer = Collector()
        self.ingest = Ingest(self.recognizer, queue_s=queue_s, max_gap_s=max_gap_s, batch_rows=batch_rows)
        self.intakes = [self.ingest.open(Session(k, k, 0, 160), f"call-{k}") for k in range(legs)]

    def audio(self, leg: int = 0) -> NDArray[np.float32]:
        return self.recognizer.audio(self.intakes[leg].session)

    def at_8k(self, leg: int = 0) -> NDArray[np.float32]:
        """The samples that pass the half-band filter as they are."""
        return self.audio(leg)[0::2] * 32768
