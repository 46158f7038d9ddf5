"""What NeMo's offline forward hears in the audio of a whole session."""

from engine.checkpoint.weights import Checkpoint
from engine.executor import flush_samples
from testing.audio import Audio
from testing.oracle import FRAME, NemoReference
from tests.engine.listener import assembled


def flushed_frames(samples: int, chunk_ms: int) -> int:
    """Encoder frames of a session that was closed after so many samples."""
    if samples == 0:
        return 0
    frames, rest = divmod(samples + flush_samples(samples, chunk_ms) - 200, FRAME)
    assert rest == 0
    return frames + 1


def offline(
    reference: NemoReference, checkpoint: Checkpoint, signal: Audio, chunk_ms: int, language: str
) -> list[tuple[str, float, float]]:
    tokens = reference.tokens(signal, flushed_frames(len(signal), chunk_ms), chunk_ms // 80, language)
    return assembled(checkpoint.tokenizer, tokens)
