"""The last seconds of a session's audio, kept so that they can be sent, and sent again."""

import numpy as np
from numpy.typing import NDArray

_FIRST_SIZE = 32_000
"""Samples allocated at first: most of the memory comes with the length of the call."""


class AudioRing:
    """A ring of `capacity` samples, float32, addressed by their index in the session: `first` to `end` are there.

    Overflow: the oldest samples are written over.
    """

    def __init__(self, capacity: int) -> None:
        self.first = 0
        self.end = 0
        self._capacity = capacity
        self._ring = np.empty(min(capacity, _FIRST_SIZE), np.float32)

    def append(self, pcm: NDArray[np.float32]) -> None:
        """Add samples, float32 (T,)."""
        count = len(pcm)
        if self.end + count - self.first > len(self._ring):
            pcm = self._grow_or_drop(pcm)
        size = len(self._ring)
        at = self.end % size
        wrapped = at + len(pcm) - size
        if wrapped <= 0:
            self._ring[at : at + len(pcm)] = pcm
        else:
            self._ring[at:] = pcm[:-wrapped]
            self._ring[:wrapped] = pcm[-wrapped:]
        self.end += len(pcm)

    def read(self, begin: int, end: int) -> NDArray[np.float32]:
        """Samples `begin` up to `end`, which must be there; valid until the next `append`."""
        size = len(self._ring)
        low, count = begin % size, end - begin
        if low + count <= size:
            return self._ring[low : low + count]
        return np.concatenate([self._ring[low:], self._ring[: low + count - size]])

    def _grow_or_drop(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Grow the ring, or drop its oldest samples. Returns what of `pcm` is to be kept."""
        size, wanted = len(self._ring), self.end + len(pcm) - self.first
        while size < min(wanted, self._capacity):
            size = min(2 * size, self._capacity)
        if size > len(self._ring):  # nothing was written over yet
            ring = np.empty(size, np.float32)
            ring[: self.end] = self._ring[: self.end]
            self._ring = ring
        if len(pcm) > size:
            self.end += len(pcm) - size
            pcm = pcm[-size:]
        self.first = max(self.first, self.end + len(pcm) - size)
        return pcm
