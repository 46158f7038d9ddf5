"""Trunkline: live, self-hosted transcripts of every phone call.

What users import comes from here, loaded when first asked for; all other modules are internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trunkline.version import __version__

if TYPE_CHECKING:
    from engine import Engine, Hypothesis, SessionOptions, StepEvents, Word
    from sinks import (
        Sink,
        SinkMisconfigured,
        SinkRejected,
        SinkUnavailable,
        as_builtins,
        encode,
        is_partial,
    )
    from sinks.record import AnyRecord

__all__ = [
    "AnyRecord",
    "Engine",
    "Hypothesis",
    "SessionOptions",
    "Sink",
    "SinkMisconfigured",
    "SinkRejected",
    "SinkUnavailable",
    "StepEvents",
    "Word",
    "__version__",
    "as_builtins",
    "encode",
    "is_partial",
]

_HOMES = {
    "Engine": "engine",
    "Hypothesis": "engine",
    "SessionOptions": "engine",
    "StepEvents": "engine",
    "Word": "engine",
    "AnyRecord": "sinks.record",
    "Sink": "sinks",
    "SinkMisconfigured": "sinks",
    "SinkRejected": "sinks",
    "SinkUnavailable": "sinks",
    "as_builtins": "sinks",
    "encode": "sinks",
    "is_partial": "sinks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trunkline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
