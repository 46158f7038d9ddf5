"""The bounded queue against a plain model of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.shedding import SheddingQueue


def test_oldest_partial_goes_first() -> None:
    queue: SheddingQueue[str] = SheddingQueue(3)
    for item, partial in (("final", False), ("old", True), ("new", True), ("newest", True)):
        assert queue.put(item, partial=partial)
    assert queue.shed_partials == 1
    assert queue.take(9) == ["final", "new", "newest"]


def test_full_of_finals_refuses_what_comes() -> None:
    queue: SheddingQueue[str] = SheddingQueue(1)
    assert queue.put("kept", partial=False)
    assert not queue.put("final", partial=False)
    assert not queue.put("partial", partial=True)
    assert queue.take(9) == ["kept"]


def test_limit_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="limit"):
        SheddingQueue(0)


@given(st.integers(1, 5), st.lists(st.one_of(st.booleans(), st.integers(1, 4)), max_size=60))
def test_behaves_like_a_list_that_loses_its_oldest_partial(limit: int, steps: list[bool | int]) -> None:
    queue: SheddingQueue[int] = SheddingQueue(limit)
    model: list[tuple[int, bool]] = []
    shed = 0
    for number, step in enumerate(steps):
        if not isinstance(step, bool):
            assert queue.take(step) == [item for item, _ in model[:step]]
            del model[:step]
            continue
        accepted = queue.put(number, partial=step)
        partials = [entry for entry in model if entry[1]]
        assert accepted == (len(model) < limit or bool(partials))
        if accepted:
            if len(model) == limit:
                model.remove(partials[0])
                shed += 1
            model.append((number, step))
        assert len(queue) == len(model)
    assert queue.shed_partials == shed
    assert queue.take(limit) == [item for item, _ in model]
