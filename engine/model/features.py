"""Log-mel features of one chunk for a batch of streams.

Sits between the audio buffers and the encoder. Every chunk sees the same window of samples however they were pushed,
always as STFTs of one size, so features do not depend on how the audio was cut.
"""

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.api import SAMPLE_RATE_HZ
from engine.checkpoint.weights import WeightReader
from engine.chunking import HOP, SUBSAMPLING, WINDOW
from engine.config import FeatureConfig
from engine.model.state import Rows

BEFORE_START = SUBSAMPLING - 1
"""Mel frames of a first chunk that lie before the start of the stream."""


class MelBank(Protocol):
    """Log-mel features of spectra."""

    def __call__(self, spectrum: Tensor) -> Tensor:
        """spectrum: float32 (B, T, bins, 2), real and imaginary parts. Returns (B, T, mels)."""
        ...


class MakeMelBank(Protocol):
    """bank: float32 (mels, bins); guard: is added before the logarithm."""

    def __call__(self, bank: Tensor, guard: float, /) -> MelBank: ...


class TorchMelBank:
    """By a matrix product."""

    def __init__(self, bank: Tensor, guard: float) -> None:
        self._bank, self._guard = bank.T.contiguous(), guard

    def __call__(self, spectrum: Tensor) -> Tensor:
        return torch.log(spectrum.square().sum(-1) @ self._bank + self._guard)


class LogMel:
    """NeMo's `AudioToMelSpectrogramPreprocessor` without dither or normalisation, chunk by chunk."""

    def __init__(
        self, config: FeatureConfig, weights: WeightReader, device: torch.device, make_bank: MakeMelBank
    ) -> None:
        self._config = config
        window = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64).float()
        bank = weights.in_float32().under("preprocessor.featurizer")
        bins = config.spectrum_bins
        if "fb" in bank:
            mel = bank.take("fb", 1, config.mels, bins)[0].float()
        else:
            mel = torch.from_numpy(mel_filterbank(config))
        self._window = window.to(device)
        self._bank = make_bank(mel.to(device), config.log_guard)

    def __call__(self, audio: Tensor, rows: Rows) -> Tensor:
        """Features of one chunk.

        audio: float32 (B, 1280 c + 241), from `chunking.chunk_begin` to `chunk_end`. The first seven frames of a stream
        come out as zeros. What is no number counts as silence and what is beyond [-1, 1] is clipped, so no audio can
        leave more than finite numbers behind in a slot. Returns float32 (B, 8 c, mels).
        """
        audio = audio.nan_to_num(0.0).clamp(-1.0, 1.0)
        x = audio[:, 1:] - self._config.preemphasis * audio[:, :-1]
        frames = x.unfold(1, WINDOW, HOP) * self._window  # (B, 8c, 400)
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=self._config.n_fft))  # (B, 8c, 257, 2)
        mel = self._bank(spectrum)
        rows.zero_new_streams(mel[:, :BEFORE_START])
        return mel


def mel_filterbank(config: FeatureConfig) -> NDArray[np.float32]:
    """Triangular filters on Slaney's mel scale with Slaney's area normalisation: float32 (mels, n_fft / 2 + 1).

    Linear below 1 kHz (200/3 Hz a mel), logarithmic above (a factor of 6.4 in 27 mels): Slaney, Auditory Toolbox,
    1998.
    """
    bins = np.linspace(0.0, SAMPLE_RATE_HZ / 2, config.spectrum_bins)
    edges = _mel_to_hz(np.linspace(_hz_to_mel(config.low_hz), _hz_to_mel(config.high_hz), config.mels + 2))
    slopes = edges[:, None] - bins[None, :]
    widths = np.diff(edges)
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters.astype(np.float32)


_LINEAR_HZ = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _LINEAR_HZ
_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ if hz < _KNEE_HZ else _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < _KNEE_MEL, mel * _LINEAR_HZ, _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL)))
