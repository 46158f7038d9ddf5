"""The latency classes are those of the checkpoint's contexts, whatever they are."""

from pathlib import Path

import pytest

from engine.api import Precision, SessionOptions
from engine.checkpoint.find import DEMO_MODEL, load_checkpoint
from engine.chunking import nearest_class
from engine.engine import Engine
from engine.errors import UnknownChunk
from testing import audio
from testing.damage import edited_nemo
from tests.engine.listener import transcribe

CONTEXTS: list[tuple[object, tuple[int, ...]]] = [
    ([[60, 2], [60, 4]], (240, 400)),
    ([[60, 11], [60, 2]], (240, 960)),
    ([56, 6], (560,)),
    ([[56, 27], [56, 3], [56, 3]], (320, 2_240)),
    ([[0, 1]], (160,)),
]


@pytest.mark.parametrize(("contexts", "classes"), CONTEXTS)
def test_a_checkpoint_runs_in_every_class_that_its_contexts_allow(
    tmp_path: Path, contexts: object, classes: tuple[int, ...]
) -> None:
    checkpoint = load_checkpoint(
        edited_nemo(DEMO_MODEL, tmp_path / "a.nemo", {"encoder": {"att_context_size": contexts}})
    )
    engine = Engine(checkpoint, max_sessions=2, precision=Precision.FLOAT32)
    assert engine.chunks_ms == classes
    calls = [(audio.babble(3.0, 1), SessionOptions(chunk_ms)) for chunk_ms in classes]
    assert all(transcribe(engine, calls))
    with pytest.raises(UnknownChunk, match=str(classes[0])):
        engine.open(SessionOptions(80))


@pytest.mark.parametrize(
    ("wanted", "classes", "nearest"),
    [(160, (80, 160), 160), (160, (240, 400), 240), (160, (80, 240), 80), (1_120, (80, 960, 2_240), 960)],
)
def test_the_nearest_class_is_the_faster_of_two(wanted: int, classes: tuple[int, ...], nearest: int) -> None:
    assert nearest_class(wanted, classes) == nearest
