"""The bundled call at 16 kHz, read from its file: tests of the engine know nothing of telephony."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

CALL = Path(__file__).parents[3] / "trunkline" / "demo" / "call.wav"


@cache
def legs() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Caller and agent, float32 (T,), 16 kHz."""
    samples, rate = soundfile.read(CALL, dtype="float32", always_2d=True)
    caller, agent = (soxr.resample(np.ascontiguousarray(leg), rate, 16_000) for leg in samples.T)
    return caller, agent
