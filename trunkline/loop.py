"""The event loop of every process that serves calls."""

import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

FULL_COLLECTION_EVERY = 100
"""Collections of the middle generation for one of all objects, which holds the loop up for 70 ms with a thousand calls:
with Python's ten it may come every five hundred calls, of 129 objects each (docs/decisions/connectors.md)."""

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """On uvloop, with everything loaded so far kept out of the garbage collector's rounds, and few of those that go
    over everything."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_COLLECTION_EVERY)
    return uvloop.run(work)
