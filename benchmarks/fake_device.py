"""A GPU step without a GPU: the code runs on tensors that have a shape, a type and a device, and no numbers.

Whatever would wait for the device fails, because there is no number to wait for, and every operator can be counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from engine.api import Precision
from engine.checkpoint.weights import Checkpoint, WeightReader
from engine.config import ModelConfig
from engine.cuda.ring_attention import fused_attention
from engine.cuda.step import StaticStep
from engine.model.attention import Attention
from engine.model.model import Model
from engine.model.parts import Parts
from engine.precision import DTYPES

GPU = torch.device("cuda")

_FREE = {"aten.empty", "aten.empty_like", "aten.new_empty", "aten.empty_strided", "prim.device", "aten._unsafe_view"}
"""Operators that are no work for the device, beside views."""


class _Shapes(WeightReader):
    """Weights of any checkpoint: shapes only."""

    def __init__(self, config: ModelConfig, precision: Precision) -> None:
        super().__init__(Checkpoint("nowhere", config, {}, cast(Any, None)), GPU, precision)

    def under(self, prefix: str) -> "_Shapes":  # noqa: ARG002
        return self

    def in_float32(self) -> "_Shapes":
        return _Shapes(self._checkpoint.config, Precision.FLOAT32)

    def take(self, name: str, *shape: int) -> Tensor:  # noqa: ARG002
        return torch.empty(shape, device=self._device, dtype=DTYPES[self.precision])


@dataclass(frozen=True, slots=True)
class Counts:
    """What a launch sequence gives the device to do. operators: by name, how often; uploads, downloads: copies from and
    to the host."""

    operators: Mapping[str, int]
    uploads: int
    downloads: int

    @property
    def launches(self) -> int:
        """Operators, copies included. Each is one kernel or, for some, a few."""
        return sum(self.operators.values())


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: Counter[str] = Counter()
        self.ways: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func).rpartition(".")[0]
        taken = [value for value in args if isinstance(value, Tensor)]
        # `to`, `contiguous` and `reshape` are views only where they find nothing to do.
        viewed = func.is_view and (
            not isinstance(result, Tensor)
            or any(
                torch._C._is_alias_of(result, tensor)  # type: ignore[attr-defined]
                for tensor in taken
            )
        )
        if not viewed and name not in _FREE:
            self.operators[name] += 1
            if isinstance(result, Tensor):
                sources = taken[1:] if name == "aten.copy_" else taken
                for device in {tensor.device.type for tensor in sources if tensor.ndim} - {result.device.type}:
                    self.ways[device, result.device.type] += 1
        return result


def count(
    config: ModelConfig,
    frames: int,
    rows: int,
    slots: int,
    attention: Attention = fused_attention,
    change: Callable[[Model], None] = lambda _: None,
) -> tuple[Counts, Counts]:
    """The step and the continuation of a class in bfloat16: what they give a GPU to do for a batch of `rows`.

    change: alters the model before. Raises an error of torch where the step waits for the device.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        model = Model(config, _Shapes(config, Precision.BFLOAT16), GPU, Parts(attention=attention))
        change(model)
        step = StaticStep(model, model.allocate(slots + 1, frames), frames, rows)
        found = []
        for part in (step.launch, step.proceed):
            with _Counter() as counter:
                part(rows)
            uploads = sum(number for (source, _), number in counter.ways.items() if source == "cpu")
            downloads = sum(number for (source, _), number in counter.ways.items() if source == "cuda")
            found.append(Counts(dict(counter.operators), uploads, downloads))
    return found[0], found[1]
