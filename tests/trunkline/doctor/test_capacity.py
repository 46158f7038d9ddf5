"""The engine as it is loaded and timed for the doctor, in this process."""

from pathlib import Path

import pytest

from trunkline.config import EngineConfig
from trunkline.doctor.capacity import Question, answer


def ask(chunk_ms: int = 160, language: str = "auto", **changed: object) -> Question:
    return Question(EngineConfig(max_sessions=8, **changed), chunk_ms, language)  # type: ignore[arg-type]


def test_the_demo_model_is_timed() -> None:
    found = answer(ask())
    assert (found.error, found.chunk_ms, found.max_sessions) == (None, 160, 8)
    assert found.precision in ("int8", "float32")
    assert found.step_ms > 0
    assert 0 <= found.legs <= 8


@pytest.mark.parametrize(
    ("question", "kind", "said"),
    [
        (ask(language="xx-XX"), "UnknownLocale", "[pipeline] language = 'xx-XX': use one of"),
        (ask(chunk_ms=240), "UnknownChunk", "240"),
        (ask(device="cuda:99"), "ConfigError", "there is no CUDA device here"),
        (ask(checkpoint="/nowhere/a.nemo"), "CheckpointNotFound", "no checkpoint at /nowhere/a.nemo"),
        (ask(checkpoint=str(Path(__file__))), "DamagedCheckpoint", "test_capacity.py"),
    ],
)
def test_what_a_server_would_not_start_with(question: Question, kind: str, said: str) -> None:
    found = answer(question)
    assert found.error is not None
    assert found.error[0] == kind
    assert said in found.error[1]
