"""Weights of a checkpoint on one device: features, encoder and decoder as they follow one another in a step."""

import torch
from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.encoder import Encoder
from engine.model.features import LogMel
from engine.model.parts import Parts
from engine.model.state import Rows, SlotState
from engine.precision import RING_DTYPES


class Model:
    """What all latency classes share. The state of streams is the caller's.

    Raises `DamagedCheckpoint` for a weight that is missing or wrong, `UnsupportedCheckpoint` for one that has no use.
    """

    @torch.inference_mode()
    def __init__(self, config: ModelConfig, weights: WeightReader, device: torch.device, parts: Parts) -> None:
        self.config = config
        self.device = device
        self.dtype, self.ring_dtype = weights.dtype, RING_DTYPES[weights.precision]
        self.features = LogMel(self.config.features, weights, device, parts.mel_bank)
        self.encoder = Encoder(self.config, weights, device, parts)
        self.decoder = Decoder(self.config, weights, parts.linear, parts.prediction)
        weights.refuse_unused()

    def encode(self, audio: Tensor, rows: Rows, state: SlotState) -> Tensor:
        """Features and encoder of one chunk, before any prompt; brings the rows' state forward.

        audio: float32 (B, 1280 c + 241). Returns (B, c, d_model).
        """
        return self.encoder.step(self.features(audio, rows).to(self.dtype), rows, state)

    def allocate(self, slots: int, frames: int) -> SlotState:
        return SlotState.allocate(self.config, slots, frames, self.device, self.dtype, self.ring_dtype)
