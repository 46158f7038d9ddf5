"""The step on a GPU that is not there: it never waits for the device, and what it launches depends on nobody."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from benchmarks import fake_device
from benchmarks.dimensions import RELEASED
from benchmarks.fake_device import Counts
from engine.model.attention import gathered_attention, in_place_attention
from engine.model.model import Model

DOCS = Path(__file__).parents[3] / "docs" / "roofline.md"


@cache
def count(frames: int, rows: int = 64, slots: int = 64) -> tuple[Counts, Counts]:
    return fake_device.count(RELEASED, frames, rows, slots)


@pytest.mark.parametrize("frames", RELEASED.chunk_frames)
def test_one_upload_and_one_download(frames: int) -> None:
    step, proceed = count(frames)
    assert (step.uploads, step.downloads) == (1, 1)
    assert (proceed.uploads, proceed.downloads) == (0, 1)


@pytest.mark.parametrize("frames", RELEASED.chunk_frames)
def test_launches_do_not_depend_on_rows_or_sessions(frames: int) -> None:
    for rows, slots in ((1, 64), (8, 64), (512, 512), (64, 2_400)):
        assert count(frames, rows, slots) == count(frames)


@pytest.mark.parametrize("frames", RELEASED.chunk_frames)
def test_launches_are_those_in_the_documentation(frames: int) -> None:
    rows = re.findall(r"^\| (\d+) ms \| (\d+) \| (\d+) \| (\d+) \| 1 \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    documented = {int(chunk): (int(fused), int(more)) for chunk, fused, _, more in rows}
    step, proceed = count(frames)
    assert documented[80 * frames][0] == step.launches
    assert documented[80 * frames][1] == proceed.launches


def test_with_copies_of_the_rings_it_does_not_wait_either() -> None:
    step, _ = fake_device.count(RELEASED, 2, 8, 8, gathered_attention)
    assert (step.uploads, step.downloads) == (1, 1)


def item(x: Tensor) -> None:
    x.sum().item()


def branch(x: Tensor) -> None:
    assert x.sum() == 0


def pick(x: Tensor) -> None:
    x[x > 0]


@pytest.mark.parametrize("waits", [item, branch, pick])
@pytest.mark.parametrize("part", ["encoder.prompted", "decoder.predict", "features"])
def test_a_wait_is_found(waits: Callable[[Tensor], None], part: str) -> None:
    """Wherever in the step."""

    def change(model: Model) -> None:
        owner, _, name = part.rpartition(".")
        holder = getattr(model, owner) if owner else model
        plain = getattr(holder, name)

        def waiting(x: Tensor, *rest: Tensor) -> object:
            waits(x)
            return plain(x, *rest)

        setattr(holder, name, waiting)

    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        fake_device.count(RELEASED, 1, 4, 8, change=change)


def test_a_second_download_is_found() -> None:
    def change(model: Model) -> None:
        plain = model.encoder.prompted

        def copying(frames: Tensor, prompts: Tensor) -> Tensor:
            frames.cpu()
            return plain(frames, prompts)

        model.encoder.prompted = copying  # type: ignore[method-assign]

    step, _ = fake_device.count(RELEASED, 1, 4, 8, change=change)
    assert step.downloads == 2


def test_attention_that_goes_row_by_row_would_be_found() -> None:
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        fake_device.count(RELEASED, 1, 4, 8, in_place_attention)
