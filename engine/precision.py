"""Which numbers a model computes in, on what."""

import torch

from engine.session import Precision

DTYPES = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.INT8: torch.float32,
}
"""Of everything that is not a weight of a product."""

RING_DTYPES = DTYPES | {Precision.INT8: torch.bfloat16}
"""Of cached keys and values, which a CPU reads from memory at every step: half the bytes, half the time."""


def default_precision(device: str) -> Precision:
    """The fastest that keeps the words (docs/decisions.md)."""
    if device.startswith("cuda"):
        return Precision.BFLOAT16
    return Precision.INT8 if device == "cpu" and has_int8() else Precision.FLOAT32


def has_int8() -> bool:
    """Whether this machine and this torch have the 8-bit products: FBGEMM's, which are for x86 CPUs with AVX2."""
    has_operator = hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32")
    has_avx = "AVX" in torch.backends.cpu.get_cpu_capability()
    return has_operator and has_avx and "fbgemm" in torch.backends.quantized.supported_engines


def has_vnni() -> bool:
    """Whether the CPU multiplies and adds 8-bit numbers in one instruction (AVX-512 VNNI)."""
    return bool(torch.cpu._is_vnni_supported())
