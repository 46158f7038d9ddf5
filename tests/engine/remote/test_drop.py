"""Sessions whose gateway is gone: the slot is free at once, and nobody else notices."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.api import Session, SessionOptions
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineFull, SessionClosed
from tests.engine.remote.audio import legs
from tests.engine.remote.pair import Reader, plain

OPTIONS = SessionOptions(80)


def audio(leg: int) -> NDArray[np.float32]:
    return legs()[leg][: 6 * 16_000]


def hear(engine: Engine, session: Session, pcm: NDArray[np.float32]) -> None:
    engine.push(session, pcm)
    engine.close(session)
    while engine.step():
        pass


@pytest.fixture(scope="module")
def alone(checkpoint: Checkpoint) -> list[list[object]]:
    """The words of each leg, heard alone."""
    said = []
    for leg in range(2):
        engine, reader = Engine(checkpoint, max_sessions=1), Reader()
        engine.subscribe(reader.receive)
        session = engine.open(OPTIONS)
        hear(engine, session, audio(leg))
        said.append(list(map(plain, reader.words[session])))
    return said


@pytest.mark.parametrize("steps", [0, 1, 30, 38, 40, 43, 60])
def test_a_dropped_session_leaves_its_slot_clean(checkpoint: Checkpoint, alone: list[list[object]], steps: int) -> None:
    """A final was asked for after 3 s: its clone is flushed in the steps 38 to 47."""
    engine, reader = Engine(checkpoint, max_sessions=2), Reader()
    engine.subscribe(reader.receive)
    doomed, kept = engine.open(OPTIONS), engine.open(OPTIONS)
    for session, leg in ((doomed, 0), (kept, 1)):
        engine.push(session, audio(leg)[: 3 * 16_000])
    engine.finalize(doomed)
    engine.push(doomed, audio(0)[3 * 16_000 :])
    for _ in range(steps):
        engine.step()
    with pytest.raises(EngineFull):
        engine.open(OPTIONS)
    engine.drop(doomed)
    engine.drop(doomed)
    with pytest.raises(SessionClosed):
        engine.push(doomed, audio(0))
    told = len(reader.words[doomed])
    while engine.step():
        pass
    assert reader.closed == [doomed]
    assert len(reader.words[doomed]) - told <= 1, "it was heard to its end"
    again = engine.open(OPTIONS)
    assert again.slot == doomed.slot
    engine.push(kept, audio(1)[3 * 16_000 :])
    engine.close(kept)
    hear(engine, again, audio(0))
    assert list(map(plain, reader.words[kept])) == alone[1]
    assert list(map(plain, reader.words[again])) == alone[0]
    engine.drop(again)
    assert engine.open_sessions == 0
