"""Trunkline: live, self-hosted transcripts of every phone call.

What users import comes from here, loaded when first asked for; all other modules are internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trunkline.version import __version__

if TYPE_CHECKING:
    from engine import Engine, Hypothesis, SessionOptions, StepEvents, Word
    from sinks import Sink

__all__ = ["Engine", "Hypothesis", "SessionOptions", "Sink", "StepEvents", "Word", "__version__"]

_HOMES = {
    "Engine": "engine",
    "Hypothesis": "engine",
    "SessionOptions": "engine",
    "StepEvents": "engine",
    "Word": "engine",
    "Sink": "sinks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trunkline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
