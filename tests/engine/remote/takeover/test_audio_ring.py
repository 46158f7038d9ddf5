"""The ring against a plain list of all samples."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.remote.takeover.audio_ring import AudioRing


@given(capacity=st.integers(1, 90_000), sizes=st.lists(st.integers(0, 50_000), max_size=8))
def test_the_last_samples_are_there_under_their_index(capacity: int, sizes: list[int]) -> None:
    ring, everything = AudioRing(capacity), np.zeros(0, np.float32)
    for size in sizes:
        pcm = np.arange(len(everything), len(everything) + size, dtype=np.float32)
        everything = np.concatenate([everything, pcm])
        ring.append(pcm)
        assert ring.end == len(everything)
        assert ring.first == max(0, ring.end - capacity)
        assert np.array_equal(ring.read(ring.first, ring.end), everything[ring.first :])
        middle = (ring.first + ring.end) // 2
        assert np.array_equal(ring.read(middle, ring.end), everything[middle:])


def test_a_short_session_needs_little_memory() -> None:
    ring = AudioRing(30 * 16_000)
    ring.append(np.ones(16_000, np.float32))
    assert ring._ring.nbytes <= 4 * 32_000
