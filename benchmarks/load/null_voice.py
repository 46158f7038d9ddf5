"""A bot's voice that costs nothing to make."""

import numpy as np

from pipeline.playback import Utterance

RATE_HZ = 16_000

_PIECE_S = 0.1
_PIECE = (np.random.default_rng(1).standard_normal(round(_PIECE_S * RATE_HZ)) * 3_000).astype(np.int16)


async def speak(said: Utterance) -> None:
    """Until it is interrupted."""
    while await said.write(_PIECE):
        pass
