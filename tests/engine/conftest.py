"""Checkpoints and references are made once per test session: NeMo takes most of its time to be imported."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.checkpoint.find import DEMO_MODEL, load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from testing.checkpoints import Made, make
from testing.oracle import NemoReference
from testing.shapes import PLAIN, Shape

MakeCheckpoint = Callable[[Shape], Made]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small products are slower on several threads, and two test processes then fight for the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Maker of checkpoints with random weights; each shape is made once."""
    ready: dict[Shape, Made] = {}

    def get(shape: Shape) -> Made:
        if shape not in ready:
            ready[shape] = make(shape, tmp_path_factory.mktemp(shape.name))
        return ready[shape]

    return get


@pytest.fixture(scope="module")
def plain(made: MakeCheckpoint) -> Checkpoint:
    """A checkpoint of the plain shape."""
    return load_checkpoint(made(PLAIN).nemo)


@pytest.fixture(scope="module")
def plain_reference(made: MakeCheckpoint) -> NemoReference:
    """NeMo with the same weights."""
    return NemoReference(made(PLAIN).model)


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The shipped demo model."""
    return DEMO_MODEL


@pytest.fixture(scope="session")
def demo_reference(demo_path: Path) -> NemoReference:
    return NemoReference.restore(demo_path)


@pytest.fixture
def demo_engine() -> Engine:
    """With the shipped demo model."""
    return Engine.load(max_sessions=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that make checkpoints or ask a reference need NeMo or transformers."""
    for item in items:
        if {"made", "demo_reference"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.oracle)
