"""Keys of one call share a slot of a cluster, and keys of two calls are never the same, whatever their ids."""

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from sinks.redis.keys import Keys

KEYS = Keys("trunkline:")
ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=400) | st.text("{}%7BD25a", max_size=12)


def every_key(call_id: str) -> set[str]:
    return {*KEYS.of_call(call_id), KEYS.call(call_id), KEYS.segments(call_id), KEYS.channel(call_id)}


@given(ids)
def test_keys_of_a_call_share_a_slot(call_id: str) -> None:
    keys = every_key(call_id)
    assert len(keys) == 4
    assert len({key_slot(key.encode()) for key in keys}) == 1


@given(ids, ids)
def test_keys_of_two_calls_differ(one: str, other: str) -> None:
    assert (one == other) == bool(every_key(one) & every_key(other))


def test_usual_ids_stand_in_the_key_as_they_are() -> None:
    assert KEYS.call("CA1") == "trunkline:call:{CA1}"
    assert KEYS.call("a{b}%") == "trunkline:call:{a%7Bb%7D%25}"
