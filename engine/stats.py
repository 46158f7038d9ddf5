"""What the engine counts, in a module of its own: a gateway reads it without loading the model's libraries."""

from dataclasses import dataclass


@dataclass(slots=True)
class EngineStats:
    """Counted since the engine was made. `step_s`: seconds spent stepping; `rows`: chunks stepped, clones included.

    `restarts`: times that an engine in a process of its own was started or connected to anew.
    """

    steps: int = 0
    rows: int = 0
    step_s: float = 0.0
    opened: int = 0
    refused: int = 0
    skipped_samples: int = 0
    restarts: int = 0
