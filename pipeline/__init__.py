"""One leg's chain: frames in their codec -> 16 kHz -> recogniser -> segments -> records. See `pipeline.call`."""

from pipeline.call import Call, CallInfo, Calls, Leg, LegOptions, LegStats, PipelineStats
from pipeline.config import PipelineConfig
from pipeline.errors import (
    AudioFileError,
    AudioFileNotFound,
    CallEnded,
    CallError,
    CallsFull,
    Draining,
    DuplicateCall,
    DuplicateLeg,
    NotAudio,
    PipelineError,
)
from pipeline.frames import AudioFrame, Encoding

__all__ = [
    "AudioFileError",
    "AudioFileNotFound",
    "AudioFrame",
    "Call",
    "CallEnded",
    "CallError",
    "CallInfo",
    "Calls",
    "CallsFull",
    "Draining",
    "DuplicateCall",
    "DuplicateLeg",
    "Encoding",
    "Leg",
    "LegOptions",
    "LegStats",
    "NotAudio",
    "PipelineConfig",
    "PipelineError",
    "PipelineStats",
]
