"""Audio as voice frameworks have it, to 16 kHz mono float32."""

import numpy as np
from numpy.typing import NDArray

from engine.api import SAMPLE_RATE_HZ
from pipeline.playback.conversion import Converter, to_int16

_SCALE = np.float32(1 / 32768)


class To16k:
    """One stream. Filters hold back some milliseconds; `flush` gives them, and the next audio begins anew."""

    def __init__(self) -> None:
        self._rate_hz = 0
        self._converter: Converter | None = None

    def process(self, audio: bytes, sample_rate_hz: int, channels: int = 1) -> NDArray[np.float32]:
        """`audio`: 16-bit little-endian samples, channels interleaved -> float32 (T,), the mean of the channels."""
        samples = np.frombuffer(audio[: len(audio) // (2 * channels) * 2 * channels], "<i2")
        if channels > 1:
            mean = samples.reshape(-1, channels).mean(axis=1).astype(np.float32) * _SCALE
            samples = to_int16(mean)
        before = np.zeros(0, np.float32)
        if self._converter is None or sample_rate_hz != self._rate_hz:
            before = self.flush()
            self._rate_hz, self._converter = sample_rate_hz, Converter(sample_rate_hz, SAMPLE_RATE_HZ)
        return np.concatenate([before, self._converter.process(samples).astype(np.float32) * _SCALE])

    def flush(self) -> NDArray[np.float32]:
        """What the filter holds back: float32 (T,)."""
        converter, self._converter = self._converter, None
        return np.zeros(0, np.float32) if converter is None else converter.flush().astype(np.float32) * _SCALE
