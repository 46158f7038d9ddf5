"""What stands in float32 beside 8-bit weights has the same bits alone, in any batch and on any number of threads."""

import numpy as np
import pytest
import torch

from engine.config import FeatureConfig
from engine.cpu.features import CpuMelBank
from engine.cpu.predictor import CpuPredictor
from engine.model.features import mel_filterbank
from engine.precision import has_int8

pytestmark = pytest.mark.skipif(not has_int8(), reason="needs an x86 CPU with AVX2")

GUARD = 2.0**-24


class Network:
    """Random weights of a prediction network, and torch's own for the same."""

    def __init__(self, size: int, layers: int, outputs: int) -> None:
        torch.manual_seed(size + layers)
        self.oracle = torch.nn.LSTM(size, size, layers)
        self.out = torch.nn.Linear(size, outputs)
        self.size, self.layers = size, layers

    def predictor(self) -> CpuPredictor:
        lstm = [
            (
                getattr(self.oracle, f"weight_ih_l{i}").detach(),
                getattr(self.oracle, f"weight_hh_l{i}").detach(),
                (getattr(self.oracle, f"bias_ih_l{i}") + getattr(self.oracle, f"bias_hh_l{i}")).detach(),
            )
            for i in range(self.layers)
        ]
        return CpuPredictor(lstm, (self.out.weight.detach(), self.out.bias.detach()))

    def rows(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x, hidden, cell; among them numbers that drive gates to their ends."""
        x, hidden, cell = torch.randn(count, self.size), *torch.randn(2, count, self.layers, self.size)
        x[0] *= 1000
        return x, hidden, cell


@pytest.mark.parametrize(("size", "layers", "outputs"), [(64, 1, 96), (130, 2, 70), (640, 2, 640), (7, 3, 5)])
def test_the_prediction_network_is_torchs(size: int, layers: int, outputs: int) -> None:
    network = Network(size, layers, outputs)
    x, hidden, cell = network.rows(5)
    with torch.inference_mode():
        found = network.predictor()(x, hidden, cell)
        past = tuple(one.double().transpose(0, 1).contiguous() for one in (hidden, cell))
        y, (new_hidden, new_cell) = network.oracle.double()(x.double()[None], past)
        expected = new_hidden.transpose(0, 1), new_cell.transpose(0, 1), network.out.double()(y[0])
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), its, atol=1e-4, rtol=0)  # sums of numbers in the thousands
        torch.testing.assert_close(mine[1:].double(), its[1:], atol=3e-6, rtol=0)


@pytest.mark.parametrize("size", [64, 130, 640])
def test_a_prediction_is_the_same_in_any_batch_and_on_any_number_of_threads(size: int) -> None:
    network = Network(size, 2, size)
    predictor, (x, hidden, cell) = network.predictor(), network.rows(40)
    singles = [predictor(x[i, None], hidden[i, None], cell[i, None]) for i in range(40)]
    alone = [torch.cat(column) for column in zip(*singles, strict=True)]
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for first, last in ((0, 2), (3, 10), (1, 34), (0, 40)):
                found = predictor(x[first:last], hidden[first:last], cell[first:last])
                assert all(mine.equal(its[first:last]) for mine, its in zip(found, alone, strict=True))
    finally:
        torch.set_num_threads(before)


def spectra(streams: int, frames: int) -> torch.Tensor:
    """From silence to full scale."""
    torch.manual_seed(streams)
    loudness = torch.logspace(-8, 1, streams * frames).view(streams, frames, 1, 1)
    made = torch.randn(streams, frames, 257, 2) * loudness
    made[0, 0] = 0
    return made


@pytest.mark.parametrize("mels", [80, 128])
def test_log_mel_is_torchs(mels: int) -> None:
    bank = torch.from_numpy(mel_filterbank(FeatureConfig(mels=mels)))
    given = spectra(3, 16)
    exact = torch.log(given.double().square().sum(-1) @ bank.double().T + GUARD)
    torch.testing.assert_close(CpuMelBank(bank, GUARD)(given), exact.float(), atol=2e-6, rtol=1e-6)


def test_a_bank_with_an_empty_filter_gives_the_guard() -> None:
    bank = torch.zeros(2, 257)
    bank[1, 256] = 1
    found = CpuMelBank(bank, GUARD)(torch.ones(1, 1, 257, 2))[0, 0]
    assert found.tolist() == pytest.approx([np.log(GUARD), np.log(2)], abs=1e-6)


def test_log_mel_is_the_same_in_any_batch() -> None:
    bank = CpuMelBank(torch.from_numpy(mel_filterbank(FeatureConfig(mels=128))), GUARD)
    given = spectra(33, 8)
    alone = torch.cat([bank(given[i, None]) for i in range(33)])
    for first, last in ((0, 2), (0, 3), (5, 12), (0, 33)):
        assert bank(given[first:last]).equal(alone[first:last])
