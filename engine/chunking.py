"""Where chunks begin and end in samples, mel frames and encoder frames.

Mel frame t looks at samples [160 t - 200, 160 t + 200); one of them more comes in by the pre-emphasis. Encoder frame
k is causal in mel frames and ends with mel frame 8 k. A class with c encoder frames a chunk steps on frames
n c .. n c + c - 1 for n = 0, 1, ...: as soon as sample 1280 (n c + c - 1) + 200 is there.
"""

from collections.abc import Collection

HOP = 160
"""Samples between mel frames (10 ms)."""

WINDOW = 400
"""Samples a mel frame looks at."""

SUBSAMPLING = 8
"""Mel frames an encoder frame advances."""

FRAME = HOP * SUBSAMPLING
"""Samples an encoder frame advances (80 ms)."""

FRAME_MS = 80

DEFAULT_CHUNK_MS = 160
"""Latency class of live audio where nobody chooses one and the checkpoint has it."""

LONG_CHUNK_MS = 1_120
"""Latency class of recordings where nobody chooses one: the longest of the released checkpoint."""

LOOK_BACK = (SUBSAMPLING - 1) * HOP + WINDOW // 2 + 1
"""Samples that a chunk needs from before its first frame's centre: seven mel frames, half a window, pre-emphasis."""

FLUSH_FRAMES = 8
"""Encoder frames of silence after the last audio, at least: the model writes the last word, its punctuation and the
tag up to some hundred milliseconds after it was spoken (docs/decisions/engine.md has the measurement)."""


def nearest_class(wanted_ms: int, classes_ms: Collection[int]) -> int:
    """The class of a checkpoint that is nearest to the one wanted, in milliseconds; the faster one of two."""
    return min(classes_ms, key=lambda chunk_ms: (abs(chunk_ms - wanted_ms), chunk_ms))


def chunk_end(chunk: int, frames: int) -> int:
    """Number of samples from the start of the session that chunk number `chunk` of `frames` encoder frames needs."""
    return FRAME * ((chunk + 1) * frames - 1) + WINDOW // 2


def chunk_begin(chunk: int, frames: int) -> int:
    """First sample that chunk number `chunk` looks at; negative in the first chunk, where silence stands."""
    return FRAME * chunk * frames - LOOK_BACK


def chunk_samples(frames: int) -> int:
    """Samples that one chunk looks at, overlap included."""
    return chunk_end(0, frames) - chunk_begin(0, frames)


def flushed_chunks(samples: int, frames: int) -> int:
    """Chunks it takes to consume all of `samples` and the flushing silence after them; 0 where there was no audio."""
    if samples == 0:
        return 0
    wanted = -(-samples // FRAME) + max(FLUSH_FRAMES, frames)
    return -(-wanted // frames)


def flush_samples(samples: int, chunk_ms: int) -> int:
    """Zero samples that `finalize` and `close` append to a session of `samples` samples."""
    frames = chunk_ms // FRAME_MS
    chunks = flushed_chunks(samples, frames)
    return chunk_end(chunks - 1, frames) - samples if chunks else 0
