"""What `MediaLanes` takes of what is read and what it gives back, and that no stream notices another."""

import base64
from collections.abc import Iterable

import numpy as np
import pytest

from connectors.media_ws import bulk as module
from connectors.media_ws.foreseen import MAX_CHARS
from connectors.media_ws.track import Track
from pipeline.frames import Encoding
from tests.connectors.media_ws.bench import ONE, Bench, Numbers, Stream
from tests.connectors.media_ws.lines import BOTH, MASKS, PING, masked


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
