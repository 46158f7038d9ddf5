"""`MediaLanes` without a connection, and the streams in its lanes."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.media_ws import bulk as module
from connectors.media_ws.bulk import MediaLanes, StreamEntry
from connectors.media_ws.track import Track
from connectors.media_ws.twilio.template import next_media
from engine.api import Session
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import ALAW_OFFSET, MULAW_OFFSET, decode_alaw, decode_mulaw
from pipeline.ingest import Ingest
from pipeline.intake import Intake
from tests.connectors.media_ws.lines import MASKS, Clock, masked
from tests.connectors.media_ws.twilio import twilio_side as twilio
from tests.pipeline.collector import Collector

ONE = ("inbound",)
Numbers = tuple[int, int, int]
"""Sequence number, chunk and timestamp."""


@pytest.fixture
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
