"""Lanes of `MediaLanes`: who has one and for how long, when it was read, and who gets what waits in it."""

import numpy as np
import pytest

from connectors.media_ws.bulk import ALIVE_INTERVAL_S, LONGEST_WAIT_S
from connectors.media_ws.track import Track
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import decode_mulaw
from tests.connectors.media_ws.bench import ONE, Bench, Stream
from tests.connectors.media_ws.lines import BOTH, PING, Clock, masked


def test_lanes_grow(clock: Clock) -> None:
    bench = Bench(clock, lanes=2)
    streams: list[Stream] = []
    for tracks in (ONE, BOTH, ONE, BOTH, BOTH, ONE, ONE, BOTH, ONE):
        streams += bench.streams(1, tracks)
        for stream in streams:
            stream.say(3)
        bench.ingest.tick()
    assert [stream.lane for stream in streams] == list(range(9))
    assert all(stream.all_taken() for stream in streams)


def test_a_lane_that_was_left_is_as_new(clock: Clock) -> None:
    bench = Bench(clock, lanes=1)
    encodings = (Encoding.PCMU, Encoding.PCMA)
    for turn, tracks in enumerate((BOTH, BOTH, ONE, BOTH, ONE, ONE)):
        (stream,) = bench.streams(1, tracks, (50 * 11**turn, 40, 800), encodings[turn % 2])
        assert stream.lane == 0
        stream.say(5)
        bench.ingest.tick()
        stream.intakes[Track.INBOUND].push(AudioFrame(0, np.zeros(0, np.uint8), Encoding.PCMU, 8000, 0.0))
        assert stream.all_taken()


def test_a_lane_that_was_left_is_the_last_to_be_given_again(bench: Bench) -> None:
    first, second = bench.streams(2)
    bench.lanes.leave(first.lane)
    (third,) = bench.streams(1)
    assert third.lane not in (first.lane, second.lane)


def test_a_stream_may_come_back_while_its_frames_are_given_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, other = bench.streams(2)
    taken = list[int]()

    def data_received(data: bytes) -> None:
        if data == PING:
            stream.enter()
        else:
            stream.read(data)

    def leave() -> None:
        taken.append(bench.lanes.leave(stream.lane)[Track.INBOUND])

    monkeypatch.setattr(stream, "data_received", data_received)
    monkeypatch.setattr(stream, "leave", leave)
    for _ in range(3):
        stream.say(2)
        other.say(3)
        messages, numbers, sent = [stream.next() for _ in range(3)], stream.numbers, list(stream.sent[Track.INBOUND])
        stream.read(PING)
        for message in messages:
            stream.read(masked(message))
        del stream.sent[Track.INBOUND][-3:]
        stream.numbers = (numbers[0] - 3, numbers[1] - 3, numbers[2] - 60)
        bench.lanes.flush()
        stream.numbers, stream.sent[Track.INBOUND] = numbers, sent
    taken.append(bench.lanes.leave(stream.lane)[Track.INBOUND])
    assert taken == [2, 5, 5, 3]
    assert np.array_equal(stream.samples(), decode_mulaw(np.frombuffer(b"".join(sent), np.uint8)))
    assert other.all_taken()


def test_a_socket_that_raises_ends_its_own_stream(bench: Bench) -> None:
    streams = bench.streams(3)
    streams[1].broken = True
    for stream in streams:
        stream.read(PING)
    bench.ingest.tick()
    assert [str(exc) for exc in streams[1].faults] == ["broken"]
    assert [stream.back for stream in streams] == [[PING], [], [PING]]
    assert not streams[0].faults
    assert not streams[2].faults


def test_a_socket_is_told_at_most_once_a_second_that_its_peer_is_there(bench: Bench, clock: Clock) -> None:
    stream, quiet = bench.streams(2)
    for step in range(1, 401):
        clock.now += 0.02
        stream.say(1 + step % 2)
        bench.ingest.tick()
        assert 0.02 * step - 1.04 * stream.notified <= ALIVE_INTERVAL_S + 0.03
        assert stream.notified * ALIVE_INTERVAL_S <= 0.02 * step
    assert stream.notified == 7
    assert quiet.notified == 0
    (late,) = bench.streams(1)
    late.say()
    bench.ingest.tick()
    assert late.notified == 0


def test_a_lane_knows_when_its_last_message_was_read(bench: Bench, clock: Clock) -> None:
    stream, other = bench.streams(2)
    began = clock.now
    clock.now += 0.125
    stream.say()
    clock.now += 0.125
    stream.say()
    other.read(PING)
    clock.now += 0.125
    assert bench.lanes.received_at(stream.lane) == began
    bench.ingest.tick()
    assert bench.lanes.received_at(stream.lane) == began + 0.25
    assert bench.lanes.received_at(other.lane) == began
    arrivals = [arrival for _, arrival in stream.intakes[Track.INBOUND].timeline._arrivals]
    assert arrivals == [0.0, began + 0.125, began + 0.25]


def test_arrivals_stay_with_their_messages(bench: Bench, clock: Clock) -> None:
    streams = bench.streams(6)
    began = clock.now
    for number, stream in enumerate(streams):
        clock.now = began + 0.0625 * number
        if number in (0, 3):
            stream.read(PING)
        else:
            stream.say()
    bench.ingest.tick()
    for number in (1, 2, 4, 5):
        arrivals = [arrival for _, arrival in streams[number].intakes[Track.INBOUND].timeline._arrivals]
        assert arrivals == [0.0, began + 0.0625 * number]
        assert bench.lanes.received_at(streams[number].lane) == began + 0.0625 * number


def test_what_waits_is_flushed_where_no_tick_comes(bench: Bench, clock: Clock) -> None:
    stream, other = bench.streams(2)
    stream.say()
    clock.now += LONGEST_WAIT_S
    other.say()
    assert bench.lanes.received_at(stream.lane) < clock.now - 0.4
    assert stream.intakes[Track.INBOUND].stats.frames == 1
    clock.now += 0.01
    stream.say()
    assert stream.intakes[Track.INBOUND].stats.frames == 3
    stream.say()
    assert stream.intakes[Track.INBOUND].stats.frames == 3
    bench.ingest.tick()
    assert stream.all_taken()
    assert other.all_taken()


def test_audio_of_a_closed_leg_is_for_its_stream_and_not_for_the_next_leg(bench: Bench, clock: Clock) -> None:
    streams = bench.streams(4, BOTH)
    closed = streams[2]
    bench.ingest.close(closed.intakes[Track.OUTBOUND])
    successor = bench.open()
    successor.push(AudioFrame(0, np.full(320, 0xFF, np.uint8), Encoding.PCMU, 8000, 0.0))
    bench.ingest.tick()
    before = bench.recognizer.audio(successor.session).size
    clock.now += 0.25
    for stream in streams:
        stream.say(4)
    bench.ingest.tick()
    (first, second) = closed.sent[Track.OUTBOUND]
    assert closed.pushed == [(Track.OUTBOUND, 320, first, clock.now), (Track.OUTBOUND, 480, second, clock.now)]
    assert bench.recognizer.audio(successor.session).size == before
    assert not closed.back
    assert bench.lanes.leave(closed.lane) == {Track.INBOUND: 2, Track.OUTBOUND: 2}
    assert all(stream.all_taken() for stream in streams if stream is not closed)


@pytest.mark.parametrize("tracks", [ONE, BOTH])
def test_nothing_more_is_taken_of_a_stream_that_is_over(bench: Bench, tracks: tuple[str, ...]) -> None:
    over, other = bench.streams(2, tracks)
    over.ends = True
    bench.ingest.close(over.intakes[Track.INBOUND])
    frames = [masked(over.next()) for _ in range(3)]
    for frame in frames:
        over.read(frame)
        other.say()
    bench.ingest.tick()
    assert over.back == frames[1:]
    assert over.taken == {track: int(track is Track.INBOUND) for track in over.tracks}
    assert other.all_taken()


def test_a_session_that_takes_no_audio_disturbs_no_other_stream(bench: Bench) -> None:
    dead, *others = bench.streams(5)
    bench.recognizer.dead.add(dead.intakes[Track.INBOUND].session)
    for _ in range(4):
        for stream in (dead, *others):
            stream.say(2)
        bench.ingest.tick()
    assert dead.intakes[Track.INBOUND].closed
    assert len(dead.pushed) == 7
    assert all(stream.all_taken() for stream in others)


@pytest.mark.parametrize("how", ["tick", "flush", "close", "leg of another", "lanes"])
def test_whoever_wants_audio_gets_what_waits(bench: Bench, how: str) -> None:
    stream, other = bench.streams(2)
    stream.say(2)
    if how == "tick":
        bench.ingest.tick()
    elif how == "flush":
        bench.ingest.flush(stream.intakes[Track.INBOUND])
    elif how == "close":
        bench.ingest.close(stream.intakes[Track.INBOUND])
    elif how == "leg of another":
        bench.ingest.close(other.intakes[Track.INBOUND])
    else:
        bench.lanes.flush()
    assert stream.intakes[Track.INBOUND].stats.frames == 3
    assert stream.all_taken()
