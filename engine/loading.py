"""Computing outside of the thread that steps."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def run_in_thread(work: Callable[[], Result]) -> Result:
    """Run `work`, which computes, on a thread that ends with it.

    OpenMP keeps a pool of threads for every thread that has computed, and lets them spin between operations only where
    all pools together have no more threads than there are CPUs. A pool of the caller's, beside that of the thread that
    steps, nearly doubles the time of a step (docs/decisions/engine.md).
    """
    with ThreadPoolExecutor(1, "loader") as loader:
        return loader.submit(work).result()
