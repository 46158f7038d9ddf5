"""The settings by which numerical tests run as on a CPU with AVX2 alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.precision import has_int8
from tests.services.avx2 import AVX2_ALONE

HERE = Path(__file__).parents[2]

QUESTION = """
import numpy, threadpoolctl, torch
from engine.precision import has_int8, has_vnni
blas = {one["architecture"] for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"}
print(torch.backends.cpu.get_cpu_capability(), has_int8(), has_vnni(), *blas)
"""


@pytest.mark.skipif(not has_int8(), reason="needs an x86 CPU with AVX2")
def test_all_libraries_make_do_with_avx2() -> None:
    command = [sys.executable, "-m", "tests.services.avx2", "-c", QUESTION]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AVX2", "True", "False", "Haswell"]


def test_where_there_is_no_avx2_nothing_runs_and_it_is_said() -> None:
    environment = {**os.environ, **AVX2_ALONE, "NUMBA_CPU_FEATURES": "+sse2", "NUMBA_CPU_NAME": "x86-64"}
    command = [sys.executable, "-m", "tests.services.avx2", "-c", "print('ran')"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "this CPU has no AVX2: skipped\n"
