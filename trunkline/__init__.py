"""Trunkline: live, self-hosted transcripts of every phone call.

What users import comes from here, loaded when first asked for; all other modules are internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trunkline.version import __version__

if TYPE_CHECKING:
    from engine import Engine, Hypothesis, SessionOptions, StepEvents, Word
    from pipeline import (
        AttendedCall,
        AudioFrame,
        Bot,
        BotMisconfigured,
        CallEnded,
        CallInfo,
        Encoding,
        Heard,
        LegOptions,
        NoWayBack,
        PlaybackError,
        Utterance,
    )
    from pipeline.errors import EngineFull
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
    from sinks.record import AnyRecord, CallRecord, DtmfRecord, SpeakerRole, TranscriptRecord, TurnRecord

__all__ = [
    "AnyRecord",
    "AttendedCall",
    "AudioFrame",
    "Bot",
    "BotMisconfigured",
    "CallEnded",
    "CallInfo",
    "CallRecord",
    "DtmfRecord",
    "Encoding",
    "Engine",
    "EngineFull",
    "Heard",
    "Hypothesis",
    "LegOptions",
    "NoWayBack",
    "PipecatBot",
    "PlaybackError",
    "SessionOptions",
    "Sink",
    "SinkMisconfigured",
    "SinkRejected",
    "SinkUnavailable",
    "SpeakerRole",
    "StepEvents",
    "TranscriptRecord",
    "TrunklineSTT",
    "TrunklineSTTService",
    "TrunklineTranscripts",
    "TrunklineTransport",
    "TurnRecord",
    "Utterance",
    "Word",
    "__version__",
    "as_builtins",
    "encode",
    "is_partial",
]

_HOMES = {
    "Engine": "engine",
    "EngineFull": "pipeline.errors",
    "Hypothesis": "engine",
    "SessionOptions": "engine",
    "StepEvents": "engine",
    "Word": "engine",
    "AttendedCall": "pipeline",
    "AudioFrame": "pipeline",
    "Bot": "pipeline",
    "BotMisconfigured": "pipeline",
    "CallEnded": "pipeline",
    "CallInfo": "pipeline",
    "Encoding": "pipeline",
    "Heard": "pipeline",
    "LegOptions": "pipeline",
    "NoWayBack": "pipeline",
    "PlaybackError": "pipeline",
    "Utterance": "pipeline",
    "PipecatBot": "pipeline.pipecat.bot",
    "TrunklineSTT": "pipeline.livekit.stt",
    "TrunklineSTTService": "pipeline.pipecat.stt",
    "TrunklineTranscripts": "pipeline.pipecat.transcripts",
    "TrunklineTransport": "pipeline.pipecat.transport",
    "AnyRecord": "sinks.record",
    "CallRecord": "sinks.record",
    "DtmfRecord": "sinks.record",
    "SpeakerRole": "sinks.record",
    "TranscriptRecord": "sinks.record",
    "TurnRecord": "sinks.record",
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
