"""What a test does whose service is not there."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """In CI (the environment variable `CI` is set) the test fails; elsewhere it is skipped and says why."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
