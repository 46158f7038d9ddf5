"""The start as servers and bots that copy Twilio's protocol send it: tracks, audio, parameters."""

import json
from typing import Any

import pytest

from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import DtmfReceived, StreamStopped, TrackAdded
from connectors.media_ws.track import Track
from tests.connectors.media_ws.lines import BOTH
from tests.connectors.media_ws.twilio import twilio_side as twilio
from tests.connectors.media_ws.twilio.copies import IN, ONE, OUT, TELNYX_START, Received, counted, media, telnyx


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
