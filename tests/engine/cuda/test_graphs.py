"""Recordings are proven before they are played: with fakes of what can go wrong on a GPU."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoint.find import load_checkpoint
from engine.cuda.graphs import Graphs, Launch
from engine.cuda.step import StaticStep
from engine.executor import StepExecutor
from testing import audio
from testing.streams import Stream, run

MS = 160


def said(executor: StepExecutor) -> list[list[object]]:
    """Tokens of three streams, in batches of one to three."""
    streams = [Stream(audio.speech(row), slot=row, prompt=101, chunks=20, joins=3 * row) for row in range(3)]
    run(executor, MS, streams)
    return [list(stream.tokens) for stream in streams]


class Recorder:
    """Records by keeping the launch; the recordings numbered in `wrong` do nothing when played, those in `broken` fail
    when played, those in `refused` cannot be made. Counts how often each was played."""

    def __init__(
        self,
        wrong: tuple[int, ...] = (),
        broken: tuple[int, ...] = (),
        refused: tuple[int, ...] = (),
    ) -> None:
        self._wrong = wrong
        self._broken = broken
        self._refused = refused
        self.played: dict[int, int] = {}

    def __call__(self, launch: Launch) -> Launch:
        number = len(self.played)
        self.played[number] = 0
        if number in self._refused:
            raise RuntimeError("no recording")

        def play() -> None:
            self.played[number] += 1
            if number in self._broken:
                raise RuntimeError("no playing")
            if number not in self._wrong:
                launch()

        return play


MakeExecutor = Callable[[Recorder | None], StepExecutor]


@pytest.fixture(scope="module")
def executor_with(demo_path: Path) -> MakeExecutor:
    checkpoint = load_checkpoint(demo_path)
    return lambda recorder: StepExecutor(checkpoint, {MS: 4}, static=True, max_batch=4, capture=recorder)


SEQUENCES = 6
"""Sizes 4, 2 and 1, a step and a continuation each, in this order."""


def test_right_recordings_are_played(executor_with: MakeExecutor, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    executor = executor_with(recorder)
    proven = dict(recorder.played)
    assert executor.recorded(MS) == SEQUENCES
    assert all(proven.values()), "a recording was not tried"
    assert said(executor) == said(executor_with(None))
    assert sum(recorder.played.values()) - sum(proven.values()) >= 26, "steps did not play recordings"
    assert not caplog.records


@pytest.mark.parametrize("number", range(SEQUENCES))
@pytest.mark.parametrize("fault", ["wrong", "broken", "refused"])
def test_a_faulty_recording_is_never_played(
    executor_with: MakeExecutor, fault: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(**{fault: (number,)})
    executor = executor_with(recorder)
    tried = recorder.played[number]
    assert executor.recorded(MS) == SEQUENCES - 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"'{MS} ms'" in caplog.text
    assert said(executor) == said(executor_with(None))
    assert recorder.played[number] == tried


def test_one_wrong_row_is_enough(
    executor_with: MakeExecutor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that steps all rows but leaves the last one's result as it was."""

    class LastRow(Recorder):
        def __call__(self, launch: Launch) -> Launch:
            play = super().__call__(launch)
            if len(self.played) != 1:
                return play

            def spoilt() -> None:
                play()
                steps[-1].projected[3] = 0

            return spoilt

    steps: list[StaticStep] = []
    init = StaticStep.__init__

    def kept(step: StaticStep, *arguments: Any) -> None:
        steps.append(step)
        init(step, *arguments)

    monkeypatch.setattr(StaticStep, "__init__", kept)
    assert executor_with(LastRow()).recorded(MS) == SEQUENCES - 1
    assert "1 of 4 rows differ, the first is 3" in caplog.text


def test_keys_without_a_recording_run_plainly() -> None:
    ran: list[str] = []
    graphs: Graphs[str] = Graphs(None)
    graphs.add("a", lambda: ran.append("a"))
    graphs.verify("a", lambda launch: launch(), lambda one, other: "never asked")
    graphs.run("a")
    assert ran == ["a"]
    assert not graphs.recorded
