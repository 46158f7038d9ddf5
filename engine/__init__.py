"""Streaming speech recognition of many sessions on one device.

Chain of a session's audio: `AudioBuffer` -> `Scheduler` (batch) -> `LogMel` -> `Encoder` -> `Decoder` -> `Transcript`
-> `Hypothesis`. Knows nothing of telephony. `Engine` is loaded when first asked for: the messages need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.api import (
    AUTO,
    Hypothesis,
    LanguageSource,
    Recognizer,
    Session,
    SessionOptions,
    StepEvents,
    Word,
)

if TYPE_CHECKING:
    from engine.engine import Engine

__all__ = [
    "AUTO",
    "Engine",
    "Hypothesis",
    "LanguageSource",
    "Recognizer",
    "Session",
    "SessionOptions",
    "StepEvents",
    "Word",
]


def __getattr__(name: str) -> Any:
    if name != "Engine":
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return import_module("engine.engine").Engine
