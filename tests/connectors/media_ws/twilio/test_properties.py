"""Whatever a peer sends, and in whatever order the network brings it."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.media_ws.events import AudioReceived, MediaEvent, ProtocolError, StreamStarted, StreamStopped
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.output import StreamState
from connectors.media_ws.twilio.stream import TwilioStream
from tests.connectors.media_ws.twilio import twilio_side as twilio

TRACKS = ("inbound", "outbound")
STEP_S = 0.010
"""Between two messages of a stream with two tracks of 20 ms packets."""

numbers = st.one_of(st.integers(0, 200).map(str), st.integers(0, 10**15).map(str), st.text(max_size=6))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def broken_messages(draw: st.DrawFn) -> str:
    """A message of Twilio's with one value, somewhere, taken out or replaced by any other."""
    valid = [
        twilio.connected(),
        twilio.start(),
        twilio.media(draw(st.integers(0, 50)), draw(st.integers(0, 500))),
        twilio.dtmf(3),
        twilio.mark(4),
        twilio.stop(5),
    ]
    fields: dict[str, Any] = json.loads(draw(st.sampled_from(valid)))
    node, key = fields, draw(st.sampled_from(sorted(fields)))
    while isinstance(node[key], dict) and node[key] and draw(st.booleans()):
        node = node[key]
        key = draw(st.sampled_from(sorted(node)))
    if draw(st.booleans()):
        del node[key]
    else:
        node[key] = draw(json_values)
    return json.dumps(fields)


def hostile_media(sequence: str, timestamp: str) -> str:
    fields = json.loads(twilio.media(2, 0))
    fields["sequenceNumber"], fields["media"]["timestamp"] = sequence, timestamp
    return json.dumps(fields)


anything = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40),
    json_values.map(json.dumps),
    broken_messages(),
    st.builds(hostile_media, numbers, numbers),
    st.builds(
        twilio.media, st.integers(0, 30), st.integers(0, 600), st.binary(max_size=400), track=st.sampled_from(TRACKS)
    ),
    st.just(twilio.start()),
)


def check_invariants(events: list[MediaEvent], stream: TwilioStream) -> None:
    assert sum(isinstance(event, StreamStarted) for event in events) <= 1
    ends = [index for index, event in enumerate(events) if isinstance(event, StreamStopped | ProtocolError)]
    assert ends in ([], [len(events) - 1])
    assert (stream.state is StreamState.ENDED) == bool(ends)
    position = dict.fromkeys(Track, 0)
    for event in events:
        if isinstance(event, AudioReceived):
            assert event.pts >= position[event.track]
            assert 0 < event.codes.size <= 8000
            position[event.track] = event.pts + event.codes.size
    if isinstance(events[-1] if events else None, ProtocolError):
        assert 1002 <= events[-1].close_code <= 1009  # type: ignore[union-attr]


@settings(max_examples=200, deadline=None)
@given(messages=st.lists(anything, max_size=30), started=st.booleans())
def test_no_input_breaks_the_core(messages: list[str | bytes], started: bool) -> None:
    stream = TwilioStream()
    events: list[MediaEvent] = stream.receive(twilio.start(), 0.0) if started else []
    for index, message in enumerate(messages):
        events += stream.receive(message, index * STEP_S)
        timer = stream.next_timer()
        if timer is not None and timer <= index * STEP_S:
            events += stream.handle_timer(index * STEP_S)
    check_invariants(events, stream)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200), cut=st.integers(0, 400))
def test_no_text_breaks_the_core(data: bytes, cut: int) -> None:
    stream = TwilioStream()
    events = stream.receive(twilio.start(), 0.0)
    events += stream.receive(twilio.media(2, 0)[:cut] + data.decode("latin-1"), 0.0)
    events += stream.receive(data.decode("utf-8", "surrogateescape"), 0.0)
    check_invariants(events, stream)


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 60),
    delays=st.lists(st.integers(0, 5), min_size=120, max_size=120),
    lost=st.sets(st.integers(0, 119), max_size=40),
    twice=st.sets(st.integers(0, 119), max_size=20),
)
def test_audio_is_exact_however_the_network_shuffled_doubled_and_lost_it(
    count: int, delays: list[int], lost: set[int], twice: set[int]
) -> None:
    """Delays stay within the window: every packet that arrives is received in its place, all else is silence."""
    arrivals: list[tuple[float, int, str]] = []
    expected = {Track(track): np.full(0, 0xFF, np.uint8) for track in TRACKS}
    last = dict.fromkeys(Track, -1)
    for index in range(2 * count):
        track, slot = Track(TRACKS[index % 2]), index // 2
        if index in lost:
            continue
        codes = np.full(160, index % 251, np.uint8)
        silence = np.full((slot + 1) * 160 - expected[track].size, 0xFF, np.uint8)
        expected[track] = np.concatenate([expected[track], silence])
        expected[track][slot * 160 :] = codes
        last[track] = slot
        message = twilio.media(index + 2, slot * 20, codes.tobytes(), track=track.value)
        at = (index + delays[index]) * STEP_S
        arrivals += [(at, index, message)] * (2 if index in twice else 1)
    stream = TwilioStream()
    events = stream.receive(twilio.start(), 0.0)
    for at, _, message in sorted(arrivals):
        while (timer := stream.next_timer()) is not None and timer <= at:
            events += stream.handle_timer(timer)
        events += stream.receive(message, at)
    events += stream.connection_lost(10.0)
    for track in Track:
        received = [event for event in events if isinstance(event, AudioReceived) and event.track is track]
        position = 0
        for event in received:
            assert event.pts == position
            position += event.codes.size
        whole = np.concatenate([event.codes for event in received]) if received else np.zeros(0, np.uint8)
        np.testing.assert_array_equal(whole[: expected[track].size], expected[track])
        assert set(whole[expected[track].size :].tolist()) <= {0xFF}
        stats, parity = stream.stats.tracks[track], TRACKS.index(track.value)
        gone = sum(index % 2 == parity and index // 2 < last[track] for index in lost)
        doubled = sum(index % 2 == parity and index < 2 * count for index in twice - lost)
        assert (stats.lost, stats.late, stats.duplicates) == (gone, 0, doubled)


@settings(max_examples=100, deadline=None)
@given(order=st.permutations(range(40)))
def test_any_order_ends_with_every_packet_heard_or_counted(order: list[int]) -> None:
    stream = TwilioStream()
    events = stream.receive(twilio.start(("inbound",)), 0.0)
    for step, index in enumerate(order):
        while (timer := stream.next_timer()) is not None and timer <= step * STEP_S:
            events += stream.handle_timer(timer)
        events += stream.receive(twilio.media(index + 2, index * 20), step * STEP_S)
        timer = stream.next_timer()
        assert timer is None or timer <= step * STEP_S + 0.06 + 1e-9
    events += stream.connection_lost(10.0)
    stats = stream.stats.tracks[Track.INBOUND]
    assert stats.packets + stats.late == 40
    assert stats.late == stats.lost
    received = [event for event in events if isinstance(event, AudioReceived)]
    assert sum(event.codes.size for event in received) == 40 * 160
