"""Errors of the engine.

EngineError
├── CheckpointError          the model cannot be used; ends the process
│   ├── CheckpointNotFound   no such file, folder or cached id
│   ├── DamagedCheckpoint    unreadable, incomplete or unsafe file
│   └── UnsupportedCheckpoint   a config value this engine does not run
├── EngineFull               no slot is free, or there is no time for one more session (retryable)
├── UnknownLocale            the checkpoint has no prompt for this language
├── UnknownChunk             a latency class the checkpoint or this engine does not have
├── UnsupportedPrecision     int8 where the machine has no 8-bit products
├── EngineUnavailable        the engine's process cannot be started or reached (retryable)
├── MalformedFrame           the peer at the other end of an engine's connection sent what is no message
└── SessionClosed            the handle is of a session that has ended
"""


class EngineError(Exception):
    """Base of all errors of the engine. The message is one line: what happened, where, what to do."""

    retryable: bool = False


class CheckpointError(EngineError):
    pass


class CheckpointNotFound(CheckpointError):
    pass


class DamagedCheckpoint(CheckpointError):
    pass


class UnsupportedCheckpoint(CheckpointError):
    pass


class EngineFull(EngineError):
    retryable = True


class UnknownLocale(EngineError):
    pass


class UnknownChunk(EngineError):
    pass


class UnsupportedPrecision(EngineError):
    pass


class EngineUnavailable(EngineError):
    retryable = True


class MalformedFrame(EngineError):
    pass


class SessionClosed(EngineError):
    pass
