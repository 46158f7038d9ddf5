import json
from typing import Any

import numpy as np
import pytest

from connectors.errors import LocalProtocolError
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.events import (
    Anomaly,
    AudioReceived,
    DtmfReceived,
    MarkReceived,
    MediaEvent,
    ProtocolError,
    StreamStarted,
    StreamStopped,
)
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.output import StreamState
from connectors.media_ws.twilio.stream import TwilioStream
from tests.connectors.media_ws.twilio import twilio_side as twilio


def streaming(tracks: tuple[str, ...] = ("inbound", "outbound"), limits: MediaLimits | None = None) -> TwilioStream:
    stream = TwilioStream(limits)
    assert stream.receive(twilio.connected(), 0.0) == []
    (started,) = stream.receive(twilio.start(tracks), 0.0)
    assert isinstance(started, StreamStarted)
    return stream


def audio(events: list[MediaEvent]) -> list[AudioReceived]:
    return [event for event in events if isinstance(event, AudioReceived)]


def refusal(events: list[MediaEvent]) -> int:
    last = events[-1]
    assert isinstance(last, ProtocolError)
    return last.close_code


# -- the orderly stream


def test_start_tells_what_twilio_said_of_the_call() -> None:
    stream = TwilioStream()
    stream.receive(twilio.connected(), 0.0)
    parameters = {"agent": "a-7", "queue": "billing"}
    (started,) = stream.receive(twilio.start(("outbound", "inbound"), parameters=parameters), 0.0)
    assert isinstance(started, StreamStarted)
    assert (started.call_sid, started.stream_sid, started.account_sid) == (twilio.CALL, twilio.STREAM, twilio.ACCOUNT)
    assert started.tracks == (Track.OUTBOUND, Track.INBOUND)
    assert started.parameters == parameters
    assert (started.media_format.encoding, started.media_format.sample_rate_hz) == ("pcmu", 8000)


def test_start_without_connected_is_accepted() -> None:
    (started,) = TwilioStream().receive(twilio.start(), 0.0)
    assert isinstance(started, StreamStarted)


def test_unknown_fields_are_ignored() -> None:
    fields = twilio.start_fields()
    fields["region"] = {"name": "ie1"}
    fields["start"]["customerTier"] = [1, 2]
    (started,) = TwilioStream().receive(json.dumps(fields), 0.0)
    assert isinstance(started, StreamStarted)


def test_media_of_both_tracks_comes_out_with_its_own_positions() -> None:
    stream = streaming()
    codes = bytes(range(160))
    events = stream.receive(twilio.media(2, 0, codes), 0.02) + stream.receive(
        twilio.media(3, 0, codes[::-1], track="outbound"), 0.02
    )
    events += stream.receive(twilio.media(4, 20, codes), 0.04)
    assert [(event.track, event.pts, event.arrival, event.filled) for event in audio(events)] == [
        (Track.INBOUND, 0, 0.02, False),
        (Track.OUTBOUND, 0, 0.02, False),
        (Track.INBOUND, 160, 0.04, False),
    ]
    assert audio(events)[1].codes.tobytes() == codes[::-1]
    assert audio(events)[0].codes.dtype == np.uint8
    assert stream.stats.tracks[Track.INBOUND].packets == 2


def test_first_timestamp_is_leading_silence_so_that_tracks_share_the_clock_of_the_stream() -> None:
    events = audio(streaming().receive(twilio.media(2, 102), 0.1))
    assert [(event.pts, event.codes.size, event.filled) for event in events] == [(0, 816, True), (816, 160, False)]
    assert set(events[0].codes.tolist()) == {0xFF}


def test_dtmf_and_mark_come_in_order_with_media_time() -> None:
    stream = streaming()
    stream.receive(twilio.media(2, 0), 0.0)
    stream.receive(twilio.media(3, 20), 0.0)
    assert stream.receive(twilio.dtmf(4, "#"), 0.0) == [DtmfReceived(Track.INBOUND, "#", 0.04)]
    assert stream.receive(twilio.mark(5), 0.0) == [MarkReceived("greeting")]


def test_stop_ends_the_stream_and_what_follows_is_counted() -> None:
    stream = streaming()
    assert stream.receive(twilio.stop(2), 0.0) == [StreamStopped()]
    assert stream.receive(twilio.media(3, 0), 0.0) == []
    assert stream.receive("not JSON", 0.0) == []
    assert stream.stats.after_end == 2
    assert stream.state is StreamState.ENDED


# -- order, gaps, duplicates


def test_messages_out_of_order_are_put_in_order() -> None:
    stream = streaming(("inbound",))
    events: list[MediaEvent] = []
    for seq in (3, 4, 2, 5):
        events += stream.receive(twilio.media(seq, 20 * (seq - 2), bytes([seq] * 160)), 0.02 * seq)
    assert [event.codes[0] for event in audio(events)] == [2, 3, 4, 5]
    assert [event.pts for event in audio(events)] == [0, 160, 320, 480]
    stats = stream.stats.tracks[Track.INBOUND]
    assert (stats.packets, stats.lost, stats.reordered) == (4, 0, 1)


def test_missing_message_is_waited_for_60_ms_and_then_becomes_silence() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(2, 0), 1.0)
    assert stream.next_timer() is None
    assert stream.receive(twilio.media(4, 40), 1.01) == []
    assert stream.next_timer() == pytest.approx(1.07)
    assert stream.handle_timer(1.06) == []
    events = audio(stream.handle_timer(1.07))
    assert [(event.pts, event.codes.size, event.filled) for event in events] == [(160, 160, True), (320, 160, False)]
    assert events[1].arrival == 1.01
    assert stream.stats.tracks[Track.INBOUND].lost == 1


def test_missing_message_is_not_waited_for_beyond_60_ms_of_media() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(2, 0), 1.0)
    for seq in (4, 5, 6):
        assert stream.receive(twilio.media(seq, 20 * (seq - 2)), 1.0) == []
    events = audio(stream.receive(twilio.media(7, 100), 1.0))
    assert [event.filled for event in events] == [True, False, False, False, False]


def test_late_message_is_counted_and_dropped() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(3, 20), 1.0)
    stream.handle_timer(1.1)
    assert stream.receive(twilio.media(2, 0), 1.2) == []
    stats = stream.stats.tracks[Track.INBOUND]
    assert (stats.packets, stats.lost, stats.late, stats.duplicates) == (1, 1, 1, 0)


def test_duplicate_is_counted_and_dropped_whether_released_or_held() -> None:
    stream = streaming(("inbound",))
    assert len(audio(stream.receive(twilio.media(2, 0), 0.0))) == 1
    assert stream.receive(twilio.media(2, 0), 0.0) == []
    stream.receive(twilio.media(4, 40), 0.0)
    assert stream.receive(twilio.media(4, 40), 0.0) == []
    assert stream.stats.tracks[Track.INBOUND].duplicates == 2


def test_what_waits_for_a_missing_message_comes_out_at_the_stop() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(3, 20), 1.0)
    assert stream.receive(twilio.stop(4), 1.0) == []
    events = stream.handle_timer(1.06)
    assert [event.pts for event in audio(events)] == [0, 160]
    assert events[-1] == StreamStopped()


def test_what_waits_comes_out_when_the_socket_is_lost_and_no_stop_is_made_up() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(3, 20), 1.0)
    events = stream.connection_lost(1.0)
    assert [event.pts for event in audio(events)] == [0, 160]
    assert len(events) == 2


def test_what_waits_comes_out_before_a_protocol_error() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(3, 20), 1.0)
    events = stream.receive(twilio.start(call="CAother"), 1.0)
    assert [event.pts for event in audio(events)] == [0, 160]
    assert refusal(events) == 1008


def test_loss_is_counted_on_the_track_that_lost() -> None:
    stream = streaming()
    stream.receive(twilio.media(2, 0), 0.0)
    stream.receive(twilio.media(3, 0, track="outbound"), 0.0)
    stream.receive(twilio.media(4, 20), 0.0)  # 5, outbound at 20 ms, is lost
    stream.receive(twilio.media(6, 40), 0.0)
    stream.receive(twilio.media(7, 40, track="outbound"), 0.0)
    stream.handle_timer(1.0)
    assert (stream.stats.tracks[Track.INBOUND].lost, stream.stats.tracks[Track.OUTBOUND].lost) == (0, 1)
    assert stream.stats.tracks[Track.OUTBOUND].filled_samples == 160


def test_no_more_is_counted_lost_than_there_were_messages_missing() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(2, 0), 0.0)
    stream.receive(twilio.media(4, 520), 0.0)
    assert audio(stream.handle_timer(0.06))[-1].pts == 520 * 8
    stream.receive(twilio.media(5, 1_040), 1.0)
    assert stream.stats.tracks[Track.INBOUND].lost == 1
    assert audio(stream.receive(twilio.media(6, 1_065), 1.0))[0].pts == 1_060 * 8


def test_gap_without_missing_message_is_silence_but_not_loss() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(2, 0), 0.0)
    events = audio(stream.receive(twilio.media(3, 520), 0.52))
    assert [(event.pts, event.codes.size) for event in events] == [(160, 4000), (4160, 160)]
    assert stream.stats.tracks[Track.INBOUND].lost == 0


def test_jitter_of_timestamps_does_not_cut_an_unbroken_track() -> None:
    stream = streaming(("inbound",))
    events: list[MediaEvent] = []
    for seq, timestamp in enumerate((0, 27, 38, 61, 99), start=2):
        events += stream.receive(twilio.media(seq, timestamp), 0.0)
    assert [event.pts for event in audio(events)] == [0, 160, 320, 480, 640]


def test_silent_track_follows_the_other_one() -> None:
    stream = streaming()
    events: list[MediaEvent] = []
    for index in range(150):
        events += stream.receive(twilio.media(2 + index, 20 * index), 0.02 * index)
    silent = [event for event in audio(events) if event.track is Track.OUTBOUND]
    assert all(event.filled for event in silent)
    filled = sum(event.codes.size for event in silent)
    assert 8000 * 1.8 <= filled <= 8000 * 2.0
    position = 0
    for event in silent:
        assert event.pts == position
        position += event.codes.size
    after = audio(stream.receive(twilio.media(152, 3000, track="outbound"), 3.0))
    assert after[-1].pts == 24000


def test_long_gap_gets_two_seconds_of_silence_and_a_step() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(2, 0), 0.0)
    events = audio(stream.receive(twilio.media(3, 300_020), 300.0))
    assert [event.codes.size for event in events] == [8000, 8000, 160]
    assert events[-1].pts == 300_020 * 8


def test_timestamp_that_cannot_be_is_counted_and_its_audio_kept() -> None:
    stream = streaming(("inbound",))
    stream.receive(twilio.media(2, 0), 0.0)
    events = stream.receive(twilio.media(3, 10**12), 0.02)
    assert [event.pts for event in audio(events)] == [160]
    assert audio(stream.receive(twilio.media(4, 10**12 + 20), 0.04))[0].pts == 320
    assert stream.stats.implausible == 1


def test_sequence_number_far_ahead_is_believed_only_when_the_next_confirms_it() -> None:
    stream = streaming(("inbound",))
    assert audio(stream.receive(twilio.media(10**9, 0), 0.0)) == []
    assert len(audio(stream.receive(twilio.media(2, 0), 0.0))) == 1
    assert stream.stats.implausible == 1
    stream.receive(twilio.media(10**6, 20), 0.0)
    stream.receive(twilio.media(10**6 + 1, 40), 0.0)
    assert [event.pts for event in audio(stream.handle_timer(1.0))] == [160, 320]


# -- bad input


def without(fields: dict[str, Any], *path: str) -> dict[str, Any]:
    node = fields
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return fields


def with_value(fields: dict[str, Any], value: Any, *path: str) -> dict[str, Any]:
    node = fields
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return fields


@pytest.mark.parametrize(
    "data",
    [
        "hello",
        "",
        "{",
        '{"event": "media"',
        "\ud800",
        "[]",
        "null",
        "17",
        "{}",
        '{"event": 5}',
        "[" * 100_000,
        '{"event":' * 5_000,
    ],
)
def test_what_is_not_a_message_is_closed_with_1007(data: str) -> None:
    assert refusal(streaming().receive(data, 0.0)) == 1007


def test_binary_message_is_closed_with_1003() -> None:
    assert refusal(streaming().receive(twilio.media(2, 0).encode(), 0.0)) == 1003


@pytest.mark.parametrize("message", [twilio.media(2, 0), twilio.dtmf(2), twilio.mark(2), twilio.stop(2)])
@pytest.mark.parametrize("opened", [True, False])
def test_anything_before_start_is_closed_with_1002(message: str, opened: bool) -> None:
    stream = TwilioStream()
    if opened:
        stream.receive(twilio.connected(), 0.0)
    assert refusal(stream.receive(message, 0.0)) == 1002


def test_malformed_media_before_start_is_closed_with_1002() -> None:
    assert refusal(TwilioStream().receive('{"event": "media"}', 0.0)) == 1002


def test_second_start_of_another_call_or_track_is_closed_with_1008() -> None:
    assert refusal(streaming().receive(twilio.start(call="CAother"), 0.0)) == 1008
    assert refusal(streaming().receive(twilio.start(account="ACother"), 0.0)) == 1008
    assert refusal(streaming(("inbound",)).receive(twilio.start(), 0.0)) == 1008


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (without(twilio.start_fields(), "start"), 1002),
        (without(twilio.start_fields(), "start", "callSid"), 1002),
        (with_value(twilio.start_fields(), "MZ1", "streamSid"), 1002),
        (with_value(twilio.start_fields(), "", "start", "callSid"), 1002),
        (with_value(twilio.start_fields(), "CA 1\n", "start", "callSid"), 1002),
        (with_value(twilio.start_fields(), "C" * 65, "start", "callSid"), 1002),
        (with_value(twilio.start_fields(), "audio/x-alaw", "start", "mediaFormat", "encoding"), 1003),
        (with_value(twilio.start_fields(), 16000, "start", "mediaFormat", "sampleRate"), 1003),
        (with_value(twilio.start_fields(), 2, "start", "mediaFormat", "channels"), 1003),
        (with_value(twilio.start_fields(), [], "start", "tracks"), 1003),
        (with_value(twilio.start_fields(), ["inbound", "inbound"], "start", "tracks"), 1003),
        (with_value(twilio.start_fields(), ["inbound", "sideways"], "start", "tracks"), 1003),
        (with_value(twilio.start_fields(), {"a": "x" * 500}, "start", "customParameters"), 1008),
        (with_value(twilio.start_fields(), {str(i): "" for i in range(33)}, "start", "customParameters"), 1008),
    ],
)
def test_unusable_start_is_closed(fields: dict[str, Any], code: int) -> None:
    stream = TwilioStream()
    stream.receive(twilio.connected(), 0.0)
    assert refusal(stream.receive(json.dumps(fields), 0.0)) == code
    assert stream.started is None


def bad_media(value: Any, *path: str) -> str:
    return json.dumps(with_value(json.loads(twilio.media(2, 0)), value, *path))


@pytest.mark.parametrize(
    "message",
    [
        bad_media("@@@=", "media", "payload"),
        bad_media("AAAAA", "media", "payload"),
        bad_media("AA==AAA=", "media", "payload"),
        bad_media(7, "media", "payload"),
        bad_media("sideways", "media", "track"),
        bad_media("outbound", "media", "track"),
        bad_media(None, "media"),
        twilio.dtmf(2, "55"),
        twilio.dtmf(2, track="outbound_track"),
        twilio.mark(2, "n" * 300),
        '{"event": "dtmf"}',
        '{"event": "mark", "streamSid": 3}',
    ],
)
def test_bad_packet_is_counted_noted_once_and_costs_only_itself(message: str) -> None:
    stream = streaming(("inbound",))
    (anomaly,) = stream.receive(message, 0.0)
    assert isinstance(anomaly, Anomaly)
    assert "55" not in anomaly.detail
    assert stream.receive(message, 0.0) == []
    assert stream.stats.malformed == 2
    stream.receive(twilio.media(3, 20), 0.1)
    assert [event.pts for event in audio(stream.handle_timer(0.2))] == [0, 160]


def test_too_many_bad_packets_are_closed_with_1008() -> None:
    stream = streaming(("inbound",), MediaLimits(max_malformed=3))
    for _ in range(3):
        stream.receive('{"event": "media"}', 0.0)
    assert refusal(stream.receive('{"event": "media"}', 0.0)) == 1008


def test_unknown_event_is_counted_and_ignored_before_and_after_start() -> None:
    stream = TwilioStream()
    (anomaly,) = stream.receive('{"event": "weather"}', 0.0)
    assert anomaly == Anomaly("unknown event")
    stream.receive(twilio.start(), 0.0)
    assert stream.receive('{"event": "weather", "media": {}}', 0.0) == []
    assert stream.stats.unknown_events == 2
    assert len(audio(stream.receive(twilio.media(2, 0), 0.0))) == 1


def test_message_of_another_stream_is_closed_with_1008() -> None:
    assert refusal(streaming().receive(twilio.media(2, 0, stream="MZother"), 0.0)) == 1008


def test_stop_of_another_call_is_closed_with_1008() -> None:
    assert refusal(streaming().receive(twilio.stop(2, call="CAother"), 0.0)) == 1008


def test_too_much_audio_in_a_message_is_closed_with_1009() -> None:
    assert refusal(streaming().receive(twilio.media(2, 0, b"\xff" * 8001), 0.0)) == 1009


def test_empty_payload_is_a_packet_without_audio() -> None:
    stream = streaming(("inbound",))
    assert stream.receive(twilio.media(2, 0, b""), 0.0) == []
    assert stream.stats.tracks[Track.INBOUND].packets == 1


# -- what a bot sends back


def test_messages_to_twilio_have_its_documented_form() -> None:
    stream = streaming()
    assert json.loads(stream.play(b"\x00\xff")) == {
        "event": "media",
        "streamSid": twilio.STREAM,
        "media": {"payload": "AP8="},
    }
    assert json.loads(stream.mark("m")) == {"event": "mark", "streamSid": twilio.STREAM, "mark": {"name": "m"}}
    assert json.loads(stream.clear()) == {"event": "clear", "streamSid": twilio.STREAM}


def test_nothing_can_be_sent_before_start_or_after_stop() -> None:
    stream = TwilioStream()
    with pytest.raises(LocalProtocolError):
        stream.clear()
    stream = streaming()
    stream.receive(twilio.stop(2), 0.0)
    with pytest.raises(LocalProtocolError):
        stream.play(b"")
