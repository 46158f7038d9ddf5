"""`MediaLanes` for themselves: what is taken, what is given back, and that no stream notices another."""

import base64
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.media_ws import bulk as module
from connectors.media_ws.bulk import ALIVE_INTERVAL_S, LONGEST_WAIT_S, MediaLanes, StreamEntry
from connectors.media_ws.foreseen import MAX_CHARS
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.template import next_media
from engine.api import Session
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import ALAW_OFFSET, MULAW_OFFSET, decode_alaw, decode_mulaw
from pipeline.ingest import Ingest
from pipeline.intake import Intake
from tests.connectors.media_ws.lines import BOTH, MASKS, PING, Clock, masked
from tests.connectors.media_ws.twilio import twilio_side as twilio
from tests.pipeline.collector import Collector

ONE = ("inbound",)
Numbers = tuple[int, int, int]
"""Sequence number, chunk and timestamp."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Stream:
    """Who is in a lane, and its socket. `numbers`: of the next message. `back`: what was given back."""

    def __init__(self, bench: "Bench", tracks: tuple[str, ...], numbers: Numbers, encoding: Encoding) -> None:
        self.tracks = [Track(name) for name in tracks]
        self.numbers = numbers
        self.intakes = {track: bench.open() for track in self.tracks}
        self.sent: dict[Track, list[bytes]] = {track: [] for track in self.tracks}
        self.pushed: list[tuple[Track, int, bytes, float]] = []
        self.taken: dict[Track, int] = {}
        self.back: list[bytes] = []
        self.faults: list[Exception] = []
        self.notified = 0
        self.over = self.ends = self.broken = False
        self.lane = -1
        self.encoding = encoding
        self._bench, self._next = bench, 0
        for intake in self.intakes.values():
            intake.push(AudioFrame(0, np.full(320, 0xFF, np.uint8), encoding, 8000, 0.0))

    def enter(self) -> None:
        """Once what was pushed has been taken."""
        sequence, chunk, timestamp = self.numbers
        step, foreseen = len(self.tracks), []
        for index, track in enumerate(self.tracks):
            before, message = (
                self.message(bytes(160), (sequence + index - ago * step, chunk - ago, timestamp - 20 * ago), track)
                for ago in (2, 1)
            )
            one = next_media(message, before, track, step, 320 + 160 * len(self.sent[track]))
            assert one is not None
            foreseen.append(one)
        offset = MULAW_OFFSET if self.encoding is Encoding.PCMU else ALAW_OFFSET
        tickets = [self.intakes[track].ticket or 0 for track in self.tracks]
        self.lane = self._bench.lanes.enter(StreamEntry(self, self, foreseen, tickets, offset, self._bench.clock.now))

    def message(self, codes: bytes, numbers: Numbers, track: Track) -> bytes:
        sequence, chunk, timestamp = numbers
        return twilio.media(sequence, timestamp, codes, track=track, chunk=chunk).encode()

    def next(self, codes: bytes | None = None) -> bytes:
        """The message that comes next."""
        track = self.tracks[self._next]
        codes = codes or np.random.default_rng(self.numbers[0]).integers(0, 256, 160, np.uint8).tobytes()
        message = self.message(codes, self.numbers, track)
        self.sent[track].append(codes)
        self._next = (self._next + 1) % len(self.tracks)
        sequence, chunk, timestamp = self.numbers
        self.numbers = (sequence + 1, chunk + (not self._next), timestamp + 20 * (not self._next))
        return message

    def read(self, data: bytes) -> None:
        self._bench.lanes.add(self.lane, data)

    def say(self, messages: int = 1) -> None:
        for _ in range(messages):
            self.read(masked(self.next(), mask=MASKS[self.numbers[0] % 3]))

    def samples(self, track: Track = Track.INBOUND) -> NDArray[np.float32]:
        """What was received of the track after `enter`, once its leg is closed."""
        self._bench.ingest.close(self.intakes[track])
        audio = self._bench.recognizer.audio(self.intakes[track].session)
        return audio[640::2] * 32768

    def all_taken(self) -> bool:
        """Everything sent was taken and is in the audio."""
        decode = decode_mulaw if self.encoding is Encoding.PCMU else decode_alaw
        counts = {track: len(sent) for track, sent in self.sent.items()}
        whole = {track: np.frombuffer(b"".join(sent), np.uint8) for track, sent in self.sent.items()}
        return (
            not self.back
            and self._bench.lanes.leave(self.lane) == counts
            and all(np.array_equal(self.samples(track), decode(codes)) for track, codes in whole.items())
        )

    # -- for `MediaLanes`

    def data_received(self, data: bytes) -> None:
        if self.broken:
            raise RuntimeError("broken")
        self.back.append(data)

    def peer_alive(self) -> None:
        self.notified += 1

    def leave(self) -> None:
        self.taken = self._bench.lanes.leave(self.lane)

    def push_packet(self, track: Track, pts: int, codes: bytes, arrival: float) -> None:
        self.pushed.append((track, pts, codes, arrival))
        self.over = self.ends

    def failed(self, exc: Exception) -> None:
        self.faults.append(exc)


class Bench:
    def __init__(self, clock: Clock, lanes: int = 64) -> None:
        self.clock = clock
        self.recognizer = Collector()
        self.ingest = Ingest(self.recognizer, batch_rows=50)
        self.lanes = MediaLanes(self.ingest, lanes)
        self._sessions: Iterator[Session] = (Session(number, number, 0, 160) for number in range(100_000))

    def open(self) -> Intake:
        return self.ingest.open(next(self._sessions), "call")

    def streams(
        self,
        count: int,
        tracks: tuple[str, ...] = ONE,
        numbers: Numbers = (50, 40, 800),
        encoding: Encoding = Encoding.PCMU,
    ) -> list[Stream]:
        """So many streams in lanes."""
        streams = [Stream(self, tracks, numbers, encoding) for _ in range(count)]
        self.ingest.tick()
        for one in streams:
            one.enter()
        return streams


@pytest.fixture
def bench(clock: Clock) -> Bench:
    return Bench(clock)


@pytest.mark.parametrize("encoding", [Encoding.PCMU, Encoding.PCMA])
def test_every_code_is_heard_at_every_place(bench: Bench, encoding: Encoding) -> None:
    streams = bench.streams(4, encoding=encoding)
    for turn in range(64):
        for number, stream in enumerate(streams):
            codes = (np.arange(160) * 3 + 4 * turn + number).astype(np.uint8).tobytes()
            stream.read(masked(stream.next(codes)))
        bench.ingest.tick()
    places = np.array([[list(codes) for codes in stream.sent[Track.INBOUND]] for stream in streams])
    assert all(len(set(places[:, :, place].ravel())) == 256 for place in range(160))
    assert all(stream.all_taken() for stream in streams)


@pytest.mark.parametrize("mask", [bytes(4), b"\xff" * 4, b"\x01\x02\x03\x04", b"\x00\x00\x00\x80"], ids=bytes.hex)
def test_every_mask_is_taken_off(bench: Bench, mask: bytes) -> None:
    (stream, other) = bench.streams(2)
    for _ in range(20):
        stream.read(masked(stream.next(), mask=mask))
        other.say()
    bench.ingest.tick()
    assert stream.all_taken()
    assert other.all_taken()


def bad_ones(bench: Bench, frames: Iterable[tuple[Stream, bytes]], good: Iterable[Stream]) -> None:
    """One of these frames to each stream is given back, and nothing has changed; good streams between them are not
    disturbed. All in one flush."""
    frames, good = list(frames), list(good)
    for number in range(max(len(frames), len(good))):
        for stream in good[number : number + 1]:
            stream.say(2)
        for stream, frame in frames[number : number + 1]:
            stream.read(frame)
    for stream in good:
        stream.say()
    bench.ingest.tick()
    for stream, frame in frames:
        assert stream.back == [frame]
        assert stream.taken == dict.fromkeys(stream.tracks, 0)
        assert stream.samples().size == 0
        assert not stream.pushed
    assert all(stream.all_taken() for stream in good)


@pytest.mark.parametrize("octet", [b"*", b"=", b"-", b"_", b"\0", b"\x80", b"\xff", b"[", b"{", b"`", b":", b"@", b"."])
def test_what_is_not_base64_is_given_back_wherever_it_is(bench: Bench, octet: bytes) -> None:
    good = bench.streams(5)
    bad = []
    for place, stream in enumerate(bench.streams(214)):
        message = stream.next(bytes([place]) * 160)
        at = message.index(b'"payload": "') + 12 + place
        bad.append((stream, masked(message[:at] + octet + message[at + 1 :], mask=MASKS[place % 3])))
    bad_ones(bench, bad, good)


def test_only_the_alphabet_is_base64(bench: Bench) -> None:
    streams = bench.streams(512)
    taken = set()
    for octet, stream in enumerate(streams):
        message = stream.next()
        at = message.index(b'"payload": "') + 12 + 100 + octet // 256
        stream.read(masked(message[:at] + bytes([octet % 256]) + message[at + 1 :]))
    bench.ingest.tick()
    for octet, stream in enumerate(streams):
        if not stream.back:
            taken.add((octet // 256, octet % 256))
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert taken == {(parity, octet) for parity in (0, 1) for octet in alphabet}


def test_bits_behind_the_last_code_are_to_be_zero(bench: Bench) -> None:
    good, bad = [], []
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for number, stream in enumerate(bench.streams(64)):
        message = stream.next(bytes(160))
        at = message.index(b'=="')
        changed = message[: at - 1] + alphabet[number : number + 1] + message[at:]
        codes = base64.b64decode(changed[at - 214 : at + 2])
        assert len(codes) == 160
        if number % 16:
            bad.append((stream, masked(changed)))
        else:
            stream.sent[Track.INBOUND] = [codes]
            stream.read(masked(changed))
            good.append(stream)
    bench.ingest.tick()
    assert all(stream.all_taken() for stream in good)
    bad_ones(bench, bad, [])


@pytest.mark.parametrize("change", [1, 0x80, 0x10])
def test_a_frame_that_differs_in_any_byte_but_its_audio_is_given_back(bench: Bench, change: int) -> None:
    good = bench.streams(3)
    (sample,) = bench.streams(1)
    size = len(masked(sample.next()))
    bad = []
    for place, stream in enumerate(bench.streams(size)):
        message = stream.next()
        audio = 8 + message.index(b'"payload": "') + 12
        if not (4 <= place < 8 or audio <= place < audio + 214):
            frame = bytearray(masked(message))
            frame[place] ^= change
            bad.append((stream, bytes(frame)))
    bad_ones(bench, bad, good)


def test_frames_of_another_length_are_given_back(bench: Bench) -> None:
    streams, good = bench.streams(6), bench.streams(3)
    whole = [masked(stream.next(), mask=mask) for stream, mask in zip(streams, MASKS * 2, strict=True)]
    data = [
        whole[0] + whole[0][:1],
        whole[1][:-1],
        whole[2] + PING,
        whole[3][:8],
        b"\x81",
        whole[5] + bytes(MAX_CHARS + 8 - len(whole[5])),
    ]
    bad_ones(bench, zip(streams, data, strict=True), good)
    data = [masked(b"x" * 600), masked(b"x" * 600)[:-1], bytes(100_000)]
    bad_ones(bench, zip(bench.streams(3), data, strict=True), bench.streams(3))


def test_a_missing_last_byte_is_not_found_in_what_another_stream_sent(bench: Bench) -> None:
    stream, other = bench.streams(2)
    message = stream.next()
    mask = bytes(4)
    cut = masked(message, mask=mask)[:-1]
    stream.read(cut)
    other.read(b"}" + masked(other.next())[1:])
    bench.ingest.tick()
    assert stream.back == [cut]
    assert len(other.back) == 1


@pytest.mark.parametrize("tracks", [ONE, BOTH])
@pytest.mark.parametrize("at_once", [1, 3, 150])
@pytest.mark.parametrize(
    "numbers",
    [(5, 3, 40), (92, 96, 9_800), (990, 95, 99_900), (9_990, 9_990, 9_990), (2**31, 999, 999_990), (97, 9, 80)],
)
def test_numbers_count_on(bench: Bench, numbers: Numbers, at_once: int, tracks: tuple[str, ...]) -> None:
    streams = bench.streams(2, tracks, numbers) + bench.streams(2, tracks)
    for said in range(0, 150, at_once):
        for stream in streams:
            stream.say(min(at_once, 150 - said))
        bench.ingest.tick()
    assert all(stream.all_taken() for stream in streams)


@pytest.mark.parametrize(
    "numbers",
    [
        (10**10 - 10, 1000, 2000),
        (1000, 10**10 - 10, 2000),
        (1000, 2000, 10**10 - 200),
        (10**10 - 10, 10**10 - 10, 10**10 - 200),
    ],
    ids=["sequence", "chunk", "timestamp", "all"],
)
def test_a_number_of_eleven_digits_is_given_back(bench: Bench, numbers: Numbers) -> None:
    (stream,), (other,) = bench.streams(1, numbers=numbers), bench.streams(1)
    for _ in range(10):
        stream.say()
        other.say()
        bench.ingest.tick()
    assert not stream.back
    last = masked(stream.next())
    stream.read(last)
    other.say()
    bench.ingest.tick()
    assert stream.back == [last]
    assert stream.taken == {Track.INBOUND: 10}
    assert other.all_taken()


@pytest.mark.parametrize("batch", [3, 1024])
def test_hundreds_of_streams_do_not_notice_a_few_bad_ones(
    bench: Bench, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", batch)
    streams = bench.streams(200) + bench.streams(200, BOTH)
    bad = set(range(0, 400, 37))
    rng = np.random.default_rng(0)
    for turn in range(8):
        for number in rng.permutation(400).tolist():
            stream = streams[number]
            if number in bad and turn >= 3:
                if turn == 3:
                    stream.say(2)
                    stream.read(PING)
                    stream.say()
            else:
                stream.say(1 + number % 3)
        bench.ingest.tick()
    for number, stream in enumerate(streams):
        if number in bad:
            assert sum(stream.taken.values()) == 3 * (1 + number % 3) + 2
            assert stream.back[0] == PING
            assert len(stream.back) == 2
        else:
            assert stream.all_taken(), number


def test_what_comes_behind_is_given_back_in_order(bench: Bench) -> None:
    stream, other = bench.streams(2)
    stream.say(2)
    frames = [masked(stream.next(), mask=MASKS[number % 3]) for number in range(20)]
    long = masked(b"x" * 700)
    other.say(3)
    stream.read(frames[0] + frames[1] + PING + frames[2])
    other.say(3)
    stream.read(frames[3])
    stream.read(b"".join(frames[4:9]) + long[:400])
    stream.read(long[400:] + frames[9])
    stream.read(frames[10][:100])
    bench.ingest.tick()
    assert stream.taken == {Track.INBOUND: 4}
    assert b"".join(stream.back) == PING + b"".join(frames[2:9]) + long + frames[9] + frames[10][:100]
    assert other.all_taken()


def test_frames_read_together_are_taken_each_for_itself(bench: Bench) -> None:
    stream, other = (bench.streams(1, tracks)[0] for tracks in (ONE, BOTH))
    for count in (2, 1, 7, 40):
        for one in (stream, other):
            one.read(b"".join(masked(one.next(), mask=MASKS[index % 3]) for index in range(count)))
        bench.ingest.tick()
    assert stream.all_taken()
    assert other.all_taken()


def test_many_short_frames_are_not_taken_apart(bench: Bench) -> None:
    """Each would cost as much as a message, and a read has room for a hundred thousand."""
    (stream,) = bench.streams(1)
    flood = masked(stream.next()) + b"\x8a\x00" * 100_000
    stream.read(flood)
    bench.ingest.tick()
    assert stream.taken == {Track.INBOUND: 1}
    assert stream.back == [flood[-200_000:]]


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
