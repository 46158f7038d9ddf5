"""The shipped model, loaded once."""

import pytest

from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return load_checkpoint()
