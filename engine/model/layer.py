"""One macaron layer of the FastConformer: its weights. The list of them stands here and nowhere else."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import EncoderConfig
from engine.model.linear import Linear, MakeLinear, read_linear

_LN_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Normalisation over the last axis. weight, bias: (size,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, _LN_EPS)

    @classmethod
    def load(cls, weights: WeightReader, name: str, size: int) -> "LayerNorm":
        return cls(weights.take(f"{name}.weight", size), weights.take(f"{name}.bias", size))


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one macaron layer, in the order of their use. `engine.cpu.layers` derives from this list what its
    kernel takes. The halves of the feed-forward steps and the attention's 1/sqrt(d_head) are multiplied into the
    weights.

    bias_u, bias_v: (h, 1, d_head); positions: (d, d); taps: (k, d); taps_bias: (d,), None without biases.
    """

    norm_in: LayerNorm
    expand_in: Linear
    contract_in: Linear
    norm_attention: LayerNorm
    qkv: Linear
    bias_u: Tensor
    bias_v: Tensor
    positions: Tensor
    out: Linear
    norm_convolution: LayerNorm
    gate: Linear
    taps: Tensor
    taps_bias: Tensor | None
    norm_taps: LayerNorm
    mix: Linear
    norm_feed: LayerNorm
    expand: Linear
    contract: Linear
    norm_out: LayerNorm

    @classmethod
    def load(cls, config: EncoderConfig, weights: WeightReader, linear: MakeLinear) -> "Layer":
        d, ff, kernel, bias = config.d_model, config.d_ff, config.conv_kernel, config.use_bias
        attention, convolution = weights.under("self_attn"), weights.under("conv")
        scale = 1 / math.sqrt(config.d_head)
        return cls(
            norm_in=LayerNorm.load(weights, "norm_feed_forward1", d),
            expand_in=read_linear(linear, weights, "feed_forward1.linear1", ff, d, bias),
            contract_in=read_linear(linear, weights, "feed_forward1.linear2", d, ff, bias, 0.5),
            norm_attention=LayerNorm.load(weights, "norm_self_att", d),
            qkv=_query_key_value(linear, attention, d, bias, scale),
            bias_u=attention.take("pos_bias_u", config.heads, config.d_head)[:, None] * scale,
            bias_v=attention.take("pos_bias_v", config.heads, config.d_head)[:, None] * scale,
            positions=attention.take("linear_pos.weight", d, d),
            out=read_linear(linear, attention, "linear_out", d, d, bias),
            norm_convolution=LayerNorm.load(weights, "norm_conv", d),
            gate=_pointwise(linear, convolution, "pointwise_conv1", 2 * d, d, bias),
            taps=convolution.take("depthwise_conv.weight", d, 1, kernel)[:, 0].T.contiguous(),
            taps_bias=convolution.bias("depthwise_conv.bias", d, bias),
            norm_taps=LayerNorm.load(convolution, "batch_norm", d),
            mix=_pointwise(linear, convolution, "pointwise_conv2", d, d, bias),
            norm_feed=LayerNorm.load(weights, "norm_feed_forward2", d),
            expand=read_linear(linear, weights, "feed_forward2.linear1", ff, d, bias),
            contract=read_linear(linear, weights, "feed_forward2.linear2", d, ff, bias, 0.5),
            norm_out=LayerNorm.load(weights, "norm_out", d),
        )


def _query_key_value(linear: MakeLinear, weights: WeightReader, d: int, bias: bool, scale: float) -> Linear:
    """The three projections as one; the query's is multiplied by `scale`."""
    names = ("linear_q", "linear_k", "linear_v")
    weight = torch.cat([weights.take(f"{name}.weight", d, d) for name in names])
    weight[:d] *= scale
    if not bias:
        return linear(weight, None)
    shift = torch.cat([weights.take(f"{name}.bias", d) for name in names])
    shift[:d] *= scale
    return linear(weight, shift)


def _pointwise(linear: MakeLinear, weights: WeightReader, name: str, outputs: int, inputs: int, bias: bool) -> Linear:
    weight = weights.take(f"{name}.weight", outputs, inputs, 1)[:, :, 0]
    return linear(weight.contiguous(), weights.bias(f"{name}.bias", outputs, bias))
