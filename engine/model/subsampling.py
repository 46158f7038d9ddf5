"""The subsampling before the conformer layers: eight mel frames become one encoder frame."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import EncoderConfig, ModelConfig
from engine.model.linear import MakeLinear, read_linear
from engine.model.state import Rows, SlotState


def input_scale(config: EncoderConfig) -> float:
    """What the subsampled frames are multiplied by; it is put into the weights of the projection."""
    return math.sqrt(config.d_model) if config.xscaling else 1.0


class Subsampling:
    """Three causal stride-2 convolutions over (time, frequency), the last two depthwise, then a projection.

    Causal in both directions (two zeros before, one after), so a chunk needs just the one frame before it at each
    level, and a stream's start is zeros at each level.
    """

    def __init__(self, config: ModelConfig, weights: WeightReader, linear: MakeLinear) -> None:
        channels, d_model = config.encoder.subsampling_channels, config.encoder.d_model
        convolution = weights.under("conv")

        def layer(index: int, inputs: int, kernel: int) -> tuple[Tensor, Tensor]:
            weight = convolution.take(f"{index}.weight", channels, inputs, kernel, kernel)
            return weight.contiguous(memory_format=torch.channels_last), convolution.take(f"{index}.bias", channels)

        self._first = layer(0, 1, 3)
        self._depthwise = (layer(2, 1, 3), layer(5, 1, 3))
        self._pointwise = (layer(3, channels, 1), layer(6, channels, 1))
        bins = config.features.subsampled_bins[-1]
        scale = input_scale(config.encoder)
        self._out = read_linear(linear, weights, "out", d_model, channels * bins, bias=True, scale=scale)

    def __call__(self, mel: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """mel: (B, 8 c, mels). Returns (B, c, d_model)."""
        count, time = mel.shape[:2]
        x = self._join(mel[:, None], state.mel, rows)
        x = F.relu(F.conv2d(x, *self._first, stride=2))  # (B, C, 4c, mels/2+1)
        rows.zero_new_streams(x[:, :, :3])
        for level, ((depthwise, shift), pointwise) in enumerate(zip(self._depthwise, self._pointwise, strict=True)):
            x = self._join(x, state.deep if level else state.middle, rows)
            x = F.conv2d(x, depthwise, shift, stride=2, groups=depthwise.shape[0])
            x = F.relu(F.conv2d(x, *pointwise))
            if level == 0:
                rows.zero_new_streams(x[:, :, :1])
        return self._out(x.transpose(1, 2).reshape(count, time // 8, -1))

    @staticmethod
    def _join(x: Tensor, before: Tensor, rows: Rows) -> Tensor:
        """Put the cached frame before the chunk, keep the chunk's last one, pad the frequencies."""
        joined = torch.cat([rows.recall(before), x], dim=2)
        before.index_copy_(0, rows.slots, x[:, :, -1:])
        return F.pad(joined, (2, 1)).contiguous(memory_format=torch.channels_last)
