"""The order of webhooks, without clock or network."""

from collections import defaultdict
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.message import Message
from sinks.spool import Spooled
from sinks.webhooks.order import RETRY_AFTER_MAX_S, RETRY_FIRST_S, RETRY_MAX_S, WebhookOrder


def entry(number: int, call: str) -> Spooled:
    return Spooled(number, Message("a", call.encode(), b"%d" % number, ()), 0.0)


def order(at_once: int = 8, look_ahead: int = 100) -> WebhookOrder:
    """With the longest pauses."""
    return WebhookOrder(at_once=at_once, look_ahead=look_ahead, jitter=lambda most_s: most_s)


def due(made: WebhookOrder, now: float) -> list[int]:
    found = []
    while (one := made.next(now)) is not None:
        found.append(one.id)
    return found


def test_calls_go_side_by_side_and_their_records_one_after_the_other() -> None:
    made = order(at_once=2)
    made.add([one := entry(1, "a"), entry(2, "a"), two := entry(3, "b"), entry(4, "c")], 0.0)
    assert (len(made), made.room, made.cursor) == (4, 96, 4)
    assert due(made, 0.0) == [1, 3]
    assert made.next_at() is None  # as many as may be are on their way
    made.taken(two, 1.0)
    assert due(made, 1.0) == [4]
    made.taken(one, 2.0)
    assert due(made, 2.0) == [2]
    assert len(made) == 2


def test_pauses_double_up_to_a_bound_and_hold_up_one_call() -> None:
    made = order()
    made.add([one := entry(1, "a"), entry(2, "a"), other := entry(3, "b")], 0.0)
    now, pauses = 0.0, []
    for _ in range(12):
        assert made.next(now) == one
        made.failed(one, now)
        at = made.next_at()
        if other is not None and made.next(now) == other:
            made.taken(other, now)
        at = made.next_at()
        assert at is not None
        pauses.append(at - now)
        now = at
    assert pauses[:3] == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S]
    assert pauses[-1] == RETRY_MAX_S
    assert made.held == 1
    assert made.next(now) == one
    made.taken(one, now)
    assert (made.held, due(made, now)) == (0, [2])


def test_a_receiver_that_fails_several_calls_is_tried_with_one_record_until_it_takes_one() -> None:
    made = order()
    entries = [entry(k, f"call-{k}") for k in range(1, 11)]
    made.add(entries, 0.0)
    for one in due(made, 0.0):
        made.failed(entries[one - 1], 0.0)
    assert made.away
    now = 0.0
    for _ in range(5):
        at = made.next_at()
        assert at is not None
        assert at > now
        now = at
        (one,) = due(made, now)
        made.failed(entries[one - 1], now)
    at = made.next_at()
    assert at is not None
    (one,) = due(made, at)
    made.taken(entries[one - 1], at)
    assert not made.away
    again = due(made, at)
    assert len(again) == 8  # at once, whatever their pauses were
    for one in again[:3]:
        made.failed(entries[one - 1], at)
    assert made.away
    assert (made._not_before, made._rounds) == (at + RETRY_FIRST_S, 0)  # pauses begin anew


def test_what_is_on_its_way_when_a_receiver_is_back_is_not_sent_a_second_time() -> None:
    made = order()
    entries = [entry(k, f"call-{k}") for k in range(1, 6)]
    made.add(entries, 0.0)
    assert due(made, 0.0) == [1, 2, 3, 4, 5]
    for one in entries[:3]:
        made.failed(one, 0.0)
    assert made.away
    made.taken(entries[3], 1.0)
    assert due(made, 1.0) == [1, 2, 3]  # 5 is on its way yet


def test_calls_of_which_nothing_is_left_are_no_failures_any_more() -> None:
    made = order()
    entries = [entry(k, f"call-{k}") for k in range(1, 4)]
    made.add(entries, 0.0)
    for one in due(made, 0.0):
        made.failed(entries[one - 1], 0.0)
    assert (made.away, made.held) == (True, 3)
    for _ in entries:
        at = made.next_at()
        assert at is not None
        found = made.next(at)
        assert found is not None
        made.gone(found, at)
    assert (len(made), made.away, made.held) == (0, False, 0)


def test_what_the_receiver_asks_for_holds_for_all_records_up_to_a_bound() -> None:
    made = order()
    made.add([one := entry(1, "a"), entry(2, "b")], 0.0)
    assert made.next(0.0) == one
    made.failed(one, 0.0, retry_after_s=30.0)
    assert due(made, 29.0) == []
    assert due(made, 30.0) == [2, 1]
    made.failed(one, 30.0, retry_after_s=1e9)
    assert made.next_at() == 30.0 + RETRY_AFTER_MAX_S


def test_a_record_that_is_gone_lets_its_call_go_on() -> None:
    made = order()
    made.add([one := entry(1, "a"), entry(2, "a")], 0.0)
    assert made.next(0.0) == one
    made.failed(one, 0.0)
    assert made.next(RETRY_FIRST_S) == one
    made.gone(one, RETRY_FIRST_S)
    assert due(made, RETRY_FIRST_S) == [2]
    assert (len(made), made.held) == (1, 0)


@settings(max_examples=200, deadline=None)
@given(
    calls=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    at_once=st.integers(1, 5),
    look_ahead=st.integers(1, 20),
    broken=st.sets(st.integers(0, 6)),
    seed=st.integers(0, 10_000),
)
def test_whatever_fails_order_stays_and_calls_that_do_not_fail_are_never_held_up(
    calls: list[int], at_once: int, look_ahead: int, broken: set[int], seed: int
) -> None:
    """Records of some calls fail for an hour; answers come in any order. In the end everything is taken."""
    rng = Random(seed)
    made = WebhookOrder(at_once=at_once, look_ahead=look_ahead, jitter=lambda most_s: rng.uniform(0, most_s))
    entries = [entry(number, str(call)) for number, call in enumerate(calls, 1)]
    taken: dict[bytes, list[int]] = defaultdict(list)
    flight: list[Spooled] = []
    now = 0.0
    for _ in range(20_000):
        made.add(entries[made.cursor : made.cursor + made.room], now)
        while (one := made.next(now)) is not None:
            assert one.entry.key not in {other.entry.key for other in flight}
            flight.append(one)
        assert len(flight) <= at_once
        if not len(made):
            break
        if flight:
            one = flight.pop(rng.randrange(len(flight)))
            now += 0.01
            if int(one.entry.key) in broken and now < 3600:
                made.failed(one, now)
            else:
                taken[one.entry.key].append(one.id)
                made.taken(one, now)
        else:
            at = made.next_at()
            assert at is not None
            now = max(now, at)
        if now > 600 and look_ahead >= len(calls):  # by then only what fails is left
            assert all(int(one.entry.key) in broken for one in entries if one.id not in taken[one.entry.key])
    for call in set(calls):
        key = str(call).encode()
        assert taken[key] == [one.id for one in entries if one.entry.key == key]
    assert (made.held, made.room) == (0, look_ahead)
