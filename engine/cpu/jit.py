"""How the CPU's kernels are compiled (Numba), and the types they speak of."""

import contextlib
import functools
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F32, I32, U8, U16, U32 = np.float32, np.int32, np.uint8, np.uint16, np.uint32
TINY = F32(1e-20)
"""Keeps rows of zeros from being divided by zero."""

_HERE = Path(__file__).parent

_LAYER = _HERE.parent / "model" / "layer.py"
"""Its list of a layer's fields says at which place the conformer's kernel finds each."""

Array = NDArray[np.float32]
Halves = NDArray[np.uint16]
Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def plain(value: Any) -> Any:
    """A named tuple as a plain one, all the way down: Numba takes it several times faster from Python. Kernels unpack
    it in the order of its fields."""
    return tuple(plain(one) for one in value) if isinstance(value, tuple) else value


def kernel(function: Kernel) -> Kernel:
    """What Python calls. Compiled at the first call and kept on disk, where Numba finds a folder that it may write
    to."""
    return cast(Kernel, _kept(inner(function)))


def inner(function: Kernel) -> Kernel:
    """What kernels call. Division by zero gives infinity, which lets loops become vectors."""
    return cast(Kernel, numba.njit(fastmath=True, nogil=True, error_model="numpy")(function))


def exact_kernel(function: Kernel) -> Kernel:
    """What Python calls, computed as it is written: no sum is reordered and no product fused with a sum, so a row has
    the same bits beside any others and on every CPU. Loops become vectors where each output has a sum of its own.
    Compiled at the first call and kept on disk."""
    return cast(Kernel, _kept(exact_inner(function)))


def exact_inner(function: Kernel) -> Kernel:
    """What exact kernels call."""
    return cast(Kernel, numba.njit(nogil=True, error_model="numpy")(function))


def _kept(compiled: Any) -> Any:
    with contextlib.suppress(RuntimeError):  # neither beside this file nor in the user's folder
        compiled.enable_caching()
        kept = compiled._cache._cache_file
        kept._source_stamp = kept._source_stamp, _stamp()
    return compiled


@functools.cache
def _stamp() -> tuple[tuple[str, bytes], ...]:
    """What a compiled kernel depends on. Numba itself looks at the file of the kernel alone, not at those of what it
    calls, and would go on with what was compiled before they changed. Digests, not times: the layers of an image round
    those."""
    sources = [*sorted(_HERE.glob("*.py")), _LAYER]
    return tuple((one.name, sha256(one.read_bytes()).digest()) for one in sources)


@inner
def share(count: int, part: int, parts: int) -> range:
    """Which of `count` rows are this thread's."""
    return range(count * part // parts, count * (part + 1) // parts)
