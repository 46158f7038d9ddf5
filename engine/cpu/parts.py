"""The model's parts in kernels of the CPU, for 8-bit weights."""

from collections.abc import Mapping

from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import ModelConfig
from engine.cpu.features import CpuMelBank
from engine.cpu.layers import Int8Layers
from engine.cpu.predictor import CpuPredictor
from engine.cpu.product import Int8Linear
from engine.cpu.subsampling import Int8Subsampling
from engine.model.attention import Prepare, Relative
from engine.model.decoder import LstmWeights
from engine.model.layer import Layer
from engine.model.linear import MakeLinear
from engine.model.parts import Parts


def _subsampling(config: ModelConfig, weights: WeightReader, _linear: MakeLinear) -> Int8Subsampling:
    return Int8Subsampling(config, weights)


def _layers(layers: list[Layer], relative: Mapping[int, list[Relative]], _prepare: Prepare) -> Int8Layers:
    return Int8Layers(layers, relative)


def _prediction(lstm: list[LstmWeights], out: tuple[Tensor, Tensor], _linear: MakeLinear) -> CpuPredictor:
    return CpuPredictor(lstm, out)


INT8 = Parts(linear=Int8Linear, mel_bank=CpuMelBank, subsampling=_subsampling, layers=_layers, prediction=_prediction)
"""The prediction network is in float32 and the features are, each with sums in one order (docs/decisions/engine.md)."""
