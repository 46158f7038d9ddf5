"""The engine that the configuration names: in this process, in one of its own, or in one that runs already."""

from typing import TYPE_CHECKING, Any

from engine.remote import RemoteEngine
from trunkline.config import EngineConfig
from trunkline.errors import ConfigError

if TYPE_CHECKING:
    from engine.engine import Engine

_SESSIONS = 64
"""Slots of an engine that serves no calls, where its user does not say."""


def load_engine(config: EngineConfig, *, serving: bool = False, chunk_ms: int | None = None) -> "Engine":
    """The engine of the configured checkpoint, in this process, not started yet. `serving`: it is for calls, which it
    may have to refuse. `chunk_ms`: of the sessions to come, if known. Raises `CheckpointError`, `ConfigError`."""
    # The model's libraries take seconds and 200 MB: a server whose engine is in another process has none of it.
    import torch  # noqa: PLC0415

    from engine.engine import Engine  # noqa: PLC0415

    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"[engine] device = {config.device!r}, but there is no CUDA device here: use 'cpu'")
    settings = _settings(config, chunk_ms)
    if not serving:
        settings |= {"admission": False, "max_sessions": config.max_sessions or _SESSIONS}
    return Engine.load(**settings)


def find_engine(config: EngineConfig, chunk_ms: int | None = None) -> "Engine | RemoteEngine":
    """The engine where `process` says, not started yet. `chunk_ms`: of the sessions to come, which an engine of our own
    measures for its admission. Raises `CheckpointError`, `ConfigError`, `EngineUnavailable`."""
    if config.process == "in-process":
        return load_engine(config, serving=True, chunk_ms=chunk_ms)
    if config.process == "spawn":
        return RemoteEngine.spawn(_settings(config, chunk_ms), replay_s=config.replay_s)
    return RemoteEngine.at(config.process, replay_s=config.replay_s)


def _settings(config: EngineConfig, chunk_ms: int | None) -> dict[str, Any]:
    """The arguments of `Engine.load`."""
    return {
        "checkpoint": config.checkpoint,
        "device": config.device,
        "precision": config.precision,
        "max_sessions": config.max_sessions,
        "threads": config.threads,
        "admission": config.admission,
        "reserve": [] if chunk_ms is None else [chunk_ms],
    }
