"""Samples that are no audio: float files may hold values that are not finite, or far beyond full scale."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_MOST = 2.0
"""Decoders of lossy formats overshoot full scale; by 6 dB none does."""


class SampleRange:
    """Mends the samples of one file before they are resampled, where one of them would spoil its neighbours."""

    def __init__(self) -> None:
        self._not_finite = 0
        self._beyond = 0
        self._peak = 0.0

    def mended(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 of any shape; the same array where nothing is wrong with it. What is not finite becomes silence, what
        is far beyond full scale is clipped to it."""
        if not block.size or (block.min() >= -_MOST and block.max() <= _MOST):  # false for NaN too
            return block
        finite = np.isfinite(block)
        self._not_finite += int(block.size - np.count_nonzero(finite))
        block = np.where(finite, block, np.float32(0))
        size = np.abs(block)
        beyond = size > _MOST
        self._beyond += int(np.count_nonzero(beyond))
        self._peak = max(self._peak, float(size.max()))
        return np.where(beyond, np.sign(block), block).astype(np.float32)

    def faults(self) -> Iterator[str]:
        """What was mended, as sentences without a subject."""
        if self._not_finite:
            yield f"has {self._not_finite:,} samples that are no numbers (NaN or infinite): they became silence"
        if self._beyond:
            peak = f"{self._peak:,.0f}" if self._peak < 1e9 else f"{self._peak:.0e}"
            yield (
                f"has {self._beyond:,} samples beyond full scale, up to {peak} times: they were clipped; if "
                "these are not damage, scale its samples to -1 to 1 and do it again"
            )
