"""What the GPU kernels take of a multiprocessor, by compiling them for GPUs that need not be there.

    python -m benchmarks.kernel_resources

Prints registers, spilled bytes and shared memory of every kernel, latency class and GPU generation, for the released
dimensions in bfloat16. Last line: JSON.
"""

import json
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.dimensions import RELEASED
from engine.cuda import ring_attention as kernels
from engine.model.state import ring_chunks

CAPABILITIES = (80, 90, 100)
"""A100, H100 and H200, B200."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one program: registers a thread, bytes a thread that did not fit them, bytes of shared memory."""

    registers: int
    spilled_bytes: int
    shared_bytes: int


def ring_attention(capability: int, frames: int) -> Resources:
    """The attention kernel of the class with this many frames a chunk."""
    encoder = RELEASED.encoder
    count = ring_chunks(encoder.left_context, frames)
    constants = kernels.ring_attention_constants(frames, count, encoder.d_head, exact=False)
    kernel = kernels.ring_attention_kernel
    types = dict.fromkeys(("qkv", "bias_u", "bias_v", "table", "keys", "values", "out"), "*bf16")
    types |= {"slots": "*i64", "chunks": "*i64", "heads": "i32"}
    names: list[str] = kernel.arg_names
    source = ASTSource(
        kernel,
        signature={name: types.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        # As at a launch, where Triton sees that all tensors begin at multiples of 16 bytes.
        attrs={
            (at,): [["tt.divisibility", 16]] for at, name in enumerate(names) if types.get(name, "").startswith("*")
        },
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=kernels.OPTIONS)
    registers, spilled = _usage(compiled.asm["cubin"])
    return Resources(registers, spilled, int(compiled.metadata.shared))


def _usage(cubin: bytes) -> tuple[int, int]:
    """Registers and stack bytes a thread of a compiled kernel, by the tool that comes with Triton."""
    shipped = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    tool = str(shipped) if shipped.exists() else shutil.which("cuobjdump")
    if tool is None:
        raise SystemExit("no cuobjdump here: it comes with Triton's wheel and with the CUDA toolkit")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        listing = subprocess.run([tool, "-res-usage", file.name], check=True, capture_output=True, text=True).stdout
    fields = dict(field.split(":") for field in listing.splitlines()[-1].split() if ":" in field)
    return int(fields["REG"]), int(fields["STACK"]) + int(fields["LOCAL"])


def main() -> None:
    result: dict[str, object] = {"benchmark": "kernel_resources", "triton": triton.__version__}
    print("kernel            GPU   frames  registers  spilled  shared bytes")
    for capability in CAPABILITIES:
        for frames in RELEASED.chunk_frames:
            used = ring_attention(capability, frames)
            print(
                f"ring_attention  sm_{capability:<4} {frames:>4} {used.registers:>10} {used.spilled_bytes:>8} "
                f"{used.shared_bytes:>13}",
                flush=True,
            )
            result[f"ring_attention_sm{capability}_{frames}"] = asdict(used)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
