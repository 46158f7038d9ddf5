"""Which slot of which latency class holds whom. Host bookkeeping only; the state is in `engine.model.state`."""

from dataclasses import dataclass

from engine.errors import UnknownChunk

_CLONE_SLOTS = 4
_SESSIONS_PER_CLONE = 8
"""Slots of each class kept back for flushing clones: four, and one for each eight sessions where that is more. A
`finalize` waits when all are busy."""


@dataclass(slots=True)
class Pool:
    """Slots of one latency class. Sessions use the first ones (`free` are those of nobody), clones those above
    (`free_clones`). `allocated`: the device has them. `failure`: why it cannot have them."""

    free: list[int]
    free_clones: list[int]
    generations: list[int]
    open: int = 0
    allocated: bool = False
    failure: str | None = None

    def take(self) -> tuple[int, int]:
        """A free slot and its new generation, for a session."""
        slot = self.free.pop()
        self.generations[slot] += 1
        self.open += 1
        return slot, self.generations[slot]

    def release(self, slot: int) -> None:
        """The session in the slot has ended."""
        self.free.append(slot)
        self.open -= 1


class Slots:
    """The pools of all latency classes. `count`: slots of each, clones included; `sessions`: those for sessions."""

    def __init__(self, classes: tuple[int, ...], sessions: int) -> None:
        self.sessions = sessions
        self.count = sessions + max(_CLONE_SLOTS, sessions // _SESSIONS_PER_CLONE)
        self.pools = {
            chunk_ms: Pool(list(range(sessions)), list(range(sessions, self.count)), [0] * sessions)
            for chunk_ms in classes
        }

    def pool(self, chunk_ms: int) -> Pool:
        """Raises `UnknownChunk`."""
        pool = self.pools.get(chunk_ms)
        if pool is None:
            known = ", ".join(map(str, self.pools))
            raise UnknownChunk(f"no latency class of {chunk_ms} ms: this checkpoint has {known}")
        return pool

    def open_rows(self) -> dict[int, int]:
        """Open sessions of each class."""
        return {chunk_ms: pool.open for chunk_ms, pool in self.pools.items()}
