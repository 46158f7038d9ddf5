"""8-bit products against the same sums in whole numbers, and how threads share them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.cpu import openmp
from engine.cpu.dot import STEPS, ZERO
from engine.cpu.jit import kernel, plain
from engine.cpu.openmp import ALONE, Threads, all_threads, fork, take
from engine.cpu.product import Int8Linear, Weight, activation_rows, pack, product
from engine.precision import has_int8
from tests.services.avx2 import AVX2_ALONE

pytestmark = pytest.mark.skipif(not has_int8(), reason="needs an x86 CPU with AVX2")


@kernel
def multiply(threads: Threads, x: NDArray[np.uint8], weight: Weight, out: NDArray[np.float32]) -> None:
    product(threads, x, weight, out)


def of_threads(count: int) -> Threads:
    addresses = openmp._addresses()
    assert addresses is not None
    return ALONE if count == 1 else (*addresses, count)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1), (31, 6), (32, 64), (33, 127), (70, 4096)])
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 11, 12, 13, 24, 25, 61])
def test_sums_are_exact(rows: int, shape: tuple[int, int], threads: int) -> None:
    """Extremes among the numbers: sums of 4,096 products of the largest neither wrap nor saturate."""
    rng = np.random.default_rng(rows)
    outputs, inputs = shape
    weight = rng.choice([-127, -64, -1, 0, 1, 126, 127], shape).astype(np.float32)
    weight[:, 0] = 127  # so that weights are whole numbers of steps
    x = rng.integers(-STEPS, STEPS + 1, (rows, inputs))
    x[0], weight[0] = STEPS, 127
    x[-1], weight[-1] = -STEPS, 127
    given, out = activation_rows(rows, inputs), np.full((rows, outputs), np.nan, np.float32)
    given[:] = rng.integers(0, 256, given.shape)  # what stands after the inputs must not count
    given[:, :inputs] = x + ZERO
    multiply(of_threads(threads), given, plain(pack(torch.from_numpy(weight))), out)
    exact = x @ weight.astype(np.int64).T
    assert np.abs(out * STEPS - exact).max() <= 1e-6 * np.abs(exact).max()


def test_a_row_is_the_same_in_any_batch_and_for_any_number_of_threads() -> None:
    weight = Int8Linear(torch.randn(100, 130, generator=torch.Generator().manual_seed(1)), None)
    row = torch.randn(1, 130, generator=torch.Generator().manual_seed(2))
    alone = weight(row)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for rows in (1, 2, 7, 13, 40):
                batch = torch.cat([row, torch.randn(rows - 1, 130) * 100])
                assert torch.equal(weight(batch)[:1], alone)
    finally:
        torch.set_num_threads(before)


def test_a_cpu_without_vnni_has_a_coarser_product_that_does_not_overflow(tmp_path: Path) -> None:
    here = Path(__file__).parents[3]
    script = f"""
import sys
import pytest
from engine.cpu.dot import STEPS, VNNI, ZERO
assert (STEPS, ZERO, VNNI) == (63, 64, False)
tests = ["tests/engine/cpu/test_product.py", "-k", "exact or same", "-q", "--no-header", "-p", "no:cacheprovider"]
sys.exit(pytest.main(tests + ["--rootdir", {str(here)!r}, "--override-ini", "addopts="]))
"""
    environment = {**os.environ, **AVX2_ALONE, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=here, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "passed" in done.stdout


@kernel
def count_calls(
    threads: Threads, calls: NDArray[np.int64], taken: NDArray[np.int64], tickets: NDArray[np.int64]
) -> None:
    fork(threads, _count, (calls, taken, tickets))


@kernel
def _count(
    calls: NDArray[np.int64], taken: NDArray[np.int64], tickets: NDArray[np.int64], part: int, parts: int
) -> None:
    calls[part, parts] += 1
    at = take(tickets)
    while at < taken.shape[1]:
        taken[part, at] += 1
        at = take(tickets)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_thread_gets_its_part_and_every_ticket_is_taken_once(threads: int) -> None:
    calls, taken = np.zeros((8, 8), np.int64), np.zeros((8, 1000), np.int64)
    for _ in range(20):
        count_calls(of_threads(threads), calls, taken, np.zeros(1, np.int64))
    assert calls[:threads, threads].tolist() == [20] * threads
    assert calls.sum() == 20 * threads
    assert (taken.sum(axis=0) == 20).all()


def test_the_threads_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert all_threads() == of_threads(3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert all_threads() == ALONE


def test_without_torchs_openmp_kernels_run_on_the_calling_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(openmp, "_addresses", lambda: None)
    assert all_threads() == ALONE
