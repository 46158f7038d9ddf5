"""The shipped model, loaded once."""

import pytest

from engine.checkpoint import load_checkpoint
from engine.weights import Checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return load_checkpoint()
