"""The engine in a process of its own, next to its gateways: the same interface, messages batched per tick.

Gateway: `RemoteEngine` -> `Client` -> frames; each session has a `ReplayLog` of what was asked and a
`PublishedTranscript` of what came of it.
Engine process: frames -> `Exchange` -> `Engine`. Nothing here needs torch but the process that runs the model.
"""

from engine.remote.engine import RemoteEngine
from engine.remote.link import Remote, Spawned, parse_address

__all__ = ["Remote", "RemoteEngine", "Spawned", "parse_address"]
