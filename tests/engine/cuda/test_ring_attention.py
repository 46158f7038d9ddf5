"""The GPU kernels where there is no GPU: in Triton's interpreter, and compiled for the GPUs they are meant for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with torch on Linux only")

from benchmarks import kernel_resources

HERE = Path(__file__).parent


def test_kernels_equal_torch_in_the_interpreter() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "interpreted.py")],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("capability", kernel_resources.CAPABILITIES)
@pytest.mark.parametrize("frames", [1, 14])
def test_kernels_compile_without_spills(capability: int, frames: int) -> None:
    used = kernel_resources.ring_attention(capability, frames)
    assert used.spilled_bytes == 0
    assert 0 < used.registers < 255
    assert used.shared_bytes <= 48 * 1024, "more needs to be asked for, and leaves room for fewer programs"
