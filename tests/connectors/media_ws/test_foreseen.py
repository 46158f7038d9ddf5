"""Messages taken at once, and those of a stream in a lane, beside the way that every message can take: all receive and
count the same."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.media_ws.track import Track
from connectors.media_ws.twilio.template import next_media
from tests.connectors.media_ws.lines import BOTH, PING, Item, compared, office, opening, stream
from tests.connectors.media_ws.twilio import twilio_side as twilio


@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
@pytest.mark.parametrize("seed", [None, 1, 2])
async def test_a_long_stream_passes_in_its_lane_and_is_heard_whole(tracks: tuple[str, ...], seed: int | None) -> None:
    (line,) = await compared([opening(tracks) + stream(1200, tracks)], seed)
    if seed is None:
        assert line.core.runs == 1
        assert line.core.passed == 1192
    else:
        assert line.core.passed > 600


@pytest.mark.parametrize("seed", range(4))
async def test_many_streams_side_by_side_are_heard_each_its_own(seed: int) -> None:
    lines = [opening(tracks) + stream(90 + number, tracks) for number, tracks in enumerate([("inbound",), BOTH] * 12)]
    for line in lines[::5]:
        line[60] = twilio.mark(60)
    for line in lines[::7]:
        del line[70]
    lines[3].insert(50, twilio.stop(50))
    read = await compared(cast(list[list[Item]], lines), seed or None)
    assert all(line.core.passed > 20 for line in read)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
@pytest.mark.parametrize("sequence", [2, 80, 970, 9_970, 999_975])
@pytest.mark.parametrize("timestamp", [0, 9_700, 99_700, 9_999_800])
async def test_numbers_gain_digits(sequence: int, timestamp: int, tracks: tuple[str, ...], seed: int | None) -> None:
    messages = stream(100, tracks, sequence + 1, timestamp, chunk=sequence % 89 + 1)
    (line,) = await compared([opening(tracks, sequence) + messages], seed)
    if seed is None:
        assert line.core.passed >= 80
        assert line.core.runs <= 2  # a first time stamp far from zero is a gap at first


async def test_numbers_too_long_for_a_lane_go_the_plain_way() -> None:
    first = 10**10 - 40
    (line,) = await compared([opening(sequence=first - 1) + stream(80, first=first)])
    assert line.core.passed == 40 - 8
    assert line.core.stats.tracks[Track.INBOUND].packets == 80


@pytest.mark.parametrize("size", [159, 161, 162])
@pytest.mark.parametrize("code", [0x00, 0xFF, 0x41])
async def test_packets_of_another_size_are_not_foreseen(size: int, code: int) -> None:
    messages = [twilio.media(2 + index, 20 * index, bytes([code] * size), chunk=1 + index) for index in range(40)]
    (line,) = await compared([opening() + messages])
    assert not line.core.passed


@pytest.mark.parametrize("step", [0, 1, 19, 21, 40])
async def test_time_stamps_that_run_otherwise_than_the_audio_are_not_foreseen(step: int) -> None:
    messages = [twilio.media(2 + index, step * index, bytes([index]) * 160, chunk=1 + index) for index in range(100)]
    (line,) = await compared([opening() + messages])
    assert not line.core.passed


async def test_what_was_read_together_with_the_message_before_the_lane_passes_in_it() -> None:
    async with office() as place:
        line = place.line(opening() + stream(40))
        line.read()
        line.read()
        await place.drained()
        line.read(line.left)
        assert line.core.stats.messages == 2 + 8
        await place.step()
        await place.end()
        place.compare()
        assert (line.core.passed, line.core.runs) == (32, 1)


CHANGES: list[dict[str, Any]] = [
    {"sequenceNumber": "21"},
    {"sequenceNumber": "022"},
    {"sequenceNumber": " 22"},
    {"sequenceNumber": 22},
    {"streamSid": "MZ" + "d" * 32},
    {"event": "mark"},
    {"extra": {"chunk": "1"}},
    {"media": {"timestamp": "401"}},
    {"media": {"timestamp": "1000"}},
    {"media": {"timestamp": "-400"}},
    {"media": {"track": "outbound"}},
    {"media": {"chunk": "7"}},
    {"media": {"payload": "A" * 216}},
    {"media": {"payload": "*" * 216}},
    {"media": {"payload": "A" * 214 + "=="}},
    {"media": {"payload": "A" * 213 + "B=="}},
    {"media": {"payload": "A" * 213 + "==="}},
    {"media": {"payload": "A" * 108 + "==" + "A" * 106}},
    {"media": {"payload": "A" * 108 + "*" + "A" * 105 + "=="}},
    {"media": {"payload": ""}},
    {"media": None},
]


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change)[:60])
async def test_an_unusual_message_is_no_more_than_that(change: Mapping[str, Any], seed: int | None) -> None:
    messages = opening() + stream(60)
    fields = json.loads(messages[22])
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(fields.get(name), dict):
            fields[name] |= value
        else:
            fields[name] = value
    messages[22] = json.dumps(fields)
    others = [opening() + stream(50), opening(BOTH) + stream(50, BOTH)]
    line, *others_ = await compared([messages, *others], seed)
    if seed is None:
        assert line.core.passed >= 12
        assert [one.core.passed for one in others_] == [42, 42]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.sampled_from(["next", "next", "swap", "drop", "twice", "late", "mark", "key", "jump", "ping"]), max_size=60
    ),
    st.booleans(),
    st.integers(0, 1000),
)
def test_any_order_of_messages_is_heard_the_same(actions: list[str], two: bool, seed: int) -> None:
    tracks = BOTH if two else ("inbound",)
    messages = stream(1000, tracks)
    items: list[Item] = [*opening(tracks)]
    at = 0
    for action in actions:
        if action == "swap":
            items += [messages[at + 1], messages[at]]
            at += 2
        elif action == "drop":
            at += 1
        elif action == "twice":
            items += [messages[at], messages[at]]
            at += 1
        elif action == "late" and at:
            items.append(messages[at - 1])
        elif action == "mark":
            items.append(twilio.mark(2 + at))
            at += 1
        elif action == "key":
            items.append(twilio.dtmf(2 + at, "5"))
            at += 1
        elif action == "jump":
            items.append(twilio.media(2 + at, 100_000 + at, track=tracks[0]))
            at += 1
        elif action == "ping":
            items.append(PING)
        else:
            items += messages[at : at + 12]
            at += 12
    other = opening() + stream(100)
    asyncio.run(compared_quietly([items, other], seed))


async def compared_quietly(lines: Sequence[Sequence[Item]], seed: int) -> None:
    await compared(lines, seed or None)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (twilio.media(10, 180, chunk=9), twilio.media(12, 200, chunk=10)),
        (twilio.media(11, 180, chunk=9), twilio.media(11, 200, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, chunk=11)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, chunk=8)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 201, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 180, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, chunk=10).replace('"200"', '"0200"')),
        (twilio.media(10, 180, chunk=9), twilio.media(11, 200, bytes(159), chunk=10)),
        (twilio.media(10, 180, bytes(161), chunk=9), twilio.media(11, 200, chunk=10)),
        (twilio.media(10, 180, chunk=9), twilio.mark(11)),
        (twilio.media(10, 180, chunk=9), twilio.media(10**10 - 1, 200, chunk=10)),
    ],
    ids=lambda message: message[:50],
)
def test_two_messages_that_do_not_follow_each_other_foresee_nothing(before: str, message: str) -> None:
    assert next_media(message.encode(), before.encode(), Track.INBOUND, 1, 320) is None


def test_a_message_that_hides_its_keys_is_not_foreseen() -> None:
    """Each key is searched for but once, so that no message makes the search take longer than itself."""
    message, before = (text.encode() for text in stream(2)[::-1])
    assert next_media(message, before, Track.INBOUND, 1, 320) is not None
    twice = message[:-1] + b', "x": {"chunk": "1"}}'
    assert next_media(twice, before, Track.INBOUND, 1, 320) is None
    assert next_media(message, message, Track.INBOUND, 1, 320) is None
    long = message[:-1] + b', "x": "' + b"y" * 1000 + b'"}'
    assert next_media(long, long, Track.INBOUND, 1, 320) is None
