"""One leg's chain: frames in their codec -> 16 kHz -> recogniser -> segments -> records. See `pipeline.call`."""

from pipeline.bots import AttendedCall, Bot, BotPlugin, Bots, BotsConfig, BotStats, load_bot
from pipeline.call import Call, CallInfo, Leg, LegOptions, LegStats, PipelineStats
from pipeline.calls import Calls
from pipeline.config import PipelineConfig
from pipeline.errors import (
    AudioFileError,
    AudioFileNotFound,
    BotMisconfigured,
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
    "AttendedCall",
    "AudioFileError",
    "AudioFileNotFound",
    "AudioFrame",
    "AudioOutlet",
    "Bot",
    "BotMisconfigured",
    "BotPlugin",
    "BotStats",
    "Bots",
    "BotsConfig",
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
    "load_bot",
]
