"""The two models of turn detection as functions on arrays: Silero VAD, and Smart Turn v3 with its log-mel features.

Their weights are in the wheel of Pipecat, of which nothing else is used: no module of it is imported. A session is
shared by all legs; what a leg's audio leaves behind is an array that its owner keeps.

Sources: Silero VAD v6 (github.com/snakers4/silero-vad), Smart Turn v3 (github.com/pipecat-ai/smart-turn), features as
`WhisperFeatureExtractor(chunk_length=8)` of transformers has them.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

RATE_HZ = 16_000
JUDGED = 8 * RATE_HZ
"""Samples that Smart Turn judges by."""

_VAD = "audio/vad/data/silero_vad.onnx"
_SMART = "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
_FFT, _HOP, _MELS = 400, 160, 80
_NARROW = 288
_NOISE = 1e-3


class SileroVad:
    """Voice activity of windows of 32 ms. Raises `FileNotFoundError` without its weights.

    It is given 8 kHz, which is what telephones have. In silence without any noise it takes long to hear speech that
    begins, so there is a little noise in all that it is given.
    """

    def __init__(self) -> None:
        self._session = _session(_VAD)
        self._rate = np.array(RATE_HZ // 2, np.int64)
        self._noise = np.random.default_rng(1).normal(0.0, _NOISE, _NARROW).astype(np.float32)

    def __call__(
        self, windows: NDArray[np.float32], state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`windows`: (n, CONTEXT + WINDOW), each after the last samples before it, 16 kHz. `state`: (2, n, 128), zeros
        first. Returns the probability of speech, (n,), and the new state."""
        narrow = halved(windows) + self._noise
        speech, after = self._session.run(None, {"input": narrow, "state": state, "sr": self._rate})
        return speech[:, 0], after


class SmartTurn:
    """Whether what was said sounds complete. Raises `FileNotFoundError` without its weights."""

    def __init__(self) -> None:
        self._session = _session(_SMART)

    def __call__(self, pcm: NDArray[np.float32]) -> float:
        """`pcm`: float32 (T,), 16 kHz, up to the pause, of which the last 8 s count."""
        return float(self._session.run(None, {"input_features": log_mel(pcm)[None]})[0][0, 0])


def halved(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, T) at 16 kHz to the last (n, 32 + 256) at 8 kHz, by a half-band filter of seven taps: what is above 4 kHz
    folds back weakly."""
    windows = windows[:, -584:]
    middle, near = windows[:, 4:580:2], windows[:, 3:579:2] + windows[:, 5:581:2]
    far = windows[:, 1:577:2] + windows[:, 7:583:2]
    return cast(NDArray[np.float32], np.float32(1 / 2) * middle + np.float32(9 / 32) * near - np.float32(1 / 32) * far)


def log_mel(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """(80, 800): of the last 8 s, zeros before them where there is less; normalised to unit variance first."""
    audio = np.zeros(JUDGED, np.float32)
    tail = pcm[-JUDGED:]
    audio[JUDGED - tail.size :] = tail
    audio = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    padded = np.pad(audio, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:-1]
    spectrum = np.fft.rfft(frames * np.hanning(_FFT + 1)[:-1].astype(np.float32), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    levels = np.log10(np.maximum(power @ _mel_filters(), 1e-10)).T
    return cast(NDArray[np.float32], ((np.maximum(levels, levels.max() - 8) + 4) / 4).astype(np.float32))


@cache
def _mel_filters() -> NDArray[np.float32]:
    """(201, 80): triangles of equal area, evenly spaced on Slaney's mel scale from 0 to 8 kHz."""
    step = 27 / np.log(6.4)  # mels for each e-fold above 1 kHz, which is mel 15
    mels = np.linspace(0, 15 + np.log(8.0) * step, _MELS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1_000 * np.exp((mels - 15) / step))
    bins = np.linspace(0, RATE_HZ / 2, _FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.maximum(0, np.minimum(rising, falling)) * area).astype(np.float32)


def _session(weights: str) -> Any:
    """On one thread of the caller."""
    package = find_spec("pipecat")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("pipecat-ai, whose wheel has the weights, is not installed")
    path = Path(next(iter(package.submodule_search_locations))) / weights
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: this release of pipecat-ai has other weights")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
