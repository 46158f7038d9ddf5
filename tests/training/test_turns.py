"""Training of the trees, on examples small enough to see what they should say."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.turns.fusion import parse
from pipeline.turns.hearing import Frame
from training import turns
from training.turn_dialogues import Split
from training.turn_legs import Leg, Line, Speech
from training.turn_traces import Trace
from training.turns import Examples, examples, fit, is_over, load_traces

SPEECH = (Speech(0.5, 1.0, ends_turn=False), Speech(1.5, 2.0, ends_turn=True), Speech(5.0, 6.0, ends_turn=True))
LEG = Leg("en-US", "none", Line.CLEAN, np.zeros(16_000, np.float32), SPEECH)


@pytest.mark.parametrize(
    ("at_s", "over"), [(0.2, True), (0.7, False), (1.2, False), (1.7, False), (2.1, True), (5.5, False)]
)
def test_a_turn_is_over_from_its_last_speech_on(at_s: float, *, over: bool) -> None:
    assert is_over(LEG, at_s) is over


def test_trees_are_written_as_the_pipeline_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_TREES", 20)
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(2_000, 3))
    labels = rows[:, 1] + 0.2 * rng.normal(size=2_000) > 0.3
    found = Examples(rows.tolist(), labels.tolist(), [1.0] * 2_000)
    read = parse(json.dumps({"models": {"vad": fit(found)}}).encode()).models["vad"]
    right = [(read(row) > 0.5) == label for row, label in zip(found.rows, found.labels, strict=True)]
    assert np.mean(right) > 0.9
    assert read([0.0, 5.0, 0.0]) > 0.8
    assert read([0.0, -5.0, 0.0]) < 0.2
    assert fit(found) == fit(found)


def test_examples_are_of_all_that_can_be_known_and_early_ones_weigh_most() -> None:
    frames = [Frame(0.9 if any(s.start_s <= k * 0.032 < s.end_s for s in SPEECH) else 0.0) for k in range(250)]
    found = examples(
        [Trace(Leg("en-US", "none", Line.CLEAN, np.zeros(8 * 16_000, np.float32), SPEECH), 0.16, frames)], None
    )
    assert set(found) == {"vad", "vad+words"}
    one = found["vad"]
    assert len(one.rows) == len(one.labels) == len(one.weights)
    assert {round(row[0] < 0.5) for row, weight in zip(one.rows, one.weights, strict=True) if weight == 1.0} == {1}
    assert any(one.labels)
    assert not all(one.labels)


def test_traces_of_an_earlier_run_are_taken(tmp_path: Path) -> None:
    (tmp_path / "test-3-7.pickle").write_bytes(pickle.dumps([Trace(LEG, 0.16)]))
    (found,) = load_traces(Split.TEST, 3, 7, tmp_path)
    assert found.leg.speech == SPEECH
