from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.rtp.jitter import MAX_HELD, MAX_WAIT_S, MIN_WAIT_S, JitterBuffer, PacketStatus
from connectors.rtp.sequence import MAX_DROPOUT, MAX_MISORDER, extend, first_extended, step


def buffer(first: int = 100) -> JitterBuffer[int]:
    made: JitterBuffer[int] = JitterBuffer()
    made.begin(first, 0.0)
    return made


def push(target: JitterBuffer[int], numbers: Iterable[int], now: float = 0.0) -> list[PacketStatus]:
    return [target.push(number, number, now) for number in numbers]


def popped(target: JitterBuffer[int], now: float, *, flush: bool = False) -> list[tuple[int, int]]:
    found = []
    while (one := target.pop(now, flush=flush)) is not None:
        found.append(one)
    return found


def test_packets_in_order_pass() -> None:
    target = buffer()
    assert push(target, [100, 101]) == [PacketStatus.ACCEPTED] * 2
    assert popped(target, 0.0) == [(100, 0), (101, 0)]
    assert target.next_timer(0.0) is None


def test_a_gap_is_waited_for_from_the_first_packet_beyond_it() -> None:
    target = buffer()
    push(target, [100])
    assert popped(target, 0.0) == [(100, 0)]
    push(target, [102], 1.0)
    push(target, [103], 1.02)
    due = target.next_timer(1.02)
    assert due is not None
    assert 1.0 + MIN_WAIT_S <= due <= 1.0 + MAX_WAIT_S
    assert popped(target, due - 0.001) == []
    assert popped(target, due) == [(102, 1), (103, 0)]
    assert (target.lost, target.bursts) == (1, 1)


def test_the_missing_packet_releases_what_waits() -> None:
    target = buffer()
    push(target, [100, 102, 103])
    assert popped(target, 0.0) == [(100, 0)]
    assert push(target, [101], 0.01) == [PacketStatus.REORDERED]
    assert popped(target, 0.01) == [(101, 0), (102, 0), (103, 0)]
    assert target.lost == 0


def test_a_packet_that_was_given_up_is_late_and_then_a_duplicate() -> None:
    target = buffer()
    push(target, [100, 104])
    popped(target, 0.5)
    assert push(target, [102, 102, 101, 103, 103, 104], 0.6) == [
        PacketStatus.LATE,
        PacketStatus.DUPLICATE,
        PacketStatus.LATE,
        PacketStatus.LATE,
        PacketStatus.DUPLICATE,
        PacketStatus.DUPLICATE,
    ]
    assert target.lost == 3


def test_a_second_gap_is_waited_for_in_its_own_time() -> None:
    target = buffer()
    push(target, [100])
    popped(target, 0.0)
    push(target, [102], 1.0)
    push(target, [104], 1.05)
    due = target.next_timer(1.05)
    assert due is not None
    assert popped(target, due) == [(102, 1)]
    second = target.next_timer(due)
    assert second is not None
    assert second - due == pytest.approx(0.05, abs=0.005)


def test_too_many_waiting_packets_give_the_gap_up() -> None:
    target = buffer()
    push(target, [100])
    popped(target, 0.0)
    push(target, range(102, 102 + MAX_HELD))
    assert popped(target, 0.0) == []
    push(target, [102 + MAX_HELD])
    assert len(popped(target, 0.0)) == MAX_HELD + 1


def test_flushing_waits_for_nothing() -> None:
    target = buffer()
    push(target, [100, 105, 107])
    assert popped(target, 0.0, flush=True) == [(100, 0), (105, 4), (107, 1)]
    assert target.lost == 5


def test_packets_before_the_first_are_given_up_from_the_start() -> None:
    target = buffer()
    push(target, [100])
    popped(target, 0.0)
    assert push(target, [97, 98, 98]) == [PacketStatus.LATE, PacketStatus.LATE, PacketStatus.DUPLICATE]
    assert (target.lost, target.first) == (3, 97)


def test_the_wait_follows_what_lateness_was_seen_and_forgets_it() -> None:
    target = buffer()
    assert target.wait_s(300.0) == MIN_WAIT_S
    push(target, [100, 102], 300.0)
    popped(target, 300.07)
    push(target, [101], 300.08)
    assert target.wait_s(300.08) == pytest.approx(0.1)
    assert MIN_WAIT_S < target.wait_s(320.0) < 0.06
    assert target.wait_s(1000.0) == MIN_WAIT_S
    assert target.wait_s(1000.0, jitter_s=0.02) == pytest.approx(0.06)
    assert target.wait_s(1000.0, jitter_s=5.0) == MAX_WAIT_S


@settings(max_examples=200, deadline=None)
@given(
    arrivals=st.lists(st.integers(0, 80), max_size=150),
    gaps=st.lists(st.floats(0, 0.06), min_size=150, max_size=150),
)
def test_every_number_is_released_once_in_order_or_lost(arrivals: list[int], gaps: list[float]) -> None:
    target = buffer(100)
    target.push(100, 100, 0.0)
    now, released, verdicts = 0.0, [item for item, _ in popped(target, 0.0)], {100: [PacketStatus.ACCEPTED]}
    for number, gap in zip(arrivals, gaps, strict=False):
        while (due := target.next_timer(now)) is not None and due <= now + gap:
            now = due
            released += [item for item, _ in popped(target, now)]
        now += gap
        verdicts.setdefault(number + 60, []).append(target.push(number + 60, number + 60, now))
        released += [item for item, _ in popped(target, now)]
        assert len(target) <= MAX_HELD
    released += [item for item, _ in popped(target, now, flush=True)]
    assert released == sorted(set(released))
    assert len(released) + target.lost == target.highest - target.first + 1
    for number, several in verdicts.items():
        assert several[1:] == [PacketStatus.DUPLICATE] * (len(several) - 1)
        assert (several[0] is PacketStatus.LATE) == (number not in released)


def test_a_new_stream_begins_with_nothing_of_the_old_one() -> None:
    target = buffer()
    push(target, [100, 103, 105])
    target.begin(0x20000, 0.1)
    assert len(target) == 0
    assert push(target, [0x20000, 101]) == [PacketStatus.ACCEPTED, PacketStatus.LATE]


def test_what_is_remembered_of_gaps_is_bounded() -> None:
    target = buffer()
    for number in range(100, 1000, 2):
        push(target, [number])
        popped(target, 0.0, flush=True)
    assert len(target._gaps) == 128
    push(target, [3900])
    popped(target, 0.0, flush=True)
    for number in range(1001, 3900, 2):
        push(target, [number])
    assert len(target._gaps) <= 128


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 0xFFFF), max_size=300), st.booleans())
def test_hostile_numbers_take_no_memory(numbers: list[int], near: bool) -> None:
    target = buffer(0x10000)
    for index, number in enumerate(numbers):
        extended = extend(number % 2900 * index if near else number, target.highest)
        if extended is not None:
            target.push(extended, number, index * 0.001)
            popped(target, index * 0.001)
        assert len(target) <= MAX_HELD + 1
        assert len(target._gaps) <= 129


def test_numbers_are_extended_over_their_wrap() -> None:
    assert first_extended(65_535, None) == 0x1FFFF
    assert extend(0, 0x1FFFF) == 0x20000
    assert extend(65_535, 0x20000) == 0x1FFFF
    assert extend(MAX_DROPOUT - 1, 0x10000) == 0x10000 + MAX_DROPOUT - 1
    assert extend(MAX_DROPOUT, 0x10000) is None
    assert extend(0x10000 - MAX_MISORDER + 1, 0x20000) == 0x20000 - MAX_MISORDER + 1
    assert extend(0x10000 - MAX_MISORDER, 0x20000) is None
    assert first_extended(5, 0x1FFFF) > 0x1FFFF


def test_timestamps_are_compared_over_their_wrap() -> None:
    assert step(2**32 - 80, 80) == 160
    assert step(80, 2**32 - 80) == -160
    assert step(5, 5) == 0
