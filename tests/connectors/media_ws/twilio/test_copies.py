"""Servers and bots that copy Twilio's protocol: what has one plain meaning is taken, whatever it looks like."""

import base64
import json
from typing import Any

import pytest

from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import AudioReceived, DtmfReceived, StreamStopped
from tests.connectors.media_ws.lines import BOTH
from tests.connectors.media_ws.twilio import twilio_side as twilio
from tests.connectors.media_ws.twilio.copies import IN, ONE, OUT, Received, counted, media

# -- sequence numbers


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("again_at", [0, 400], ids=["timestamps begin anew", "timestamps go on"])
def test_numbers_that_begin_anew_lose_nothing_and_are_told(first: int, again_at: int) -> None:
    received = Received([ONE, *counted(20, 1), *counted(20, 101, seq=first, timestamp=again_at)])
    assert received.codes() == [*range(1, 21), *range(101, 121)]
    stats = received.stats.tracks[IN]
    assert (stats.packets, stats.duplicates, stats.lost, stats.filled_samples) == (40, 0, 0, 0)
    assert received.stats.restarts + received.stats.irregular == 1
    assert len(received.notes) == 1


def test_numbers_may_begin_anew_time_and_again() -> None:
    received = Received([ONE, *(one for turn in range(5) for one in counted(12, 20 * turn + 1))])
    assert len(received.codes()) == 60
    assert (received.stats.restarts, received.stats.tracks[IN].duplicates) == (4, 0)


def test_both_tracks_stay_in_step_when_numbers_and_timestamps_begin_anew() -> None:
    once = [media(str(2 + index), str(20 * (index // 2)), 1 + index // 2, BOTH[index % 2]) for index in range(40)]
    received = Received([twilio.start(), *once, *once])
    assert received.codes(IN) == received.codes(OUT) == [*range(1, 21), *range(1, 21)]


def test_messages_sent_twice_are_still_dropped() -> None:
    first = counted(20, 1)
    for again in (first[-5:], first[7:9], first[-1:] * 10):
        received = Received([ONE, *first, *again, *counted(5, 21, seq=22, timestamp=400)])
        assert received.codes() == list(range(1, 26))
        assert (received.stats.tracks[IN].duplicates, received.stats.restarts) == (len(again), 0)


def test_tracks_that_are_numbered_each_for_itself_are_both_heard() -> None:
    messages = [
        media(str(2 + index // 2), str(20 * (index // 2)), 1 + index // 2, BOTH[index % 2]) for index in range(40)
    ]
    received = Received([twilio.start(), *messages])
    assert received.codes(IN) == received.codes(OUT) == list(range(1, 21))
    assert received.stats.irregular > 0


@pytest.mark.parametrize("number", ["0", "1", 1, None, "", "x", "-1", 1.5, True, [1]], ids=repr)
def test_numbers_that_say_nothing_leave_the_order_to_the_socket(number: Any) -> None:
    received = Received([ONE, *(media(number, str(20 * index), 1 + index) for index in range(20))])
    assert received.codes() == list(range(1, 21))
    assert received.stats.malformed == 0
    assert len(received.notes) == 1


def test_numbers_that_never_count_on_cost_a_second_at_most_and_it_is_told() -> None:
    received = Received([ONE, *(media("1", "0", index % 250) for index in range(200))])
    assert received.stats.tracks[IN].packets >= 150
    assert received.notes


@pytest.mark.parametrize("number", [2, "2", 2.0])
def test_numbers_as_numbers_put_messages_in_order(number: Any) -> None:
    third, fourth = media(3, 20, 2), media(4, 40, 3)
    received = Received([ONE, third, media(number, 0, 1), fourth])
    assert received.codes() == [1, 2, 3]
    assert received.stats.tracks[IN].reordered == 1


@pytest.mark.parametrize("start", [None, "", 0, "0", 1, "one", {}], ids=repr)
@pytest.mark.parametrize("first", [0, 1, 2, 1000])
def test_a_start_without_a_usable_number_leaves_it_to_the_first_message(start: Any, first: int) -> None:
    fields = twilio.start_fields(("inbound",)) | {"sequenceNumber": start}
    if start in (0, "0", 1) and first == 1000:
        return  # a number was given, and a gap of a thousand messages is waited for and counted as one
    received = Received([fields, *(media(str(first + index), 20 * index, 1 + index) for index in range(10))])
    assert received.codes() == list(range(1, 11))
    assert received.stats.tracks[IN].lost == 0


def test_a_stop_ends_the_stream_whatever_its_number_is() -> None:
    for number in ("1", "0", None, "x", 3, "99"):
        stop = json.loads(twilio.stop(2)) | {"sequenceNumber": number}
        received = Received([ONE, *counted(5, 1), stop])
        assert received.codes() == [1, 2, 3, 4, 5]
        assert received.events[-1] == StreamStopped()


def test_a_key_with_an_old_number_is_a_key_and_the_same_key_again_is_not() -> None:
    key = json.loads(twilio.dtmf(1, "5"))
    received = Received([ONE, *counted(5, 1), key, key, twilio.dtmf(7, "6"), twilio.dtmf(7, "6")])
    assert [event.digit for event in received.events if isinstance(event, DtmfReceived)] == ["5", "6"]


# -- a second beginning


@pytest.mark.parametrize("again", [{}, {"stream": "MZother"}])
@pytest.mark.parametrize("timestamp", [0, 400])
def test_a_second_start_of_the_same_call_goes_on_with_it(again: dict[str, str], timestamp: int) -> None:
    more = [one | {"streamSid": again.get("stream", twilio.STREAM)} for one in counted(20, 101, timestamp=timestamp)]
    late = counted(1, 200, seq=22)
    received = Received([ONE, *counted(20, 1), twilio.start(("inbound",), **again), *(late if again else []), *more])
    assert received.codes() == [*range(1, 21), *range(101, 121)]
    assert received.refusals == []
    assert received.stats.restarts == 1
    assert received.started.stream_sid == twilio.STREAM
    assert "anew" in received.notes[0]


def test_what_waits_is_heard_before_a_second_start() -> None:
    received = Received([ONE, *counted(1, 1), media("4", "40", 3), ONE, *counted(1, 101)])
    assert received.codes() == [1, 0xFF, 3, 101]


def test_connected_again_is_counted_and_ignored() -> None:
    received = Received([twilio.connected(), twilio.connected(), ONE, twilio.connected(), *counted(2, 1)])
    assert received.codes() == [1, 2]
    assert received.stats.irregular == 2


@pytest.mark.parametrize("connected", ['{"event":"connected"}', '{"event":"connected","protocol":5,"version":null}'])
def test_what_connected_says_is_not_needed(connected: str) -> None:
    assert Received([connected, ONE, *counted(2, 1)]).codes() == [1, 2]


# -- media, keys, marks, stop


@pytest.mark.parametrize("missing", ["chunk", "track", "timestamp"])
def test_media_without_what_is_not_needed_is_heard(missing: str) -> None:
    messages = counted(10, 1)
    for one in messages:
        del one["media"][missing]
    received = Received([ONE, *messages])
    assert received.codes() == list(range(1, 11))
    assert (received.refusals, received.stats.malformed) == ([], 0)


def test_media_without_chunk_is_no_irregularity() -> None:
    messages = counted(4, 1)
    for one in messages:
        del one["media"]["chunk"]
    assert Received([ONE, *messages]).notes == []


def test_more_irregular_messages_than_malformed_ones_are_allowed_do_not_end_a_stream() -> None:
    messages = [media(None, None, 1 + index % 200, None) for index in range(50)]
    received = Received([ONE, *messages], MediaLimits(max_malformed=3))
    assert len(received.codes()) == 50
    assert received.stats.irregular == 50


def test_media_without_a_track_is_nobodys_where_there_are_two() -> None:
    received = Received([twilio.start(), media("2", "0", 1, None), media("3", "0", 2, "outbound")])
    assert (received.codes(IN), received.stats.malformed) == ([], 1)
    assert "track" in received.notes[0]


def rewritten(text: str) -> dict[str, Any]:
    whole = media("2", "0", 1)
    whole["media"]["payload"] = text
    return whole


CODES = bytes(range(160))
BASE64 = base64.b64encode(CODES).decode()


@pytest.mark.parametrize(
    "payload",
    [
        BASE64.rstrip("="),
        BASE64 + "=",
        base64.urlsafe_b64encode(CODES).decode(),
        base64.encodebytes(CODES).decode(),
        BASE64[:76] + "\r\n" + BASE64[76:],
        f" {BASE64} ",
    ],
)
def test_base64_in_other_forms_is_the_same_audio(payload: str) -> None:
    received = Received([ONE, rewritten(payload)])
    (event,) = [event for event in received.events if isinstance(event, AudioReceived)]
    assert event.codes.tobytes() == CODES


@pytest.mark.parametrize("payload", ["A", "AAAAA", "A*==", "AA=A", "é" * 4])
def test_what_is_no_base64_costs_its_packet_only(payload: str) -> None:
    received = Received([ONE, rewritten(payload), *counted(2, 5, seq=3, timestamp=20)])
    assert received.codes() == [0xFF, 5, 6]
    assert received.stats.malformed == 1


@pytest.mark.parametrize("samples", [1, 80, 159, 161, 320, 1600, 8000])
def test_packets_of_any_size_are_heard_whole(samples: int) -> None:
    messages = []
    for index in range(6):
        whole = media(str(2 + index), str(index * samples * 1000 // 8000), 1)
        whole["media"]["payload"] = base64.b64encode(bytes([1 + index]) * samples).decode()
        messages.append(whole)
    received = Received([ONE, *messages])
    parts = [event.codes for event in received.events if isinstance(event, AudioReceived) and not event.filled]
    assert [(int(part[0]), part.size) for part in parts] == [(1 + index, samples) for index in range(6)]


@pytest.mark.parametrize(
    ("body", "digit"),
    [
        ({"digit": 5, "track": "inbound_track"}, "5"),
        ({"digit": "a", "track": "inbound"}, "A"),
        ({"digit": " # "}, "#"),
        ({"digit": "*", "track": None, "duration": "100"}, "*"),
    ],
)
def test_keys_in_other_forms_are_keys(body: dict[str, Any], digit: str) -> None:
    received = Received([twilio.start(), {"event": "dtmf", "sequenceNumber": 2, "dtmf": body}])
    assert [(event.track, event.digit) for event in received.events if isinstance(event, DtmfReceived)] == [(IN, digit)]


@pytest.mark.parametrize(
    "stop", [{"stop": {}}, {"stop": None}, {}, {"stop": {"accountSid": twilio.ACCOUNT}}, {"stop": []}]
)
def test_a_stop_needs_to_say_nothing_more(stop: dict[str, Any]) -> None:
    received = Received(
        [ONE, *counted(2, 1), {"event": "stop", "sequenceNumber": "4", "streamSid": twilio.STREAM} | stop]
    )
    assert received.codes() == [1, 2]
    assert received.events[-1] == StreamStopped()


def test_messages_without_a_stream_sid_are_of_the_sockets_stream() -> None:
    messages = counted(3, 1)
    for one in messages:
        del one["streamSid"]
    assert Received([ONE, *messages, {"event": "stop"}]).codes() == [1, 2, 3]


@pytest.mark.parametrize(
    "message",
    ['{"event":"weather"}', '{"event":"error","message":{"a":[1]}}', '{"event":"mark","mark":{}}', '{"event":"Mark"}'],
)
def test_events_that_are_not_needed_do_not_end_a_stream(message: str) -> None:
    received = Received([ONE, message, *counted(2, 1)])
    assert received.codes() == [1, 2]
    assert received.stats.unknown_events + received.stats.malformed == 1
    assert len(received.notes) == 1


@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
def test_deep_nesting_is_refused_or_read_and_breaks_nothing(depth: int) -> None:
    deep = '{"event":"weather","x":' + "[" * depth + "]" * depth + "}"
    received = Received([ONE, deep, *counted(1, 1)])
    assert [code for code, _ in received.refusals] in ([], [1007])
