"""One leg's chain: frames in their codec -> 16 kHz -> recogniser -> segments -> records. See `pipeline.call`."""

from pipeline.call import Call, CallInfo, Leg, LegOptions, LegStats, PipelineStats
from pipeline.calls import Calls
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
    NotPlayed,
    NoWayBack,
    PipelineError,
    PlaybackError,
    PlaybackFull,
)
from pipeline.frames import AudioFrame, Encoding
from pipeline.playback import AudioOutlet, Heard, Utterance

__all__ = [
    "AudioFileError",
    "AudioFileNotFound",
    "AudioFrame",
    "AudioOutlet",
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
    "Heard",
    "Leg",
    "LegOptions",
    "LegStats",
    "NoWayBack",
    "NotAudio",
    "NotPlayed",
    "PipelineConfig",
    "PipelineError",
    "PipelineStats",
    "PlaybackError",
    "PlaybackFull",
    "Utterance",
]
