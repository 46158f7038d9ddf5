"""What the model is put together from, where several parts make the same numbers: torch's own operators here, kernels
of a CPU (`engine.cpu.parts`) or a GPU (`engine.cuda.ring_attention`) elsewhere. The executor chooses and passes them
in, so the model knows none of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import ModelConfig
from engine.model.attention import Attention, Prepare, Relative, torch_attention
from engine.model.conformer import ConformerLayers
from engine.model.decoder import Lstm, MakePredictionNetwork
from engine.model.features import MakeMelBank, TorchMelBank
from engine.model.layer import Layer
from engine.model.linear import MakeLinear, float_linear
from engine.model.state import Rows, SlotState
from engine.model.subsampling import Subsampling


class Stage(Protocol):
    """A stage of the encoder: brings the rows' state forward."""

    def __call__(self, x: Tensor, rows: Rows, state: SlotState, /) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """How each part is made. The defaults run everywhere."""

    linear: MakeLinear = float_linear
    mel_bank: MakeMelBank = TorchMelBank
    subsampling: Callable[[ModelConfig, WeightReader, MakeLinear], Stage] = Subsampling
    layers: Callable[[list[Layer], Mapping[int, list[Relative]], Prepare], Stage] = ConformerLayers
    prediction: MakePredictionNetwork = Lstm
    attention: Attention = torch_attention
