"""One chunk through the cache-aware FastConformer, for a batch of slots.

Chain: features -> subsampling -> conformer layers -> prompt. Keys and values are cached after their projection and
the positional projection is done once at load, so every frame is processed once. Equal to NeMo's offline forward
with `att_context_style = chunked_limited` and the same context (Noroozi et al., arXiv:2312.17279).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import ModelConfig, PromptConfig
from engine.model.attention import Relative
from engine.model.layer import Layer
from engine.model.linear import MakeLinear, read_linear
from engine.model.parts import Parts
from engine.model.state import Rows, SlotState, ring_chunks


class Prompt:
    """Language prompt on encoder frames: Linear, ReLU, Linear on (frame, one-hot); replaces the frame.

    The one-hot's product is a column of the first weight, picked by index.
    """

    def __init__(self, config: PromptConfig, d_model: int, weights: WeightReader, linear: MakeLinear) -> None:
        hidden = 2 * d_model
        weight = weights.take("0.weight", hidden, d_model + config.count)
        self._frame = linear(weight[:, :d_model].contiguous(), None)
        self._language = (weight[:, d_model:].T + weights.take("0.bias", hidden)).contiguous()  # (count, hidden)
        self._out = read_linear(linear, weights, "2", d_model, hidden, bias=True)

    def __call__(self, frames: Tensor, prompts: Tensor) -> Tensor:
        """frames: (B, c, d_model); prompts: int64 (B,). Same shape out."""
        return self._out(F.relu(self._frame(frames) + self._language.index_select(0, prompts)[:, None]))


class Encoder:
    """Weights and the step. The state of streams is the caller's."""

    def __init__(self, config: ModelConfig, weights: WeightReader, device: torch.device, parts: Parts) -> None:
        self._config = config.encoder
        self._device = device
        encoder = weights.under("encoder")
        self._subsampling = parts.subsampling(config, encoder.under("pre_encode"), parts.linear)
        layers = [
            Layer.load(self._config, encoder.under(f"layers.{i}"), parts.linear) for i in range(self._config.layers)
        ]
        self._prompt = None
        if config.prompt is not None:
            kernel = weights.under("prompt_kernel")
            self._prompt = Prompt(config.prompt, self._config.d_model, kernel, parts.linear)
        relative = {frames: self._project_positions(layers, frames, weights.dtype) for frames in config.chunk_frames}
        self._layers = parts.layers(layers, relative, parts.attention(self._config, device))

    def step(self, mel: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """Encode one chunk of every row and bring the rows' state forward.

        mel: (B, 8 c, mels). Returns (B, c, d_model), without a prompt, so that it serves decoding under several.
        """
        return self._layers(self._subsampling(mel, rows, state), rows, state)

    def prompted(self, frames: Tensor, prompts: Tensor) -> Tensor:
        """Encoded frames (B, c, d_model) under language prompts (int64 (B,)); as they are without a prompt kernel."""
        return frames if self._prompt is None else self._prompt(frames, prompts)

    def _project_positions(self, layers: list[Layer], frames: int, dtype: torch.dtype) -> list[Relative]:
        """Every layer's projected sinusoids of the distances a chunk can meet, as `Relative` says."""
        left = (ring_chunks(self._config.left_context, frames) - 1) * frames
        d_model = self._config.d_model
        distance = torch.arange(left + frames - 1, -frames, -1, dtype=torch.float32)[:, None]
        rate = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float32) * -(math.log(10000.0) / d_model))
        table = torch.stack([torch.sin(distance * rate), torch.cos(distance * rate)], dim=-1).flatten(1)
        table = table.to(self._device, dtype)
        shape = (-1, self._config.heads, self._config.d_head)
        return [
            Relative(layer.bias_u, layer.bias_v, (table @ layer.positions.T).view(shape).permute(1, 2, 0).contiguous())
            for layer in layers
        ]
