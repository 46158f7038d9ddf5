"""The subsampling in 8-bit weights on a CPU: Numba's kernels for its three strided convolutions, FBGEMM's products.

Takes the place of `engine.encoder.Subsampling`. Torch writes and reads the first convolution's output, eight times as
large as what comes of it, once for each operator; here a frame of it lives as long as the next convolution needs it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.affine import Affine, Int8Weight
from engine.config import ModelConfig
from engine.cpu_kernels import F32, Array, Index, bring_within_one, inline, kernel
from engine.state import Rows, SlotState
from engine.weights import WeightReader

_BEFORE = 2
"""Zeros before the lowest frequency; one stands after the highest."""

_BLANK = 3
"""Frames of the first convolution that lie before the start of a stream."""


class Int8Subsampling:
    """Weights and the step. `input_scale` is multiplied into the last weight."""

    def __init__(self, config: ModelConfig, weights: WeightReader, input_scale: float) -> None:
        channels, d_model = config.encoder.subsampling_channels, config.encoder.d_model
        convolution = weights.under("conv")
        bins = config.features.mels
        self._bins = []
        for _ in range(3):
            bins = bins // 2 + 1
            self._bins.append(bins)

        def taps(index: int) -> tuple[Array, Array]:
            weight = convolution.take(f"{index}.weight", channels, 1, 3, 3).view(channels, 9)
            return weight.T.contiguous().numpy(), convolution.take(f"{index}.bias", channels).numpy()

        def pointwise(index: int) -> tuple[Int8Weight, Array]:
            weight = convolution.take(f"{index}.weight", channels, channels, 1, 1)[:, :, 0, 0].contiguous()
            affine = Affine(weight, None, weights.precision)
            return affine.int8_weight, convolution.take(f"{index}.bias", channels).numpy()

        self._first, self._second, self._third = taps(0), taps(2), taps(5)
        self._mix, self._mix_again = pointwise(3), pointwise(6)
        # Its inputs lie by frequency, then channel, as the convolution leaves them; the checkpoint's the other way.
        weight = weights.take("out.weight", d_model, channels * bins).view(d_model, channels, bins).transpose(1, 2)
        self._out = Affine(weight.reshape(d_model, -1) * input_scale, None, weights.precision).int8_weight
        self._out_bias = weights.take("out.bias", d_model) * input_scale

    def __call__(self, mel: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """mel: float32 (B, 8 c, mels). Returns (B, c, d_model)."""
        streams, time = mel.shape[:2]
        slots, chunks = rows.slots.numpy(), rows.chunks.numpy()
        channels = self._first[0].shape[1]
        _, middle, deep = self._bins
        kept = state.mel.view(-1, mel.shape[2]).numpy()
        kept_middle = state.middle.view(-1, self._bins[0], channels).numpy()
        kept_deep = state.deep.view(-1, middle, channels).numpy()
        x, scale = _within(streams * time // 4 * middle, channels)
        convolve_twice(
            *(mel.contiguous().numpy(), kept, kept_middle, slots, chunks),
            *(*self._first, *self._second, x.numpy(), scale),
        )
        weight, shift = self._mix
        raw = weight.multiply(x)
        x, scale_again = _within(streams * time // 8 * deep, channels)
        convolve_again(*(raw.numpy(), scale, shift, kept_deep, slots, chunks), *(*self._third, x.numpy(), scale_again))
        weight, shift = self._mix_again
        raw = weight.multiply(x)
        x, scale = _within(streams * time // 8, deep * channels)
        rectify(raw.numpy(), scale_again, shift, x.numpy(), scale)
        raw = self._out.multiply(x)
        return torch.addcmul(self._out_bias, raw, torch.from_numpy(scale)[:, None]).view(streams, time // 8, -1)


def _within(rows: int, width: int) -> tuple[Tensor, NDArray[np.float32]]:
    return torch.empty(rows, width), np.empty(rows, np.float32)


@inline
def _first_frame(before: Array, here: Array, after: Array, taps: Array, bias: Array, out: Array) -> None:
    """The first convolution at one time, rectified. before, here, after: (mels,); taps: (9, C); out: (_BEFORE + bins +
    1, C), whose edges are left as they are."""
    mels, channels = here.shape[0], taps.shape[1]
    for place in range(mels // 2 + 1):
        low, mid, high = 2 * place - 2, 2 * place - 1, 2 * place
        has_low, has_high = low >= 0, high < mels
        a0, a1, a2 = F32(0), F32(0), F32(0)
        b0, b1, b2 = F32(0), F32(0), F32(0)
        c0, c1, c2 = F32(0), F32(0), F32(0)
        if has_low:
            a0, b0, c0 = before[low], here[low], after[low]
            a1, b1, c1 = before[mid], here[mid], after[mid]
        if has_high:
            a2, b2, c2 = before[high], here[high], after[high]
        into = out[place + _BEFORE]
        for i in range(channels):
            y = bias[i] + a0 * taps[0, i] + a1 * taps[1, i] + a2 * taps[2, i]
            y += b0 * taps[3, i] + b1 * taps[4, i] + b2 * taps[5, i]
            y += c0 * taps[6, i] + c1 * taps[7, i] + c2 * taps[8, i]
            into[i] = y if y > F32(0) else F32(0)


@inline
def _depthwise_frame(before: Array, here: Array, after: Array, taps: Array, bias: Array, out: Array) -> None:
    """A depthwise convolution at one time. before, here, after: (_BEFORE + bins + 1, C); out: (bins // 2 + 1, C)."""
    for place in range(out.shape[0]):
        at, into = 2 * place, out[place]
        a0, a1, a2 = before[at], before[at + 1], before[at + 2]
        b0, b1, b2 = here[at], here[at + 1], here[at + 2]
        c0, c1, c2 = after[at], after[at + 1], after[at + 2]
        for i in range(taps.shape[1]):
            y = bias[i] + a0[i] * taps[0, i] + a1[i] * taps[1, i] + a2[i] * taps[2, i]
            y += b0[i] * taps[3, i] + b1[i] * taps[4, i] + b2[i] * taps[5, i]
            into[i] = y + c0[i] * taps[6, i] + c1[i] * taps[7, i] + c2[i] * taps[8, i]


@inline
def _recall(kept: Array, begins: bool, line: Array) -> None:
    """The frame before the chunk into line (_BEFORE + bins + 1, C); zeros where the stream begins. kept: (bins, C)."""
    for place in range(kept.shape[0]):
        for i in range(kept.shape[1]):
            line[place + _BEFORE, i] = F32(0) if begins else kept[place, i]


@inline
def _keep(line: Array, kept: Array) -> None:
    """The chunk's last frame, for the next chunk."""
    for place in range(kept.shape[0]):
        for i in range(kept.shape[1]):
            kept[place, i] = line[place + _BEFORE, i]


@kernel
def convolve_twice(
    mel: Array,
    kept: Array,
    kept_middle: Array,
    slots: Index,
    chunks: Index,
    first: Array,
    first_bias: Array,
    second: Array,
    second_bias: Array,
    out: Array,
    scale: Array,
) -> None:
    """First convolution, rectifier, second (depthwise) convolution.

    mel: (B, T, mels); kept: (S, mels) and kept_middle: (S, mels / 2 + 1, C), the frame before the chunk at either
    convolution, brought forward; slots, chunks: int64 (B,); first, second: (9, C), by time, then frequency; out: (B T/4
    bins, C), rows brought within one by scale: (B T/4 bins,).
    """
    streams, time, mels = mel.shape
    bins, channels = kept_middle.shape[1], kept_middle.shape[2]
    wide = out.shape[0] // (streams * (time // 4))
    lines = np.zeros((3, bins + _BEFORE + 1, channels), F32)
    spare, silence = np.empty(channels, F32), np.zeros(mels, F32)
    for stream in range(streams):
        slot, begins = slots[stream], chunks[stream] == 0
        _recall(kept_middle[slot], begins, lines[2])
        for turn in range(time // 4):
            lines[0] = lines[2]
            for half in range(2):
                at = 4 * turn + 2 * half
                before = mel[stream, at - 1] if at else (silence if begins else kept[slot])
                line = lines[1 + half]
                _first_frame(before, mel[stream, at], mel[stream, at + 1], first, first_bias, line)
                if begins and at // 2 < _BLANK:
                    line[:] = F32(0)
            at = (stream * (time // 4) + turn) * wide
            _depthwise_frame(lines[0], lines[1], lines[2], second, second_bias, out[at : at + wide])
            for row in range(at, at + wide):
                scale[row] = bring_within_one(out[row], spare)
        kept[slot] = mel[stream, time - 1]
        _keep(lines[2], kept_middle[slot])


@kernel
def convolve_again(
    raw: Array,
    scale: Array,
    shift: Array,
    kept: Array,
    slots: Index,
    chunks: Index,
    taps: Array,
    bias: Array,
    out: Array,
    out_scale: Array,
) -> None:
    """Rectifier on a product, third (depthwise) convolution.

    raw: (B t bins, C), with its scale: (B t bins,) and shift: (C,); kept: (S, bins, C), brought forward; taps: (9, C);
    out: (B t/2 bins', C), rows brought within one by out_scale.
    """
    bins, channels, streams = kept.shape[1], kept.shape[2], slots.shape[0]
    time = raw.shape[0] // (streams * bins)
    wide = out.shape[0] // (streams * (time // 2))
    lines = np.zeros((3, bins + _BEFORE + 1, channels), F32)
    spare = np.empty(channels, F32)
    for stream in range(streams):
        slot, begins = slots[stream], chunks[stream] == 0
        _recall(kept[slot], begins, lines[2])
        for turn in range(time // 2):
            lines[0] = lines[2]
            for half in range(2):
                row = (stream * time + 2 * turn + half) * bins
                for place in range(bins):
                    of, by, into = raw[row + place], scale[row + place], lines[1 + half, place + _BEFORE]
                    for i in range(channels):
                        y = of[i] * by + shift[i]
                        into[i] = y if y > F32(0) else F32(0)
            if begins and turn == 0:
                lines[1] = F32(0)
            at = (stream * (time // 2) + turn) * wide
            _depthwise_frame(lines[0], lines[1], lines[2], taps, bias, out[at : at + wide])
            for row in range(at, at + wide):
                out_scale[row] = bring_within_one(out[row], spare)
        _keep(lines[2], kept[slot])


@kernel
def rectify(raw: Array, scale: Array, shift: Array, out: Array, out_scale: Array) -> None:
    """Rectifier on a product, all frequencies of a frame in one row. raw: (T bins, C); out: (T, bins C)."""
    channels = raw.shape[1]
    bins = out.shape[1] // channels
    spare = np.empty(out.shape[1], F32)
    for row in range(out.shape[0]):
        for place in range(bins):
            of, by = raw[row * bins + place], scale[row * bins + place]
            into = out[row, place * channels : (place + 1) * channels]
            for i in range(channels):
                y = of[i] * by + shift[i]
                into[i] = y if y > F32(0) else F32(0)
        out_scale[row] = bring_within_one(out[row], spare)
