"""The conformer layers of an encoder, one chunk of every row at a time, in torch's operators."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model.attention import Prepare, Relative
from engine.model.layer import Layer
from engine.model.state import Rows, SlotState


class ConformerLayers:
    """The loop over the layers in torch's operators. `relative`: of each latency class by its frames a chunk, for each
    layer."""

    def __init__(self, layers: list[Layer], relative: Mapping[int, list[Relative]], prepare: Prepare) -> None:
        self._layers, self._relative, self._prepare = layers, relative, prepare

    def __call__(self, x: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """x: (B, c, d_model). Returns the same shape; brings the rows' state forward."""
        attend = self._prepare(rows, x.shape[1])
        relative = self._relative[x.shape[1]]
        for index, layer in enumerate(self._layers):
            x = x + layer.contract_in(F.silu(layer.expand_in(layer.norm_in(x))))
            qkv = layer.qkv(layer.norm_attention(x))
            x = x + layer.out(attend(qkv, relative[index], state.keys[index], state.values[index]))
            x = x + _convolve(layer, layer.norm_convolution(x), state.convolution[index], rows)
            x = layer.norm_out(x + layer.contract(F.silu(layer.expand(layer.norm_feed(x)))))
        return x


def _convolve(layer: Layer, x: Tensor, cache: Tensor, rows: Rows) -> Tensor:
    frames, kernel = x.shape[1], layer.taps.shape[0]
    joined = torch.cat([rows.recall(cache), F.glu(layer.gate(x), dim=-1)], dim=1)  # (B, k - 1 + c, d)
    cache.index_copy_(0, rows.slots, joined[:, frames:])
    y = joined[:, :frames] * layer.taps[0]
    for tap in range(1, kernel):
        y = torch.addcmul(y, joined[:, tap : tap + frames], layer.taps[tap])
    if layer.taps_bias is not None:
        y = y + layer.taps_bias
    return layer.mix(F.silu(layer.norm_taps(y)))
