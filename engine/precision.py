"""Which numbers a model computes in, on what."""

import functools

import llvmlite.binding as llvm
import torch
from numba.core import config

from engine.api import Precision

DTYPES = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.INT8: torch.float32,
}
"""Of everything that is not a weight of a product."""

RING_DTYPES = DTYPES | {Precision.INT8: torch.bfloat16}
"""Of cached keys and values, which a CPU reads from memory at every step: half the bytes, half the time."""


def default_precision(device: str) -> Precision:
    """The fastest that keeps the words (docs/decisions/engine.md)."""
    if device.startswith("cuda"):
        return Precision.BFLOAT16
    return Precision.INT8 if device == "cpu" and has_int8() else Precision.FLOAT32


def has_int8() -> bool:
    """Whether the 8-bit products run here: they are for x86 CPUs with AVX2."""
    return "avx2" in _cpu_features()


def has_vnni() -> bool:
    """Whether the CPU multiplies and adds 8-bit numbers in one instruction (AVX-512 VNNI)."""
    return "avx512vnni" in _cpu_features()


@functools.cache
def _cpu_features() -> frozenset[str]:
    """What kernels are compiled for: this CPU's features, or those that `NUMBA_CPU_FEATURES` names."""
    named: str | None = config.CPU_FEATURES  # type: ignore[attr-defined]
    if named is None:
        return frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)
    return frozenset(name[1:] for name in named.split(",") if name.startswith("+"))
