"""What became of one call as its caller saw it."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class CallOutcome:
    """`key`: what names the call in the server's records. `placed_s`: since the test began. `setup_ms`: until it was
    answered, None where it was not. `refused`: why it never was. `broken`: why it did not last until we hung up.
    `packets`: sent, over all tracks; `played_s`: of the longest track. `behind_s`: the caller's own worst lateness."""

    key: str
    placed_s: float = 0.0
    setup_ms: float | None = None
    refused: str | None = None
    broken: str | None = None
    packets: int = 0
    played_s: float = 0.0
    behind_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.refused is None and self.broken is None


@dataclass(slots=True)
class CallOutcomes:
    """All calls of a test."""

    calls: list[CallOutcome] = field(default_factory=list)
    most_at_once: int = 0


class Caller(Protocol):
    """Places calls of one kind. `kind`: its name in the report; `setup`: what set-up time is measured between."""

    kind: str
    setup: str
    tracks: tuple[str, ...]

    async def start(self) -> None: ...

    def new_key(self) -> str:
        """A name for the next call, by which its records are found."""
        ...

    async def call(self, key: str, play_s: float) -> CallOutcome:
        """One call that plays so long and then hangs up; never raises for what a server does."""
        ...

    async def close(self) -> None: ...
