"""Streaming speech recognition of many sessions on one device.

Chain of a session's audio: `AudioBuffer` -> `Scheduler` (batch) -> `LogMel` -> `Encoder` -> `Decoder` -> `Transcript`
-> `Hypothesis`. Knows nothing of telephony.
"""

from engine.engine import Engine
from engine.session import (
    AUTO,
    Hypothesis,
    LanguageSource,
    Recognizer,
    Session,
    SessionOptions,
    StepEvents,
    Word,
)

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
