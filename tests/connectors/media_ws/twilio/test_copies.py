"""Servers and bots that copy Twilio's protocol: what has one plain meaning is taken, whatever it looks like."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import (
    Anomaly,
    AudioReceived,
    DtmfReceived,
    MediaEvent,
    ProtocolError,
    StreamStarted,
    StreamStopped,
    TrackAdded,
)
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.stream import TwilioStream
from tests.connectors.conftest import Serve
from tests.connectors.media_ws.lines import compared, opening, stream
from tests.connectors.media_ws.server import begin, close_code, running, until
from tests.connectors.media_ws.twilio import twilio_side as twilio

BOTH = ("inbound", "outbound")
IN, OUT = Track.INBOUND, Track.OUTBOUND


class Received:
    """What a stream of these messages, 10 ms apart, comes to."""

    def __init__(self, messages: Sequence[str | dict[str, Any]], limits: MediaLimits | None = None) -> None:
        self.core = TwilioStream(limits)
        self.events: list[MediaEvent] = []
        for index, message in enumerate(messages):
            now = index * 0.01
            while (timer := self.core.next_timer()) is not None and timer <= now:
                self.events += self.core.handle_timer(timer)
            self.events += self.core.receive(message if isinstance(message, str) else json.dumps(message), now)
        self.events += self.core.connection_lost(len(messages) * 0.01)
        self.stats = self.core.stats

    @property
    def started(self) -> StreamStarted:
        (event,) = [event for event in self.events if isinstance(event, StreamStarted)]
        assert self.events[0] is event
        return event

    @property
    def notes(self) -> list[str]:
        return [event.detail for event in self.events if isinstance(event, Anomaly)]

    @property
    def refusals(self) -> list[tuple[int, str]]:
        return [(event.close_code, event.reason) for event in self.events if isinstance(event, ProtocolError)]

    def codes(self, track: Track = IN) -> list[int]:
        """The first code of each 20 ms that were received, without gap or overlap."""
        parts, position = [], 0
        for event in self.events:
            if isinstance(event, AudioReceived) and event.track is track:
                assert event.pts == position
                position += event.codes.size
                parts.append(event.codes)
        return np.concatenate(parts)[::160].tolist() if parts else []


def media(
    seq: int | str | None, timestamp: int | str | None, code: int, track: str | None = "inbound"
) -> dict[str, Any]:
    """A message whose audio is one code; what is None is left out."""
    payload = base64.b64encode(bytes([code]) * 160).decode()
    body = {"track": track, "timestamp": timestamp, "payload": payload, "chunk": "1"}
    whole: dict[str, Any] = {"event": "media", "sequenceNumber": seq, "streamSid": twilio.STREAM}
    whole["media"] = {name: value for name, value in body.items() if value is not None}
    return {name: value for name, value in whole.items() if value is not None}


def counted(count: int, code: int, *, seq: int = 2, timestamp: int = 0) -> list[dict[str, Any]]:
    return [media(str(seq + index), str(timestamp + 20 * index), code + index) for index in range(count)]


ONE = twilio.start(("inbound",))


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


# -- the start


def started(fields: dict[str, Any]) -> Received:
    return Received([fields, *counted(3, 1)])


def start_with(value: Any, *path: str) -> dict[str, Any]:
    """A start with another value; None takes it out."""
    fields = twilio.start_fields(("inbound",))
    node = fields
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return fields


@pytest.mark.parametrize(
    "fields",
    [
        start_with(None, "sequenceNumber"),
        start_with(1, "sequenceNumber"),
        start_with(None, "streamSid"),
        start_with(None, "start", "streamSid"),
        start_with(None, "start", "accountSid"),
        start_with(7, "start", "accountSid"),
        start_with(None, "start", "tracks"),
        start_with("inbound", "start", "tracks"),
        start_with(["inbound_track"], "start", "tracks"),
        start_with(["Inbound"], "start", "tracks"),
        start_with(None, "start", "mediaFormat"),
        start_with({}, "start", "mediaFormat"),
        start_with({"encoding": "audio/x-mulaw", "sampleRate": "8000", "channels": "1"}, "start", "mediaFormat"),
        start_with({"encoding": "audio/x-mulaw"}, "start", "mediaFormat"),
        start_with({"encoding": "PCMU", "sampleRate": 8000, "channels": 1}, "start", "mediaFormat"),
        start_with({"encoding": "audio/mulaw;rate=8000", "sampleRate": 8000.0}, "start", "mediaFormat"),
        start_with(None, "start", "customParameters"),
        start_with("none", "start", "customParameters"),
    ],
)
def test_a_start_without_what_is_not_needed_is_taken(fields: dict[str, Any]) -> None:
    received = started(fields)
    assert received.codes() == [1, 2, 3]
    assert (received.started.call_sid, received.started.stream_sid) == (twilio.CALL, twilio.STREAM)
    assert received.started.tracks == (IN,)


def test_what_is_missing_in_a_start_and_taken_as_usual_is_told() -> None:
    for name in ("tracks", "mediaFormat"):
        received = started(start_with(None, "start", name))
        assert received.stats.irregular == 1
        assert "taken as" in received.notes[0]


TELNYX_START = {
    "event": "start",
    "sequence_number": "1",
    "start": {
        "user_id": "3E6F995F-85F7-4705-9741-53B116D28237",
        "call_control_id": "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ",
        "call_session_id": "ff55a038-6f5d-11ef-9692-02420aeffb1f",
        "from": "+15550100",
        "to": "+15550111",
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    },
    "stream_id": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
}


def telnyx(count: int, tracks: Sequence[str]) -> list[dict[str, Any]]:
    """20 ms of each track by turns."""
    sent = [
        media(2 + index, 20 * (index // len(tracks)), 1 + index, tracks[index % len(tracks)]) for index in range(count)
    ]
    return [one | {"streamSid": TELNYX_START["stream_id"]} for one in sent]


@pytest.mark.parametrize("tracks", [("inbound", "outbound"), ("outbound", "inbound")])
def test_tracks_that_no_start_announced_are_heard_from_their_first_audio_on(tracks: tuple[str, str]) -> None:
    received = Received([TELNYX_START, *telnyx(200, tracks)], MediaLimits(max_malformed=3))
    assert received.codes(Track(tracks[0])) == list(range(1, 201, 2))
    assert received.codes(Track(tracks[1])) == list(range(2, 201, 2))
    assert (received.refusals, received.stats.malformed) == ([], 0)
    assert received.events.count(TrackAdded(OUT)) == 1
    assert "without tracks" in received.notes[0]


def test_a_track_that_comes_late_is_heard_in_its_place() -> None:
    sent = telnyx(10, ("inbound",)) + [
        one | {"sequenceNumber": str(12 + index)} for index, one in enumerate(telnyx(5, ("outbound",)))
    ]
    for index, one in enumerate(sent[10:]):
        one["media"]["timestamp"] = str(200 + 20 * index)
    received = Received([TELNYX_START, *sent])
    assert received.codes(OUT) == [0xFF] * 10 + [1, 2, 3, 4, 5]
    assert received.stats.tracks[OUT].lost == 0


def test_a_key_on_a_track_that_no_start_announced_is_a_key() -> None:
    key = {"event": "dtmf", "sequence_number": "2", "dtmf": {"track": "outbound", "digit": "5"}}
    received = Received([TELNYX_START, key])
    assert [event for event in received.events if isinstance(event, TrackAdded | DtmfReceived)] == [
        TrackAdded(OUT),
        DtmfReceived(OUT, "5", 0.0),
    ]


def test_a_track_beside_those_that_were_announced_is_nobodys() -> None:
    received = Received([ONE, media(2, 0, 1, "outbound"), media(3, 0, 2)])
    assert (received.codes(IN), received.codes(OUT), received.stats.malformed) == ([2], [], 1)


def test_a_start_again_may_name_the_tracks_that_the_first_left_out() -> None:
    again = TELNYX_START | {"start": TELNYX_START["start"] | {"tracks": ["inbound", "outbound"]}}  # type: ignore[operator]
    received = Received([TELNYX_START, *telnyx(4, BOTH), again, *telnyx(4, BOTH)])
    assert (received.codes(IN), received.codes(OUT), received.refusals) == ([1, 3, 1, 3], [2, 4, 2, 4], [])


def test_numbers_that_a_start_tells_are_those_of_the_call() -> None:
    received = Received([TELNYX_START])
    assert received.started.parameters == {"from": "+15550100", "to": "+15550111"}


def test_numbers_in_custom_parameters_go_before_those_of_the_start() -> None:
    start = start_with({"from": "alice"}, "start", "customParameters")
    start["start"] |= {"from": "+15550100", "to": 15550111, "mediaFormat": None}
    assert Received([start]).started.parameters == {"from": "alice", "to": "15550111"}


@pytest.mark.parametrize("tracks", ["both_tracks", "both", ["both_tracks"], ["inbound_track", "outbound_track"]])
def test_both_tracks_in_other_words_are_both(tracks: Any) -> None:
    assert set(started(start_with(tracks, "start", "tracks")).started.tracks) == {IN, OUT}


@pytest.mark.parametrize(
    ("encoding", "rate", "channels"),
    [
        ("audio/x-l16", 8000, 1),
        ("audio/x-alaw", 8000, 1),
        ("audio/x-mulaw", 16000, 1),
        ("audio/x-mulaw", "fast", 1),
        ("audio/x-mulaw", 8000, 2),
        ("", "16000", 1),
    ],
)
def test_other_audio_is_refused_with_the_reason(encoding: str, rate: Any, channels: int) -> None:
    form = {"encoding": encoding, "sampleRate": rate, "channels": channels}
    ((code, reason),) = Received([start_with(form, "start", "mediaFormat")]).refusals
    assert (code, reason) == (1003, "media format is not audio/x-mulaw, 8000 Hz, 1 channel")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": 2.5, "c": True, "d": "x"}, {"a": "1", "b": "2.5", "c": "true", "d": "x"}),
        ({"a": None, "b": ""}, {"b": ""}),
        ({"a": {"b": [1, "é"]}, "c": []}, {"a": '{"b":[1,"é"]}', "c": "[]"}),
        ([{"name": "a", "value": 1}, {"name": "b"}, 7], {"a": "1"}),
        ({"a": 10**30}, {"a": str(10**30)}),
        ("text", {}),
        (5, {}),
    ],
)
def test_custom_parameters_of_any_type_become_metadata(value: Any, expected: dict[str, str]) -> None:
    received = started(start_with(value, "start", "customParameters"))
    assert received.started.parameters == expected
    assert received.codes() == [1, 2, 3]


def test_a_lone_surrogate_a_null_and_a_control_character_refuse_nothing() -> None:
    start = json.dumps(start_with({"a": "x\ud800y", "b\udc00": "1", "c": "n\0l"}, "start", "customParameters"))
    received = Received([start, *counted(2, 1)])
    assert received.started.parameters == {"a": "x\ufffdy", "b\ufffd": "1", "c": "n\0l"}
    assert all(text.encode() for pair in received.started.parameters.items() for text in pair)
    raw = ONE.replace('"customParameters": {}', '"customParameters": {"a": "x\ty"}')
    assert Received([raw, *counted(2, 1)]).started.parameters == {"a": "x\ty"}


def test_of_two_equal_keys_the_last_one_counts() -> None:
    text = json.dumps(media("2", "0", 1)).replace('"timestamp": "0"', '"timestamp": "x", "timestamp": "0"')
    assert Received([ONE, text]).codes() == [1]
    twice = ONE.replace('"customParameters": {}', '"customParameters": {"a": "1", "a": 2}')
    assert Received([twice]).started.parameters == {"a": "2"}


def test_snake_case_is_read_as_well() -> None:
    start = {
        "event": "start",
        "sequence_number": "1",
        "stream_sid": "MZ1",
        "start": {
            "stream_sid": "MZ1",
            "call_sid": "CA1",
            "account_sid": "AC1",
            "custom_parameters": {"a": "b"},
            "media_format": {"encoding": "audio/x-mulaw", "sample_rate": "8000"},
        },
    }
    sent = [media(None, index * 20, 1 + index) for index in range(3)]
    sent = [
        one | {"stream_sid": "MZ1", "streamSid": "MZ1", "sequence_number": str(2 + i)} for i, one in enumerate(sent)
    ]
    received = Received([start, *sent, {"event": "stop", "sequence_number": "5", "stream_sid": "MZ1", "stop": {}}])
    assert (received.started.call_sid, received.started.stream_sid, received.started.account_sid) == (
        "CA1",
        "MZ1",
        "AC1",
    )
    assert received.started.parameters == {"a": "b"}
    assert received.codes() == [1, 2, 3]
    assert received.events[-1] == StreamStopped()


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


# -- single path, bulk path, driver


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("tracks", [("inbound",), BOTH])
@pytest.mark.parametrize("timestamp", [0, 2_000])
async def test_lanes_hear_what_begins_anew_as_message_by_message(
    tracks: tuple[str, ...], timestamp: int, seed: int | None
) -> None:
    messages = opening(tracks) + stream(100, tracks) + stream(100, tracks, timestamp=timestamp)
    again = opening(tracks) + stream(60, tracks) + opening(tracks)[1:] + stream(60, tracks)
    for line in await compared([messages, again], seed):
        stats = line.core.stats
        assert sum(track.packets for track in stats.tracks.values()) in (200, 120)
        assert sum(track.duplicates for track in stats.tracks.values()) == 0
        if seed is None:
            assert line.core.runs >= 2


async def test_lanes_hear_copies_as_message_by_message() -> None:
    whole = stream(80)
    numbers = [json.dumps(one | {"sequenceNumber": int(one["sequenceNumber"])}) for one in map(json.loads, whole)]
    lacking = []
    for index, text in enumerate(whole):
        fields = json.loads(text)
        if index % 7 == 3:
            del fields["media"]["timestamp"]
        if index % 11 == 5:
            del fields["sequenceNumber"]
        lacking.append(json.dumps(fields))
    for line in await compared([opening() + numbers, opening() + lacking, opening() + whole]):
        assert line.core.stats.tracks[IN].packets == 80
        assert line.core.stats.tracks[IN].filled_samples == 0


async def test_a_track_that_is_not_announced_becomes_a_leg_of_its_own(serve: Serve) -> None:
    server = await serve()
    ws = await server.connect()
    for message in (TELNYX_START, *telnyx(100, BOTH)):
        await ws.send_str(json.dumps(message))
    call = await running(server, TELNYX_START["start"]["call_control_id"], legs=2)  # type: ignore[index]
    await until(lambda: sum(leg.codes.size for leg in call.legs.values()) == 100 * 160)
    assert call.legs["outbound"].codes[::160].tolist() == list(range(2, 101, 2))
    assert call.legs["outbound"].options.role == "agent"
    assert (call.info.from_, call.info.to) == ("+15550100", "+15550111")
    await ws.send_str('{"event":"stop"}')
    assert await close_code(ws) == 1000
    await call.over.wait()
    assert (call.reason, server.connector.stats.malformed) == ("completed", 0)


async def test_a_track_that_the_engine_has_no_room_for_ends_its_call_with_the_reason_and_no_other(serve: Serve) -> None:
    server = await serve()
    server.calls.max_sessions = 2
    other = await begin(server, ("inbound",), call="CAother", stream="MZother")
    other_call = await running(server, "CAother", legs=1)
    ws = await server.connect()
    for message in (TELNYX_START, *telnyx(2, BOTH)):
        await ws.send_str(json.dumps(message))
    assert await close_code(ws) == 1013
    await until(lambda: len(server.calls.running) == 1)
    assert server.calls.history[-1].reason == "no room for this call, try again later"
    assert not other_call.ended
    await other.close()


async def test_a_copys_call_is_heard_to_its_end_told_once_and_counted(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    ws = await begin(server, ("inbound",), parameters={"vip": 1})
    for turn in range(2):
        for message in counted(20, 1 + 50 * turn):
            await ws.send_str(json.dumps(message))
    call = await running(server, legs=1)
    await until(lambda: call.legs["inbound"].codes.size == 40 * 160)
    assert call.metadata == {"vip": "1"}
    await ws.send_str('{"event":"stop"}')
    assert await close_code(ws) == 1000
    await call.over.wait()
    assert call.reason == "completed"
    stats = server.connector.stats
    assert (stats.packets, stats.duplicates, stats.restarts, stats.malformed) == (40, 0, 1, 0)
    assert stats.irregular == 2
    assert [twilio.CALL in record.getMessage() for record in caplog.records] == [True]
