"""Checkpoints and references are made once per test session: NeMo takes most of its time to be imported."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.engine.checkpoints import Made, make
from tests.engine.oracle import NemoReference
from tests.engine.shapes import Shape

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


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The shipped demo model."""
    import engine

    return Path(engine.__file__).parent / "models" / "pocket.nemo"


@pytest.fixture(scope="session")
def demo_reference(demo_path: Path) -> NemoReference:
    return NemoReference.restore(demo_path)
