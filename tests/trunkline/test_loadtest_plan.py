"""When the lines of a load test begin and how long their calls may last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.loadtest.plan import MIN_CALL_S, Plan

PLAN = Plan(calls=5, rate=2.0, hold_s=10.0, call_s=4.0)


def test_lines_begin_at_the_rate_and_all_are_up_for_the_hold() -> None:
    assert [PLAN.begins_at(line) for line in range(5)] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert PLAN.ramp_s == 2.0
    assert PLAN.end_s == 12.0


def test_call_is_whole_while_there_is_time_and_cut_at_the_end() -> None:
    assert PLAN.next_call_s(0.0) == 4.0
    assert PLAN.next_call_s(8.0) == 4.0
    assert PLAN.next_call_s(9.5) == 2.5
    assert PLAN.next_call_s(11.0) == 1.0
    assert PLAN.next_call_s(11.1) is None
    assert PLAN.next_call_s(99.0) is None


@given(at=st.floats(0, 100), hold_s=st.floats(MIN_CALL_S, 60), call_s=st.floats(MIN_CALL_S, 60))
def test_no_call_outlasts_the_plan(at: float, hold_s: float, call_s: float) -> None:
    plan = Plan(3, 1.5, hold_s, call_s)
    length = plan.next_call_s(at)
    assert length is None or (MIN_CALL_S <= length <= call_s and at + length <= plan.end_s + 1e-9)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"calls": 0}, "calls must be"),
        ({"calls": 10_001}, "calls must be"),
        ({"rate": 0.0}, "rate must be"),
        ({"rate": float("nan")}, "rate must be"),
        ({"rate": 1_001.0}, "rate must be"),
        ({"hold_s": 0.5}, "hold must be"),
        ({"hold_s": float("inf")}, "hold must be"),
        ({"call_s": 0.9}, "shorter than"),
    ],
)
def test_plan_without_bounds_is_refused(changed: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Plan(**({"calls": 1, "rate": 1.0, "hold_s": 1.0, "call_s": 1.0} | changed))  # type: ignore[arg-type]
