"""The in-order streams of many sockets, side by side.

The idea
    At a tick a thousand sockets have read a message or two each, and nearly all of them are the ones that were foreseen
    (`foreseen`). Done one by one, most of a message's time goes into Python's calls. So a stream in order gets a lane:
    a row of arrays for each of its tracks. What its socket reads waits here for the tick that its audio would wait for
    anyway; then all of it is unmasked, compared, counted, decoded from base64 and handed to the pipeline
    (`pipeline.ingest.Ingest.push_packets`) together, with next to nothing done for a single message.

    A row holds the next frame as it will come, header included, unmasked (`_frames`), and ones in the place of the
    bytes that must be equal (`_fixed`): all but the masking key and the audio. A frame fits where its size is right,
    `(frame ^ _frames) & _fixed` is zero and its audio is base64 of 160 codes. The row then goes on to the next frame.

The invariants
    1. The frame of the row whose turn it is, is what the stream's core would take next, and `_pts` the place of its
       audio. So a frame that fits needs no core.
    2. Order. All that a socket reads while it has a lane passes through here. The first frame that does not fit and all
       behind it go back to the socket, in order, once the stream has left; nothing overtakes.
    3. One owner. In a lane the rows alone move; the core stands where it stood at the entry. `leave` returns how many
       messages of each track were taken, which is how far `_pts` has come, and the core counts them (`passed_by`).

An example
    Numbers are counted on in the bytes of the frame, from their last digit. "timestamp": "180" with a step of 20:
    0 + 20 leaves 0 and carries 2, 8 + 2 leaves 0 and carries 1, 1 + 1 is 2: "200". "chunk": "9" with a step of 1 leaves
    0 and carries 1 to a place that is not there: a zero is put before the number, all behind it moves by one byte, the
    frame is one byte longer, and the carry makes it "10". A number that outgrows `MAX_DIGITS` gives its row a size that
    no frame has.

    Base64 is decoded two characters at a time, by tables of 65,536 words. "TWFu" is "Man", 4d 61 6e: "TW" is 19 and 22,
    together 0x4d6, all of the first octet and the upper half of the second; "Fu" is 5 and 46, together 0x16e, its lower
    half and the third.

Source: frames and masking, RFC 6455, sections 5.2 and 5.3; base64, RFC 4648, section 4. When a stream enters a lane and
when it leaves it: the table of `connection`.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from connectors.media_ws.foreseen import AUDIO_CHARS, MAX_CHARS, MAX_DIGITS, NUMBERS, PACKET_CODES, Foreseen
from connectors.media_ws.framing import HEAD_16, MASKED_16, TEXT, frame_length
from connectors.media_ws.track import Track
from pipeline.in_order import by_occurrence
from pipeline.intake import PacketIngest
from supervision import Supervisor

ALIVE_INTERVAL_S = 1.0
"""So often a socket is notified that its peer is alive."""

LONGEST_WAIT_S = 0.5
"""For a tick: none comes while no leg is open, and the call of a stream may have been ended."""

NEVER = -1
"""Size of the next frame of a lane that is to be left."""

_TRACKS = 2
_WIDTH = HEAD_16 + MAX_CHARS  # bytes of a frame, a multiple of eight
_SHORTEST = HEAD_16 + AUDIO_CHARS
_BATCH = 1_024  # frames compared at once
_PADDING = 2  # "==" behind the characters that carry 160 codes
_PAIRS = (AUDIO_CHARS - _PADDING) // 2
_WRONG = 1 << 24
_ZERO = ord("0")


def _base64_words() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Two characters of base64 (RFC 4648, section 4), as one little-endian word -> their bits in a little-endian word
    of three octets: for the first two of four characters, and for the last two. `_WRONG` is set for others."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value = np.full(256, _WRONG, np.uint32)
    value[np.frombuffer(alphabet, np.uint8)] = np.arange(64)
    first, second = value[np.arange(1 << 16) & 0xFF], value[np.arange(1 << 16) >> 8]
    bits, wrong = (first << 6 | second) & 0xFFF, (first | second) & _WRONG
    return bits >> 4 | (bits & 0xF) << 12 | wrong, (bits >> 8) << 8 | (bits & 0xFF) << 16 | wrong


_FIRST_PAIRS, _LAST_PAIRS = _base64_words()


class LaneSocket(Protocol):
    """The socket of a stream in a lane."""

    def data_received(self, data: bytes) -> None: ...

    def peer_alive(self) -> None: ...


class LaneStream(Protocol):
    """Who is in a lane."""

    @property
    def over(self) -> bool:
        """The call was ended: nothing more is to be taken."""

    def leave(self) -> None:
        """Give the lane back, with `MediaLanes.leave`."""

    def push_packet(self, track: Track, pts: int, codes: bytes, arrival: float) -> None:
        """A packet that was counted and the pipeline would not take with the others."""

    def failed(self, exc: Exception) -> None:
        """Its socket could not take what was given back."""


@dataclass(slots=True)
class StreamEntry:
    """A stream that wants a lane. `foreseen`: a message of each track, in the order in which they take turns; `tickets`
    of their legs. `offset`: of the encoding in `g711.FLOAT_TABLE`."""

    stream: LaneStream
    socket: LaneSocket
    foreseen: Sequence[Foreseen]
    tickets: Sequence[int]
    offset: int
    now: float


class MediaLanes:
    """The lanes of a connector; all feed one ingest, at its tick. A lane has a row for each track."""

    def __init__(self, ingest: PacketIngest, lanes: int = 64, supervisor: Supervisor | None = None) -> None:
        self.ingest = ingest
        self._supervisor = supervisor or Supervisor()
        ingest.add_source(self.flush)
        self._free = deque(range(lanes))
        self._entries: list[StreamEntry | None] = [None] * lanes
        self._turn = np.zeros(lanes, np.int64)
        self._tracks = np.ones(lanes, np.int64)
        self._received_at = np.zeros(lanes)
        self._alive_at = np.zeros(lanes)
        rows = _TRACKS * lanes
        self._frames = np.zeros((rows, _WIDTH // 8), np.uint64)
        self._fixed = np.zeros((rows, _WIDTH // 8), np.uint64)
        self._sizes = np.zeros(rows, np.int64)
        self._audio_at = np.zeros(rows, np.int64)
        self._ends = np.zeros((rows, NUMBERS), np.int64)
        self._digits = np.zeros((rows, NUMBERS), np.int64)
        self._steps = np.zeros((rows, NUMBERS), np.int64)
        self._pts = np.zeros(rows, np.int64)
        self._tickets = np.zeros(rows, np.int64)
        self._offsets = np.zeros((rows, 1), np.int16)
        self._clear()

    def enter(self, entry: StreamEntry) -> int:
        """The number of the lane, for `add`."""
        if not self._free:
            self._grow()
        lane = self._free.popleft()
        self._entries[lane] = entry
        self._turn[lane], self._tracks[lane] = 0, len(entry.foreseen)
        self._received_at[lane] = self._alive_at[lane] = entry.now
        for row, (one, ticket) in enumerate(zip(entry.foreseen, entry.tickets, strict=True), _TRACKS * lane):
            self._load_row(row, one)
            self._tickets[row], self._offsets[row] = ticket, entry.offset
        return lane

    def received_at(self, lane: int) -> float:
        """When the last message taken was read; monotonic."""
        return float(self._received_at[lane])

    def leave(self, lane: int) -> dict[Track, int]:
        """Messages taken of each track. What waits is to be flushed before."""
        entry = self._entries[lane]
        assert entry is not None
        self._entries[lane] = None
        self._free.append(lane)
        rows = range(_TRACKS * lane, _TRACKS * lane + len(entry.foreseen))
        return {
            one.track: int(self._pts[row] - one.pts) // PACKET_CODES
            for one, row in zip(entry.foreseen, rows, strict=True)
        }

    def add(self, lane: int, data: bytes) -> None:
        """Bytes that the socket of this lane has read."""
        now = time.monotonic()
        self._lanes.append(lane)
        self._data.append(data)
        self._arrivals.append(now)
        if now - self._arrivals[0] > LONGEST_WAIT_S:
            self.flush()

    def flush(self) -> None:
        """Take everything that waits."""
        while self._lanes:
            lanes, data, arrivals = np.array(self._lanes), self._data, np.array(self._arrivals)
            self._clear()
            try:
                back = self._take_all(*_frame_by_frame(lanes, data, arrivals))
            except Exception as error:  # noqa: BLE001 - some stream's: found socket by socket
                self._supervisor.fault("media lanes", error, "messages are taken one by one")
                back = {}
                for lane, frame in zip(lanes.tolist(), data, strict=True):
                    back.setdefault(lane, []).append(frame)
            for lane, frames in back.items():
                self._give_back(lane, frames)

    def _clear(self) -> None:
        self._lanes: list[int] = []
        self._data: list[bytes] = []
        self._arrivals: list[float] = []

    def _take_all(
        self, lanes: NDArray[np.int64], data: Sequence[bytes], arrivals: NDArray[np.float64]
    ) -> dict[int, list[bytes]]:
        """A frame of each of these lanes, in the order they came. Returns what is not for a lane: the first frame that
        was not foreseen, and those behind it."""
        back: dict[int, list[bytes]] = {}
        sizes = np.fromiter(map(len, data), np.int64, len(data))
        begins = np.cumsum(sizes) - sizes
        windows = sliding_window_view(np.frombuffer(b"".join([*data, bytes(_WIDTH)]), np.uint8), _WIDTH)
        for turn in by_occurrence(lanes):
            if back:
                gone = np.isin(lanes[turn], list(back))
                for index in turn[gone].tolist():
                    back[int(lanes[index])].append(data[index])
                turn = turn[~gone]  # noqa: PLW2901
            for at in range(0, len(turn), _BATCH):
                some = turn[at : at + _BATCH]
                fit = self._take(lanes[some], windows[begins[some]], sizes[some], arrivals[some])
                for index in some[~fit].tolist():
                    back[int(lanes[index])] = [data[index]]
        stale = np.unique(lanes[arrivals - self._alive_at[lanes] > ALIVE_INTERVAL_S])
        self._alive_at[stale] = self._received_at[stale]
        for lane in stale.tolist():
            entry = self._entries[lane]
            if entry is not None:
                try:
                    entry.socket.peer_alive()
                except Exception as exc:  # noqa: BLE001 - of this stream alone
                    entry.stream.failed(exc)
        return back

    def _give_back(self, lane: int, frames: Sequence[bytes]) -> None:
        entry = self._entries[lane]
        if entry is None:
            return
        try:
            entry.stream.leave()
            for frame in frames:
                entry.socket.data_received(frame)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends this stream and no other
            entry.stream.failed(exc)

    def _take(
        self,
        lanes: NDArray[np.int64],
        frames: NDArray[np.uint8],
        sizes: NDArray[np.int64],
        arrivals: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """A frame of each of these lanes, none of them twice. `frames`: (n, _WIDTH), written over. Returns which were
        foreseen; of the others nothing has changed."""
        rows = _TRACKS * lanes + self._turn[lanes]
        words = frames.view(np.uint32)
        words[:, HEAD_16 // 4 :] ^= words[:, HEAD_16 // 4 - 1, None]
        fit: NDArray[np.bool_] = sizes == self._sizes[rows]
        fit &= ~((frames.view(np.uint64) ^ self._frames[rows]) & self._fixed[rows]).any(1)
        codes, right = self._decode(rows, frames)
        fit &= right
        if not fit.all():
            rows, lanes, codes, arrivals = rows[fit], lanes[fit], codes[fit], arrivals[fit]
        self._advance(rows)
        self._received_at[lanes] = arrivals
        self._turn[lanes] = (self._turn[lanes] + 1) % self._tracks[lanes]
        pts = self._pts[rows]
        self._pts[rows] = pts + PACKET_CODES
        taken = self.ingest.push_packets(self._tickets[rows], pts, codes + self._offsets[rows], arrivals)
        if not taken.all():
            for index in np.flatnonzero(~taken).tolist():
                self._push_alone(int(rows[index]), int(pts[index]), codes[index].tobytes(), float(arrivals[index]))
        return fit

    def _decode(
        self, rows: NDArray[np.int64], frames: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The audio in these frames: (n, 160) codes, (n,) whether they are base64."""
        begins = np.arange(len(rows)) * _WIDTH + self._audio_at[rows]
        pairs = sliding_window_view(frames.reshape(-1), 2 * _PAIRS)[begins].view("<u2")
        words = _FIRST_PAIRS[pairs[:, ::2]]
        words[:, :-1] |= _LAST_PAIRS[pairs[:, 1::2]]
        codes = words.view(np.uint8).reshape(len(rows), -1, 4)[:, :, :3].reshape(len(rows), -1)
        return codes[:, :PACKET_CODES], (words.max(1) < _WRONG) & (codes[:, PACKET_CODES] == 0)

    def _push_alone(self, row: int, pts: int, codes: bytes, arrival: float) -> None:
        lane, turn = divmod(row, _TRACKS)
        entry = self._entries[lane]
        assert entry is not None
        try:
            entry.stream.push_packet(entry.foreseen[turn].track, pts, codes, arrival)
        except Exception as exc:  # noqa: BLE001 - of this stream alone
            entry.stream.failed(exc)
        if entry.stream.over:
            self._sizes[_TRACKS * lane : _TRACKS * (lane + 1)] = NEVER

    def _load_row(self, row: int, one: Foreseen) -> None:
        text, ends, audio_at = one.text()
        size, audio_at = HEAD_16 + len(text), HEAD_16 + audio_at
        fixed = np.zeros(_WIDTH, np.uint8)
        fixed[:size] = 0xFF
        fixed[4:HEAD_16] = 0
        fixed[audio_at : audio_at + 2 * _PAIRS] = 0
        frame = (bytes(HEAD_16) + text).ljust(_WIDTH, b"\0")
        self._frames[row], self._fixed[row] = np.frombuffer(frame, np.uint64), fixed.view(np.uint64)
        self._sizes[row], self._audio_at[row] = size, audio_at
        self._ends[row], self._digits[row] = np.array(ends) + HEAD_16, [len(str(number)) for number in one.numbers]
        self._steps[row] = one.steps
        self._pts[row] = one.pts
        self._write_headers(np.array([row]))

    def _advance(self, rows: NDArray[np.int64]) -> None:
        """Add to the numbers in the frames of these rows, from their last digits on."""
        octets = self._frames.view(np.uint8)
        carry = self._steps[rows]
        for place in range(MAX_DIGITS + 1):
            at, which = np.nonzero(carry)
            if not at.size:
                break
            row, more = rows[at], carry[at, which]
            longer = self._digits[row, which] == place
            if longer.any():
                for number in range(NUMBERS):
                    self._lengthen(row[longer & (which == number)], number)
            column = self._ends[row, which] - 1 - place
            more += octets[row, column] & 0xF
            octets[row, column] = _ZERO + more % 10
            carry[at, which] = more // 10

    def _lengthen(self, rows: NDArray[np.int64], which: int) -> None:
        """Put a zero before a number in the frames of these rows: what is behind it moves on by one."""
        at, first = np.arange(_WIDTH), self._ends[rows, which] - self._digits[rows, which]
        source = at - (at > first[:, None])
        for array in (self._frames, self._fixed):
            array[rows] = np.take_along_axis(array[rows].view(np.uint8), source, 1).view(np.uint64)
        self._frames.view(np.uint8)[rows, first] = _ZERO
        self._sizes[rows] += 1
        self._audio_at[rows] += 1
        self._ends[rows[:, None], np.arange(which, NUMBERS)] += 1
        self._digits[rows, which] += 1
        self._write_headers(rows)
        self._sizes[rows[self._digits[rows, which] > MAX_DIGITS]] = NEVER

    def _write_headers(self, rows: NDArray[np.int64]) -> None:
        frames = self._frames[rows].view(np.uint8)
        frames[:, 0], frames[:, 1] = TEXT, MASKED_16
        frames[:, 2:4] = (self._sizes[rows, None] - HEAD_16).astype(">u2").view(np.uint8)
        self._frames[rows] = frames.view(np.uint64)

    def _grow(self) -> None:
        lanes = len(self._entries)
        self._free += range(lanes, 2 * lanes)
        self._entries += [None] * lanes
        for name, array in list(vars(self).items()):
            if isinstance(array, np.ndarray):
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))


def _frame_by_frame(
    lanes: NDArray[np.int64], data: Sequence[bytes], arrivals: NDArray[np.float64]
) -> tuple[NDArray[np.int64], Sequence[bytes], NDArray[np.float64]]:
    """Lanes, frames and arrivals, one of each a frame: what was read together is taken apart where it is longer than a
    frame that was foreseen may be."""
    if max(map(len, data)) <= _WIDTH:
        return lanes, data, arrivals
    apart = [_frames(one) for one in data]
    counts = [len(frames) for frames in apart]
    return np.repeat(lanes, counts), [frame for frames in apart for frame in frames], np.repeat(arrivals, counts)


def _frames(data: bytes) -> list[bytes]:
    """The last one may be in part, or begin with one that is too short to be foreseen."""
    frames, at = [], 0
    while (length := frame_length(data, at)) is not None and length >= _SHORTEST and at + length < len(data):
        frames.append(data[at : at + length])
        at += length
    return [*frames, data[at:]]
