"""Trunkline: live, self-hosted transcripts of every phone call.

What users import comes from here, loaded when first asked for; all other modules are internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trunkline.version import __version__

if TYPE_CHECKING:
    from engine import Engine, Hypothesis, SessionOptions, StepEvents, Word
    from pipeline.livekit.stt import TrunklineSTT
    from pipeline.pipecat.bot import PipecatBot
    from pipeline.pipecat.stt import TrunklineSTTService
    from pipeline.pipecat.transcripts import TrunklineTranscripts
    from pipeline.pipecat.transport import TrunklineTransport
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
    "PipecatBot",
    "SessionOptions",
    "Sink",
    "SinkMisconfigured",
    "SinkRejected",
    "SinkUnavailable",
    "StepEvents",
    "TrunklineSTT",
    "TrunklineSTTService",
    "TrunklineTranscripts",
    "TrunklineTransport",
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
    "PipecatBot": "pipeline.pipecat.bot",
    "TrunklineSTT": "pipeline.livekit.stt",
    "TrunklineSTTService": "pipeline.pipecat.stt",
    "TrunklineTranscripts": "pipeline.pipecat.transcripts",
    "TrunklineTransport": "pipeline.pipecat.transport",
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
