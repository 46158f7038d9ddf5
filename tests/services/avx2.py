"""Runs Python as on an x86 CPU with AVX2 and nothing later: `python -m tests.services.avx2 -m pytest ...`.

Each library that chooses among instruction sets is told to make do: OpenBLAS (numpy), ATen, MKL and oneDNN (torch),
Numba. What depends on the order of sums or on the width of a product shows on any machine then.
"""

import os
import sys

from engine.precision import has_int8

AVX2_ALONE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NUMBA_CPU_FEATURES": "+64bit,+cmov,+cx8,+cx16,+fxsr,+mmx,+popcnt,+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,"
    "+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe",
    "NUMBA_CPU_NAME": "haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


def main() -> None:
    if not has_int8():
        print("this CPU has no AVX2: skipped")
        return
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], {**os.environ, **AVX2_ALONE})


if __name__ == "__main__":
    main()
