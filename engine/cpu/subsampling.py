"""The subsampling in 8-bit weights on a CPU: kernels for its three strided convolutions, and 8-bit products.

Takes the place of `engine.model.subsampling.Subsampling`. Torch writes and reads the first convolution's output, eight
times as large as what comes of it, once for each operator; here a frame of it lives as long as the next convolution
needs it.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import ModelConfig
from engine.cpu.jit import F32, Array, Bytes, Index, inner, kernel, plain, share
from engine.cpu.openmp import Threads, all_threads, fork
from engine.cpu.product import Biased, activation_rows, finish_rows, pack, product, quantise
from engine.model.state import Rows, SlotState
from engine.model.subsampling import input_scale

_BEFORE = 2
"""Zeros before the lowest frequency; one stands after the highest."""

_BEFORE_START = 3
"""Frames of the first convolution that lie before the start of a stream."""


class _Convolution(NamedTuple):
    """taps: (9, C), by time, then frequency; bias: (C,)."""

    taps: Array
    bias: Array


class _Weights(NamedTuple):
    first: _Convolution
    second: _Convolution
    mix: Biased
    third: _Convolution
    mix_again: Biased
    out: Biased


class _SubsamplingState(NamedTuple):
    """The frame before the chunk at each convolution, of all slots: mel (S, mels), middle (S, mels / 2 + 1, C), deep
    (S, bins after the second, C); which slots are stepped and how many chunks they have had: int64 (B,)."""

    mel: Array
    middle: Array
    deep: Array
    slots: Index
    chunks: Index


class Int8Subsampling:
    """Weights and the step."""

    def __init__(self, config: ModelConfig, weights: WeightReader) -> None:
        channels, d_model = config.encoder.subsampling_channels, config.encoder.d_model
        convolution = weights.under("conv")
        self._bins = config.features.subsampled_bins
        bins = self._bins[-1]

        def taps(index: int) -> _Convolution:
            weight = convolution.take(f"{index}.weight", channels, 1, 3, 3).view(channels, 9)
            return _Convolution(weight.T.contiguous().numpy(), convolution.take(f"{index}.bias", channels).numpy())

        def pointwise(index: int) -> Biased:
            weight = convolution.take(f"{index}.weight", channels, channels, 1, 1)[:, :, 0, 0]
            return Biased(pack(weight), convolution.take(f"{index}.bias", channels).numpy())

        # Its inputs lie by frequency, then channel, as the convolution leaves them; the checkpoint's the other way.
        weight = weights.take("out.weight", d_model, channels * bins).view(d_model, channels, bins).transpose(1, 2)
        scale = input_scale(config.encoder)
        out = pack(weight.reshape(d_model, -1) * scale)
        bias = weights.take("out.bias", d_model) * scale
        mixes = pointwise(3), pointwise(6)
        self._channels, self._outputs = channels, d_model
        self._weights = plain(_Weights(taps(0), taps(2), mixes[0], taps(5), mixes[1], Biased(out, bias.numpy())))

    def __call__(self, mel: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """mel: float32 (B, 8 c, mels). Returns (B, c, d_model)."""
        streams, time, mels = mel.shape
        wide, middle, deep = self._bins
        channels, outputs = self._channels, self._outputs
        past = _SubsamplingState(
            mel=state.mel.view(-1, mels).numpy(),
            middle=state.middle.view(-1, wide, channels).numpy(),
            deep=state.deep.view(-1, middle, channels).numpy(),
            slots=rows.slots.numpy(),
            chunks=rows.chunks.numpy(),
        )
        buffers = (
            activation_rows(streams * time // 4 * middle, channels),
            activation_rows(streams * time // 8 * deep, channels),
            activation_rows(streams * time // 8, deep * channels),
        )
        out = torch.empty(streams, time // 8, outputs)
        flat = out.view(-1, outputs).numpy()
        subsample(all_threads(), mel.contiguous().numpy(), self._weights, plain(past), buffers, flat)
        return out


@kernel
def subsample(
    threads: Threads,
    mel: Array,
    weights: _Weights,
    past: _SubsamplingState,
    buffers: tuple[Bytes, Bytes, Bytes],
    out: Array,
) -> None:
    """mel: (B, T, mels); buffers: for what the three products multiply; out: (B T / 8, d_model). Takes named tuples as
    `plain`."""
    first, second, (mix, mix_bias), third, (mix_again, bias_again), (weight, bias) = weights
    kept, middle, deep, slots, chunks = past
    x, y, z = buffers
    scale, scale_again, last = np.empty(x.shape[0], F32), np.empty(y.shape[0], F32), np.empty(z.shape[0], F32)
    raw = np.empty((x.shape[0], mix_bias.shape[0]), F32)
    fork(threads, convolve_twice, (mel, kept, middle, slots, chunks, first, second, x, scale))
    product(threads, x, mix, raw)
    fork(threads, convolve_again, (raw, scale, mix_bias, deep, slots, chunks, third, y, scale_again))
    product(threads, y, mix_again, raw[: y.shape[0]])
    fork(threads, rectify, (raw[: y.shape[0]], scale_again, bias_again, z, last))
    product(threads, z, weight, out)
    fork(threads, finish_rows, (out, last, bias))


@inner
def _first_frame(before: Array, here: Array, after: Array, by: _Convolution, out: Array) -> None:
    """The first convolution at one time, rectified. before, here, after: (mels,); out: (_BEFORE + bins +
    1, C), whose edges are left as they are."""
    taps, bias = by
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


@inner
def _depthwise_frame(before: Array, here: Array, after: Array, by: _Convolution, out: Array) -> None:
    """A depthwise convolution at one time. before, here, after: (_BEFORE + bins + 1, C); out: (bins // 2 + 1, C)."""
    taps, bias = by
    for place in range(out.shape[0]):
        at, into = 2 * place, out[place]
        a0, a1, a2 = before[at], before[at + 1], before[at + 2]
        b0, b1, b2 = here[at], here[at + 1], here[at + 2]
        c0, c1, c2 = after[at], after[at + 1], after[at + 2]
        for i in range(taps.shape[1]):
            y = bias[i] + a0[i] * taps[0, i] + a1[i] * taps[1, i] + a2[i] * taps[2, i]
            y += b0[i] * taps[3, i] + b1[i] * taps[4, i] + b2[i] * taps[5, i]
            into[i] = y + c0[i] * taps[6, i] + c1[i] * taps[7, i] + c2[i] * taps[8, i]


@inner
def _zero(line: Array) -> None:
    for place in range(line.shape[0]):
        for i in range(line.shape[1]):
            line[place, i] = F32(0)


@inner
def _copy(line: Array, into: Array) -> None:
    for place in range(line.shape[0]):
        for i in range(line.shape[1]):
            into[place, i] = line[place, i]


@inner
def _recall(kept: Array, begins: bool, line: Array) -> None:
    """The frame before the chunk into line (_BEFORE + bins + 1, C); zeros where the stream begins. kept: (bins, C)."""
    for place in range(kept.shape[0]):
        for i in range(kept.shape[1]):
            line[place + _BEFORE, i] = F32(0) if begins else kept[place, i]


@inner
def _keep(line: Array, kept: Array) -> None:
    """The chunk's last frame, for the next chunk."""
    for place in range(kept.shape[0]):
        for i in range(kept.shape[1]):
            kept[place, i] = line[place + _BEFORE, i]


@inner
def convolve_twice(
    mel: Array,
    kept: Array,
    kept_middle: Array,
    slots: Index,
    chunks: Index,
    first: _Convolution,
    second: _Convolution,
    out: Bytes,
    scale: Array,
    part: int,
    parts: int,
) -> None:
    """First convolution, rectifier, second (depthwise) convolution.

    mel: (B, T, mels); kept: (S, mels) and kept_middle: (S, mels / 2 + 1, C), the frame before the chunk at either
    convolution, brought forward; slots, chunks: int64 (B,); out: uint8 (B T/4 bins, C), with its scale: (B T/4 bins,).
    """
    streams, time, mels = mel.shape
    bins, channels = kept_middle.shape[1], kept_middle.shape[2]
    wide = out.shape[0] // (streams * (time // 4))
    lines = np.zeros((3, bins + _BEFORE + 1, channels), F32)
    frame, scratch, silence = np.empty((wide, channels), F32), np.empty(channels, F32), np.zeros(mels, F32)
    for stream in share(streams, part, parts):
        slot, begins = slots[stream], chunks[stream] == 0
        _recall(kept_middle[slot], begins, lines[2])
        for turn in range(time // 4):
            _copy(lines[2], lines[0])
            for half in range(2):
                at = 4 * turn + 2 * half
                before = mel[stream, at - 1] if at else (silence if begins else kept[slot])
                line = lines[1 + half]
                _first_frame(before, mel[stream, at], mel[stream, at + 1], first, line)
                if begins and at // 2 < _BEFORE_START:
                    _zero(line)
            at = (stream * (time // 4) + turn) * wide
            _depthwise_frame(lines[0], lines[1], lines[2], second, frame)
            for place in range(wide):
                scale[at + place] = quantise(frame[place], scratch, out[at + place])
        for i in range(mels):
            kept[slot, i] = mel[stream, time - 1, i]
        _keep(lines[2], kept_middle[slot])


@inner
def convolve_again(
    raw: Array,
    scale: Array,
    shift: Array,
    kept: Array,
    slots: Index,
    chunks: Index,
    by: _Convolution,
    out: Bytes,
    out_scale: Array,
    part: int,
    parts: int,
) -> None:
    """Rectifier on a product, third (depthwise) convolution.

    raw: (B t bins, C), with its scale: (B t bins,) and shift: (C,); kept: (S, bins, C), brought forward; out:
    uint8 (B t/2 bins', C), with out_scale.
    """
    bins, channels, streams = kept.shape[1], kept.shape[2], slots.shape[0]
    time = raw.shape[0] // (streams * bins)
    wide = out.shape[0] // (streams * (time // 2))
    lines = np.zeros((3, bins + _BEFORE + 1, channels), F32)
    frame, scratch = np.empty((wide, channels), F32), np.empty(channels, F32)
    for stream in share(streams, part, parts):
        slot, begins = slots[stream], chunks[stream] == 0
        _recall(kept[slot], begins, lines[2])
        for turn in range(time // 2):
            _copy(lines[2], lines[0])
            for half in range(2):
                row = (stream * time + 2 * turn + half) * bins
                for place in range(bins):
                    of, factor, into = raw[row + place], scale[row + place], lines[1 + half, place + _BEFORE]
                    for i in range(channels):
                        y = of[i] * factor + shift[i]
                        into[i] = y if y > F32(0) else F32(0)
            if begins and turn == 0:
                _zero(lines[1])
            at = (stream * (time // 2) + turn) * wide
            _depthwise_frame(lines[0], lines[1], lines[2], by, frame)
            for place in range(wide):
                out_scale[at + place] = quantise(frame[place], scratch, out[at + place])
        _keep(lines[2], kept[slot])


@inner
def rectify(raw: Array, scale: Array, shift: Array, out: Bytes, out_scale: Array, part: int, parts: int) -> None:
    """Rectifier on a product, all frequencies of a frame in one row. raw: (T bins, C); out: uint8 (T, bins C)."""
    rows, channels = out.shape[0], raw.shape[1]
    bins = raw.shape[0] // rows
    line, scratch = np.empty(bins * channels, F32), np.empty(bins * channels, F32)
    for row in share(rows, part, parts):
        for place in range(bins):
            of, by = raw[row * bins + place], scale[row * bins + place]
            into = line[place * channels : (place + 1) * channels]
            for i in range(channels):
                y = of[i] * by + shift[i]
                into[i] = y if y > F32(0) else F32(0)
        out_scale[row] = quantise(line, scratch, out[row])
