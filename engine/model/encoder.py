"""One chunk through the cache-aware FastConformer, for a batch of slots.

Chain: features -> subsampling -> conformer layers -> prompt. Keys and values are cached after their projection and
the positional projection is done once at load, so every frame is processed once. Equal to NeMo's offline forward
with `att_context_style = chunked_limited` and the same context (Noroozi et al., arXiv:2312.17279).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.api import Precision
from engine.checkpoint.weights import WeightReader
from engine.config import EncoderConfig, ModelConfig, PromptConfig
from engine.cpu.layers import Int8Layers
from engine.cpu.subsampling import Int8Subsampling
from engine.model.attention import AttentionKind, Relative, attention, default_attention
from engine.model.linear import Affine
from engine.model.state import Rows, SlotState, ring_chunks

_LN_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Norm:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, _LN_EPS)


def _affine(weights: WeightReader, name: str, outputs: int, inputs: int, bias: bool, scale: float = 1.0) -> Affine:
    weight, shift = weights.take(f"{name}.weight", outputs, inputs), weights.bias(f"{name}.bias", outputs, bias)
    return weights.affine(weight * scale, None if shift is None else shift * scale)


def _norm(weights: WeightReader, name: str, size: int) -> Norm:
    return Norm(weights.take(f"{name}.weight", size), weights.take(f"{name}.bias", size))


class Subsampling:
    """Three causal stride-2 convolutions over (time, frequency), the last two depthwise, then a projection.

    Causal in both directions (two zeros before, one after), so a chunk needs just the one frame before it at each
    level, and a stream's start is zeros at each level.
    """

    def __init__(self, config: ModelConfig, weights: WeightReader) -> None:
        channels, d_model, mels = config.encoder.subsampling_channels, config.encoder.d_model, config.features.mels
        convolution = weights.under("conv")

        def layer(index: int, inputs: int, kernel: int) -> tuple[Tensor, Tensor]:
            weight = convolution.take(f"{index}.weight", channels, inputs, kernel, kernel)
            return weight.contiguous(memory_format=torch.channels_last), convolution.take(f"{index}.bias", channels)

        self._first = layer(0, 1, 3)
        self._depthwise = (layer(2, 1, 3), layer(5, 1, 3))
        self._pointwise = (layer(3, channels, 1), layer(6, channels, 1))
        bins = mels
        for _ in range(3):
            bins = bins // 2 + 1
        self._out = _affine(weights, "out", d_model, channels * bins, bias=True, scale=_input_scale(config.encoder))

    def __call__(self, mel: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """mel: (B, 8 c, mels). Returns (B, c, d_model)."""
        count, time = mel.shape[:2]
        x = self._join(mel[:, None], state.mel, rows)
        x = F.relu(F.conv2d(x, *self._first, stride=2))  # (B, C, 4c, mels/2+1)
        rows.blank(x[:, :, :3])
        for level, ((depthwise, shift), pointwise) in enumerate(zip(self._depthwise, self._pointwise, strict=True)):
            x = self._join(x, state.deep if level else state.middle, rows)
            x = F.conv2d(x, depthwise, shift, stride=2, groups=depthwise.shape[0])
            x = F.relu(F.conv2d(x, *pointwise))
            if level == 0:
                rows.blank(x[:, :, :1])
        return self._out(x.transpose(1, 2).reshape(count, time // 8, -1))

    @staticmethod
    def _join(x: Tensor, before: Tensor, rows: Rows) -> Tensor:
        """Put the cached frame before the chunk, keep the chunk's last one, pad the frequencies."""
        joined = torch.cat([rows.recall(before), x], dim=2)
        before.index_copy_(0, rows.slots, x[:, :, -1:])
        return F.pad(joined, (2, 1)).contiguous(memory_format=torch.channels_last)


def _input_scale(config: EncoderConfig) -> float:
    return math.sqrt(config.d_model) if config.xscaling else 1.0


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one macaron layer. The halves of the feed-forward steps and the attention's 1/sqrt(d_head) are
    multiplied into the weights."""

    norm_in: Norm
    expand_in: Affine
    contract_in: Affine
    norm_attention: Norm
    qkv: Affine
    bias_u: Tensor
    bias_v: Tensor
    positions: Tensor
    out: Affine
    norm_convolution: Norm
    gate: Affine
    taps: Tensor
    taps_bias: Tensor | None
    norm_taps: Norm
    mix: Affine
    norm_feed: Norm
    expand: Affine
    contract: Affine
    norm_out: Norm

    @classmethod
    def load(cls, config: EncoderConfig, weights: WeightReader) -> "Layer":
        d, ff, kernel, bias = config.d_model, config.d_ff, config.conv_kernel, config.use_bias
        attention, convolution = weights.under("self_attn"), weights.under("conv")
        d_head = d // config.heads
        scale = 1 / math.sqrt(d_head)
        return cls(
            norm_in=_norm(weights, "norm_feed_forward1", d),
            expand_in=_affine(weights, "feed_forward1.linear1", ff, d, bias),
            contract_in=_affine(weights, "feed_forward1.linear2", d, ff, bias, 0.5),
            norm_attention=_norm(weights, "norm_self_att", d),
            qkv=_query_key_value(attention, d, bias, scale),
            bias_u=attention.take("pos_bias_u", config.heads, d_head)[:, None] * scale,
            bias_v=attention.take("pos_bias_v", config.heads, d_head)[:, None] * scale,
            positions=attention.take("linear_pos.weight", d, d),
            out=_affine(attention, "linear_out", d, d, bias),
            norm_convolution=_norm(weights, "norm_conv", d),
            gate=_pointwise(convolution, "pointwise_conv1", 2 * d, d, bias),
            taps=convolution.take("depthwise_conv.weight", d, 1, kernel)[:, 0].T.contiguous(),
            taps_bias=convolution.bias("depthwise_conv.bias", d, bias),
            norm_taps=_norm(convolution, "batch_norm", d),
            mix=_pointwise(convolution, "pointwise_conv2", d, d, bias),
            norm_feed=_norm(weights, "norm_feed_forward2", d),
            expand=_affine(weights, "feed_forward2.linear1", ff, d, bias),
            contract=_affine(weights, "feed_forward2.linear2", d, ff, bias, 0.5),
            norm_out=_norm(weights, "norm_out", d),
        )


def _query_key_value(weights: WeightReader, d: int, bias: bool, scale: float) -> Affine:
    """The three projections as one; the query's is multiplied by `scale`."""
    names = ("linear_q", "linear_k", "linear_v")
    weight = torch.cat([weights.take(f"{name}.weight", d, d) for name in names])
    weight[:d] *= scale
    if not bias:
        return weights.affine(weight, None)
    shift = torch.cat([weights.take(f"{name}.bias", d) for name in names])
    shift[:d] *= scale
    return weights.affine(weight, shift)


def _pointwise(weights: WeightReader, name: str, outputs: int, inputs: int, bias: bool) -> Affine:
    weight = weights.take(f"{name}.weight", outputs, inputs, 1)[:, :, 0]
    return weights.affine(weight.contiguous(), weights.bias(f"{name}.bias", outputs, bias))


class Prompt:
    """Language prompt on encoder frames: Linear, ReLU, Linear on (frame, one-hot); replaces the frame.

    The one-hot's product is a column of the first weight, picked by index.
    """

    def __init__(self, config: PromptConfig, d_model: int, weights: WeightReader) -> None:
        hidden = 2 * d_model
        weight = weights.take("0.weight", hidden, d_model + config.count)
        self._frame = weights.affine(weight[:, :d_model].contiguous(), None)
        self._language = (weight[:, d_model:].T + weights.take("0.bias", hidden)).contiguous()  # (count, hidden)
        self._out = _affine(weights, "2", d_model, hidden, bias=True)

    def __call__(self, frames: Tensor, prompts: Tensor) -> Tensor:
        """frames: (B, c, d_model); prompts: int64 (B,). Same shape out."""
        return self._out(F.relu(self._frame(frames) + self._language.index_select(0, prompts)[:, None]))


class Encoder:
    """Weights and the step. The state of streams is the caller's."""

    def __init__(
        self,
        config: ModelConfig,
        weights: WeightReader,
        device: torch.device,
        dtype: torch.dtype,
        kind: AttentionKind | None = None,
    ) -> None:
        self._config = config.encoder
        self._device = device
        encoder = weights.under("encoder")
        reduction = encoder.under("pre_encode")
        self._subsampling: Subsampling | Int8Subsampling
        if weights.precision is Precision.INT8:
            self._subsampling = Int8Subsampling(config, reduction, _input_scale(self._config))
        else:
            self._subsampling = Subsampling(config, reduction)
        self._layers = [Layer.load(self._config, encoder.under(f"layers.{i}")) for i in range(self._config.layers)]
        self._prompt = None
        if config.prompt is not None:
            self._prompt = Prompt(config.prompt, self._config.d_model, weights.under("prompt_kernel"))
        kind = default_attention(device, self._config.d_model) if kind is None else kind
        self._attention = attention(kind, self._config, device)
        self._positions = {c: self._project_positions(c, dtype) for c in config.chunk_frames}
        self._int8_layers = None
        if weights.precision is Precision.INT8:
            self._int8_layers = Int8Layers(self._layers, self._positions)

    def step(self, mel: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """Encode one chunk of every row and bring the rows' state forward.

        mel: (B, 8 c, mels). Returns (B, c, d_model), without a prompt, so that it serves decoding under several.
        """
        x = self._subsampling(mel, rows, state)  # (B, c, d)
        if self._int8_layers is not None:
            return self._int8_layers(x, rows, state)
        attend = self._attention(rows, x.shape[1])
        positions = self._positions[x.shape[1]]
        for index, layer in enumerate(self._layers):
            x = x + layer.contract_in(F.silu(layer.expand_in(layer.norm_in(x))))
            qkv = layer.qkv(layer.norm_attention(x))
            x = x + layer.out(attend(qkv, positions[index], state.keys[index], state.values[index]))
            x = x + self._convolve(layer, layer.norm_convolution(x), state.convolution[index], rows)
            x = layer.norm_out(x + layer.contract(F.silu(layer.expand(layer.norm_feed(x)))))
        return x

    def prompted(self, frames: Tensor, prompts: Tensor) -> Tensor:
        """Encoded frames (B, c, d_model) under language prompts (int64 (B,)); as they are without a prompt kernel."""
        return frames if self._prompt is None else self._prompt(frames, prompts)

    def _convolve(self, layer: Layer, x: Tensor, cache: Tensor, rows: Rows) -> Tensor:
        frames, kernel = x.shape[1], layer.taps.shape[0]
        joined = torch.cat([rows.recall(cache), F.glu(layer.gate(x), dim=-1)], dim=1)  # (B, k - 1 + c, d)
        cache.index_copy_(0, rows.slots, joined[:, frames:])
        y = joined[:, :frames] * layer.taps[0]
        for tap in range(1, kernel):
            y = torch.addcmul(y, joined[:, tap : tap + frames], layer.taps[tap])
        if layer.taps_bias is not None:
            y = y + layer.taps_bias
        return layer.mix(F.silu(layer.norm_taps(y)))

    def _project_positions(self, frames: int, dtype: torch.dtype) -> list[Relative]:
        """Every layer's projected sinusoids of the distances a chunk can meet, as `Relative` says."""
        left = (ring_chunks(self._config.left_context, frames) - 1) * frames
        d_model = self._config.d_model
        distance = torch.arange(left + frames - 1, -frames, -1, dtype=torch.float32)[:, None]
        rate = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float32) * -(math.log(10000.0) / d_model))
        table = torch.stack([torch.sin(distance * rate), torch.cos(distance * rate)], dim=-1).flatten(1)
        table = table.to(self._device, dtype)
        shape = (-1, self._config.heads, d_model // self._config.heads)
        return [
            Relative(layer.bias_u, layer.bias_v, (table @ layer.positions.T).view(shape).permute(1, 2, 0).contiguous())
            for layer in self._layers
        ]
