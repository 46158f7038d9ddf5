"""From spectra to log-mel features on a CPU, beside 8-bit weights.

Torch's matrix product sums in another order for another number of rows, and a last bit on the edge between two 8-bit
values comes out whole at the first layer. Here a frame has the same bits in any batch.
"""

import numpy as np
import torch
from torch import Tensor

from engine.cpu.jit import F32, I32, U32, Array, Index, exact_inner, exact_kernel, share
from engine.cpu.openmp import Threads, all_threads, fork

_LN2, _SQRT2 = F32(0.6931471805599453), F32(1.4142135623730951)
_C3, _C5, _C7, _C9 = F32(1 / 3), F32(1 / 5), F32(1 / 7), F32(1 / 9)


class CpuMelBank:
    """`bank`: float32 (mels, bins), of which each row is summed from its first to its last bin that is not zero;
    `guard`: is added before the logarithm."""

    def __init__(self, bank: Tensor, guard: float) -> None:
        weights = bank.contiguous().numpy()
        self._weights = weights
        used = weights != 0
        self._first = np.where(used.any(1), used.argmax(1), 0)
        self._end = np.where(used.any(1), weights.shape[1] - used[:, ::-1].argmax(1), 0)
        self._guard = F32(guard)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """spectrum: float32 (B, T, bins, 2), real and imaginary parts. Returns log-mel (B, T, mels)."""
        streams, frames, bins = spectrum.shape[:3]
        mel = torch.empty(streams, frames, len(self._weights))
        spectra = spectrum.contiguous().view(-1, bins, 2).numpy()
        out = mel.view(-1, len(self._weights)).numpy()
        log_mel(all_threads(), spectra, self._weights, self._first, self._end, self._guard, out)
        return mel


@exact_kernel
def log_mel(
    threads: Threads, spectra: Array, bank: Array, first: Index, end: Index, guard: np.float32, out: Array
) -> None:
    """spectra: (T, bins, 2); bank: (mels, bins); first, end: (mels,); out: (T, mels)."""
    fork(threads, _log_mel, (spectra, bank, first, end, guard, out))


@exact_inner
def _log_mel(
    spectra: Array, bank: Array, first: Index, end: Index, guard: np.float32, out: Array, part: int, parts: int
) -> None:
    bins = spectra.shape[1]
    power = np.empty(bins, F32)
    for frame in share(spectra.shape[0], part, parts):
        spectrum, mel = spectra[frame], out[frame]
        for i in range(bins):
            real, imaginary = spectrum[i, 0], spectrum[i, 1]
            power[i] = real * real + imaginary * imaginary
        for m in range(bank.shape[0]):
            weights, total = bank[m], F32(0)
            for i in range(first[m], end[m]):
                total += power[i] * weights[i]
            mel[m] = total + guard
        for m in range(bank.shape[0]):
            mel[m] = _log(mel[m])


@exact_inner
def _log(x: np.float32) -> np.float32:
    """The natural logarithm of a normal number above 0, to a last bit or two: that of a number around 1 by its series
    (2 artanh), and the power of two."""
    bits = F32(x).view(U32)
    power = I32(bits >> U32(23)) - I32(127)
    mantissa = U32((bits & U32(0x7FFFFF)) | U32(0x3F800000)).view(F32)
    upper = mantissa > _SQRT2
    mantissa = mantissa * F32(0.5) if upper else mantissa
    power = power + I32(1) if upper else power
    s = (mantissa - F32(1)) / (mantissa + F32(1))
    z = s * s
    near = F32(2) * s * (F32(1) + z * (_C3 + z * (_C5 + z * (_C7 + z * _C9))))
    return F32(power) * _LN2 + near
