"""Errors of the pipeline.

PipelineError
├── CallError                the call or leg cannot be had; the connector answers its peer
│   ├── DuplicateCall        a call of this id is running
│   ├── DuplicateLeg         the call has a leg of this name
│   ├── CallEnded            the call is over or ending
│   ├── CallsFull            the configured number of calls is running (retryable)
│   └── Draining             the server takes no new calls (retryable)
├── BotMisconfigured         a bot that the configuration names cannot be made
├── PlaybackError            nothing, or nothing more, can be said on a leg
│   ├── NoWayBack            its connector only listens
│   ├── PlaybackFull         too much audio waits already (retryable)
│   └── NotPlayed            the peer takes what is sent to it and plays nothing
├── AudioFileError           a file the user named cannot be read as audio
│   ├── AudioFileNotFound    no such file, or a folder that holds none
│   ├── AudioFileUnreadable  it is there, but the system does not let it be read
│   ├── NotAudio             not a format that can be decoded, or damaged
│   └── TooManyChannels      more channels than are transcribed at the same time
└── UnknownRawFormat         the description of audio without a header makes no sense

And those of the engine that opening a leg may raise, for who knows the pipeline alone.
"""

from engine.errors import EngineError, EngineFull, UnknownLocale

__all__ = [
    "AudioFileError",
    "AudioFileNotFound",
    "AudioFileUnreadable",
    "BotMisconfigured",
    "CallEnded",
    "CallError",
    "CallsFull",
    "Draining",
    "DuplicateCall",
    "DuplicateLeg",
    "EngineError",
    "EngineFull",
    "NoWayBack",
    "NotAudio",
    "NotPlayed",
    "PipelineError",
    "PlaybackError",
    "PlaybackFull",
    "TooManyChannels",
    "UnknownLocale",
    "UnknownRawFormat",
]


class PipelineError(Exception):
    """Base of all errors of the pipeline. The message is one line that says what to do."""

    retryable: bool = False


class CallError(PipelineError):
    pass


class DuplicateCall(CallError):
    pass


class DuplicateLeg(CallError):
    pass


class CallEnded(CallError):
    pass


class CallsFull(CallError):
    retryable = True


class Draining(CallError):
    retryable = True


class BotMisconfigured(PipelineError):
    """A bot that the configuration names cannot be made; in one line."""


class PlaybackError(PipelineError):
    pass


class NoWayBack(PlaybackError):
    pass


class PlaybackFull(PlaybackError):
    retryable = True


class NotPlayed(PlaybackError):
    pass


class AudioFileError(PipelineError):
    pass


class AudioFileNotFound(AudioFileError):
    pass


class AudioFileUnreadable(AudioFileError):
    pass


class NotAudio(AudioFileError):
    pass


class TooManyChannels(AudioFileError):
    pass


class UnknownRawFormat(PipelineError):
    pass
