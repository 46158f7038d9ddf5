"""The tick: every leg's waiting audio decoded, resampled and handed to the recogniser in one go.

A packet costs one append when it arrives. The work is done here, for all legs together: a table look-up, one matrix
product, one `push` a leg. 16 kHz audio passes through; rates other than 8 and 16 kHz go through soxr, leg by leg.

G.711 in packets of 20 ms takes the short way while nothing is missing: `hear` takes the packets of many legs at once,
with nothing done for a single one but its `push`; a source may keep them until the tick asks for them. `Intake.push`
takes any audio and brings a leg back to the short way.

Legs are computed together and fail apart. What concerns one leg is guarded by itself; a product over all of them that
cannot be computed is computed leg by leg, so that the one at fault is found. A leg at fault is released and told
(`Intake.on_fault`); the others lose nothing, and `tick` raises nothing.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from engine.api import Recognizer, Session
from engine.errors import EngineError
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import ALAW_OFFSET, FLOAT_TABLE, MULAW_OFFSET, SILENCE
from pipeline.resample import (
    BLOCK,
    DELAY_16K,
    HISTORY,
    OUTPUT_RATE_HZ,
    TAPS_A_SIDE,
    StreamResampler,
    half_band,
    on_grid,
)
from pipeline.steady import NEVER, SteadyRows
from pipeline.timeline import Timeline
from supervision import Supervisor

logger = logging.getLogger(__name__)

NARROWBAND_HZ = 8_000
_INT16_SCALE = np.float32(1 / 32768)
OFFSETS = {Encoding.PCMU: MULAW_OFFSET, Encoding.PCMA: ALAW_OFFSET}
"""Of a code as an index into `g711.FLOAT_TABLE`."""


@dataclass(slots=True)
class IntakeStats:
    """What happened to a leg's audio. Samples are counted at the rate they came in.

    `dropped_frames`: thrown out of a full queue. `gaps`, `gap_samples`: places where audio was missing, and how much.
    `overlaps`, `overlap_samples`: audio that was there already. `resyncs`: gaps too long to fill, time stamps that
    fell back, changes of rate.
    """

    frames: int = 0
    dropped_frames: int = 0
    gaps: int = 0
    gap_samples: int = 0
    overlaps: int = 0
    overlap_samples: int = 0
    resyncs: int = 0

    def add(self, other: "IntakeStats") -> None:
        """Sum into this one."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Intake:
    """One leg's audio between its connector and its session.

    The queue holds frames in their codec, `queue_s` seconds at most: the oldest are dropped and counted, and the gap
    they leave is filled with silence so that media time stays true. Create it with `Ingest.open`.

    `on_fault`: called once, with what ended the intake before it was closed.
    """

    def __init__(self, ingest: "Ingest", session: Session, call_id: str, row: int, queue_s: float) -> None:
        self.session = session
        self.call_id = call_id
        self.closed = False
        self.on_fault: Callable[[Exception], None] | None = None
        self._stats = IntakeStats()
        self._timeline = Timeline()
        self._ingest = ingest
        self._row = row
        self._queue: deque[AudioFrame] = deque()
        self._queue_s = queue_s
        self._queued_s = 0.0
        self._rate = 0
        self._base_s = 0.0  # session time at which the present rate began
        self._taken = 0  # samples at the present rate
        self._next_pts = 0
        self._skip = 0
        self._soxr: StreamResampler | None = None

    def push(self, frame: AudioFrame) -> None:
        """Queue a frame for the next tick; never blocks. Frames after `Ingest.close` are ignored."""
        if self.closed:
            return
        queue = self._queue
        if not queue:
            self._ingest._ready.append(self)
            self._ingest._steady.due[self._row] = NEVER
        queue.append(frame)
        self._queued_s += frame.samples.size / frame.sample_rate_hz
        while self._queued_s > self._queue_s and len(queue) > 1:
            dropped = queue.popleft()
            self._queued_s -= dropped.samples.size / dropped.sample_rate_hz
            self._stats.dropped_frames += 1

    @property
    def ingest(self) -> "Ingest":
        return self._ingest

    @property
    def ticket(self) -> int | None:
        """Of this leg for `Ingest.hear`, which takes packets as soon as nothing waits here; None once it is closed."""
        return None if self.closed else self._ingest._steady.ticket(self._row)

    @property
    def stats(self) -> IntakeStats:
        self._settle()
        return self._stats

    @property
    def timeline(self) -> Timeline:
        self._settle()
        return self._timeline

    @property
    def media_s(self) -> float:
        """Session time of the audio taken from the queue so far, that in a filter included."""
        self._settle()
        return self._at(self._taken)

    def _at(self, taken: int) -> float:
        return self._base_s + taken / self._rate if self._rate else 0.0

    def _settle(self) -> None:
        """Enter what `SteadyRows` counted."""
        if self.closed:
            return
        packets, arrivals = self._ingest._steady.settle(self._row)
        if packets:
            self._stats.frames += packets
            self._next_pts += BLOCK * packets
            self._taken += BLOCK * packets
            first = self._taken - BLOCK * (len(arrivals) - 1)
            for index, arrival in enumerate(arrivals):
                self._timeline.add(self._at(first + BLOCK * index), arrival)


@dataclass(slots=True)
class _Batch:
    """Rows of `Ingest._codes`: whose they are, how many samples they have; those that are no codes, as float32."""

    owners: list[Intake]
    lengths: list[int]
    linear: list[tuple[int, NDArray[np.float32]]]


class Ingest:
    """Owns the rows of the half-band filter and the batch of a tick. All methods belong to the event loop's thread.

    `max_gap_s`: the longest run of silence made up for missing audio; beyond it, leg time jumps. `batch_rows`: blocks
    of 20 ms filtered in one product; a tick with more is done in several.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        queue_s: float = 10.0,
        max_gap_s: float = 2.0,
        batch_rows: int = 256,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.supervisor = supervisor or Supervisor()
        self._recognizer = recognizer
        self._queue_s = queue_s
        self._max_gap_s = max_gap_s
        self._ready: list[Intake] = []
        self._sources: list[Callable[[], None]] = []
        self._free: list[int] = []
        self._steady = SteadyRows()
        self._sessions: list[Session] = []
        self._intakes: list[Intake | None] = []
        self._history = np.zeros((len(self._steady), HISTORY), np.float32)
        self._opened = 0
        self._rows = 0
        self._owners: list[Intake] = []
        self._lengths: list[int] = []
        self._codes = np.empty((batch_rows, BLOCK), np.int16)
        self._linear: list[tuple[int, NDArray[np.float32]]] = []

    @property
    def legs(self) -> int:
        """Open legs."""
        return self._opened - len(self._free)

    def open(self, session: Session, call_id: str) -> Intake:
        """An intake with a row of its own; `call_id` is for the log."""
        if not self._free:
            self._free.append(self._opened)
            self._opened += 1
            self._sessions.append(session)
            self._intakes.append(None)
            if self._opened > len(self._history):
                self._history = np.concatenate([self._history, np.zeros_like(self._history)])
                self._steady.grow()
        row = self._free.pop()
        intake = Intake(self, session, call_id, row, self._queue_s)
        self._steady.begin(row)
        self._sessions[row], self._intakes[row] = session, intake
        return intake

    def add_source(self, flush: Callable[[], None]) -> None:
        """`flush` is called when audio is wanted: at the tick, and before a leg is flushed or closed. It may `hear` and
        `Intake.push`. What it raises is counted and keeps nothing else from being heard."""
        self._sources.append(flush)

    def tick(self) -> None:
        """Decode, resample and push everything that waits."""
        self._gather()
        if self._ready:
            ready, self._ready = self._ready, []
            for intake in ready:
                self._take(intake)
            self._step()
            for intake in ready:
                self._rest(intake)
        try:
            self._recognizer.flush()
        except Exception as error:  # noqa: BLE001 - what was pushed goes out with the next tick
            self.supervisor.fault("recognizer", error, "a tick's audio was not flushed")

    def flush(self, intake: Intake) -> None:
        """Hand on what waits for this leg now, without the tick."""
        self._gather()
        self._take(intake)
        self._step()
        self._rest(intake)

    def hear(
        self,
        tickets: NDArray[np.int64],
        pts: NDArray[np.int64],
        codes: NDArray[np.int16],
        arrivals: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Decode, resample and push a packet of 20 ms of each of these legs now; no leg must be among them twice.

        `tickets`, `pts`, `arrivals`: (n,). `codes`: (n, 160), G.711 as indices into `g711.FLOAT_TABLE`. Returns which
        packets were taken; the others are not what was due, and are for `Intake.push`.
        """
        fit = self._steady.take(tickets, pts, arrivals, BLOCK)
        rows = self._steady.rows_of(tickets)
        if not fit.all():
            rows, codes = rows[fit], codes[fit]
        size = len(self._codes)
        for at in range(0, len(rows), size):
            self._hear(rows[at : at + size], codes[at : at + size])
        return fit

    def _hear(self, rows: NDArray[np.int64], codes: NDArray[np.int16]) -> None:
        x = np.empty((len(rows), HISTORY + BLOCK), np.float32)
        x[:, :HISTORY] = self._history[rows]
        try:
            x[:, HISTORY:] = FLOAT_TABLE[codes]
            y = half_band(x)
        except Exception as error:  # noqa: BLE001 - some leg's: found by itself
            if len(rows) == 1:
                self._fail_row(int(rows[0]), error)
            else:
                for at in range(len(rows)):
                    self._hear(rows[at : at + 1], codes[at : at + 1])
            return
        self._history[rows] = x[:, BLOCK:]
        push, sessions = self._recognizer.push, self._sessions
        for row, pcm in zip(rows.tolist(), y, strict=True):
            try:
                push(sessions[row], pcm)
            except Exception as error:  # noqa: BLE001 - of this leg alone
                self._fail_row(row, error)

    def _gather(self) -> None:
        for flush in self._sources:
            try:
                flush()
            except Exception as error:  # noqa: BLE001 - the other sources have audio, too
                self.supervisor.fault("source", error, "its audio of this tick may be missing")

    def _rest(self, intake: Intake) -> None:
        """Nothing waits for this leg any more: it may be steady from here on."""
        if intake._rate == NARROWBAND_HZ and not intake._skip and not intake.closed:
            self._steady.due[intake._row] = intake._next_pts

    def close(self, intake: Intake) -> None:
        """Hand on all this leg has, the filter's tail included, and recycle its row. The output is then exactly
        16,000 samples per second of input. Idempotent."""
        if intake.closed:
            return
        self._gather()
        self._take(intake)
        try:
            self._end_rate(intake)
        except Exception as error:  # noqa: BLE001 - the end of this leg's audio
            self._fail(intake, error)
        self._step()
        self._release(intake)

    def drop(self, intake: Intake) -> None:
        """Nobody hears this leg any more: recycle its row without another word of it. Idempotent."""
        self._release(intake)
        intake._queue.clear()

    def _take(self, intake: Intake) -> None:
        """Move a leg's frames from its queue into the batch, on its time line."""
        try:
            self._take_frames(intake)
        except Exception as error:  # noqa: BLE001 - of this leg alone
            self._fail(intake, error)

    def _take_frames(self, intake: Intake) -> None:
        intake._settle()
        self._steady.due[intake._row] = NEVER
        queue, stats = intake._queue, intake._stats
        while queue:
            frame = queue.popleft()
            samples, pts = frame.samples, frame.pts
            stats.frames += 1
            if frame.sample_rate_hz != intake._rate:
                self._begin_rate(intake, frame)
            if pts != intake._next_pts:
                samples = samples[self._mend(intake, frame) :]
            self._put(intake, samples, frame.encoding)
            intake._next_pts += samples.size
            intake._timeline.add(intake._at(intake._taken), frame.arrival)
        intake._queued_s = 0.0

    def _mend(self, intake: Intake, frame: AudioFrame) -> int:
        """Bring the leg to the frame's pts; returns how many of its first samples are known already."""
        stats, missing = intake._stats, frame.pts - intake._next_pts
        limit = int(self._max_gap_s * frame.sample_rate_hz)
        if missing < -limit:
            stats.resyncs += 1
            intake._next_pts = frame.pts
            return 0
        if missing < 0:
            known = min(-missing, frame.samples.size)
            stats.overlaps += 1
            stats.overlap_samples += known
            return known
        stats.gaps += 1
        stats.gap_samples += missing
        filled = min(missing, limit)
        self._put(intake, np.zeros(filled, np.int16), Encoding.L16)
        if missing > filled:
            stats.resyncs += 1
            intake._timeline.jump(intake._at(intake._taken), (missing - filled) / frame.sample_rate_hz)
        intake._next_pts = frame.pts
        return 0

    def _begin_rate(self, intake: Intake, frame: AudioFrame) -> None:
        """First frame, or a codec of another rate: a fresh filter, and pts go on at the new rate."""
        rate = frame.sample_rate_hz
        if intake._rate:
            self._end_rate(intake)
            self._step()
            intake._stats.resyncs += 1
            intake._next_pts = round(intake._next_pts / intake._rate * rate)
        intake._base_s, intake._taken, intake._rate = intake.media_s, 0, rate
        intake._soxr = None if rate in (NARROWBAND_HZ, OUTPUT_RATE_HZ) else StreamResampler(rate)
        intake._skip = DELAY_16K
        self._history[intake._row] = 0.0

    def _end_rate(self, intake: Intake) -> None:
        """Drain the filter of the present rate."""
        if intake._rate == NARROWBAND_HZ:
            self._put(intake, np.zeros(TAPS_A_SIDE, np.int16), Encoding.L16)
            intake._taken -= TAPS_A_SIDE
        elif intake._soxr is not None:
            self._push(intake, intake._soxr.flush())

    def _put(self, intake: Intake, samples: NDArray[np.generic], encoding: Encoding) -> None:
        """Add consecutive samples of a leg: into the batch at 8 kHz, else straight on."""
        intake._taken += samples.size
        if intake._rate != NARROWBAND_HZ:
            self._put_wide(intake, samples, encoding)
            return
        for at in range(0, samples.size, BLOCK):
            if self._rows == len(self._codes):
                self._step()
            row, block = self._rows, samples[at : at + BLOCK]
            size = block.size
            if encoding is Encoding.PCMU or encoding is Encoding.PCMA:
                self._codes[row, :size] = block
                if encoding is Encoding.PCMA:
                    self._codes[row, :size] += ALAW_OFFSET
                if size < BLOCK:
                    self._codes[row, size:] = SILENCE
            else:
                self._codes[row] = SILENCE
                self._linear.append((row, on_grid(_to_float(block, encoding))))
            self._owners.append(intake)
            self._lengths.append(size)
            self._rows += 1

    def _put_wide(self, intake: Intake, samples: NDArray[np.generic], encoding: Encoding) -> None:
        pcm = _to_float(samples, encoding)
        self._push(intake, pcm if intake._soxr is None else intake._soxr.process(pcm))

    def _step(self) -> None:
        """Decode and resample the batch, remember each leg's last 47 samples, push."""
        rows, owners = self._rows, self._owners
        if not rows:
            return
        batch = _Batch(owners, self._lengths, self._linear)
        self._rows, self._owners, self._lengths, self._linear = 0, [], [], []
        cuts = [0, *(row for row in range(1, rows) if owners[row] is not owners[row - 1]), rows]
        runs = list(pairwise(cuts))
        try:
            self._step_runs(batch, runs)
        except Exception:  # noqa: BLE001 - some leg's: found by itself
            for run in runs:
                try:
                    self._step_runs(batch, [run])
                except Exception as error:  # noqa: BLE001 - of this leg alone
                    self._fail(owners[run[0]], error)

    def _step_runs(self, batch: "_Batch", runs: list[tuple[int, int]]) -> None:
        """`runs`: adjacent; rows [first, end) of the batch are consecutive blocks of one leg. Nothing has changed where
        it raises."""
        begin, end = runs[0][0], runs[-1][1]
        owners, lengths = batch.owners[begin:end], batch.lengths[begin:end]
        x = np.empty((end - begin, HISTORY + BLOCK), np.float32)
        x[:, HISTORY:] = FLOAT_TABLE[self._codes[begin:end]]
        for row, pcm in batch.linear:
            if begin <= row < end:
                x[row - begin, HISTORY : HISTORY + pcm.size] = pcm
        slots = [owner._row for owner in owners]
        x[:, :HISTORY] = self._history[slots]
        runs = [(first - begin, end - begin) for first, end in runs]
        for first, end in runs:
            for row in range(first + 1, end):
                x[row, :HISTORY] = x[row - 1, lengths[row - 1] : lengths[row - 1] + HISTORY]
        y = half_band(x)
        last = [end - 1 for _, end in runs]
        self._history[[slots[row] for row in last]] = x[last, BLOCK:]
        for first, end in runs:
            owner, size = owners[first], lengths[end - 1]
            if size != BLOCK:
                self._history[owner._row] = x[end - 1, size : size + HISTORY]
            if end - first == 1:
                pcm = y[first, : 2 * size]
            else:
                pcm = np.concatenate([y[row, : 2 * lengths[row]] for row in range(first, end)])
            if owner._skip:
                skipped = min(owner._skip, pcm.size)
                owner._skip -= skipped
                pcm = pcm[skipped:]
            self._push(owner, pcm)  # raises nothing

    def _push(self, intake: Intake, pcm: NDArray[np.float32]) -> None:
        """A session that takes no more audio ends that leg's intake, and nobody else's."""
        if intake.closed or not pcm.size:
            return
        try:
            self._recognizer.push(intake.session, pcm)
        except Exception as error:  # noqa: BLE001 - of this leg alone
            self._fail(intake, error)

    def _fail_row(self, row: int, error: Exception) -> None:
        intake = self._intakes[row]
        if intake is not None:
            self._fail(intake, error)

    def _fail(self, intake: Intake, error: Exception) -> None:
        """Nothing more of this leg can be heard."""
        if intake.closed:
            return
        self.drop(intake)
        if isinstance(error, EngineError):
            logger.warning("call %s: session takes no audio: %s", intake.call_id, error)
        else:
            self.supervisor.fault("ingest", error, f"call {intake.call_id}: a leg is heard no more", always=True)
        if intake.on_fault is not None:
            intake.on_fault(error)

    def _release(self, intake: Intake) -> None:
        if not intake.closed:
            with contextlib.suppress(Exception):  # of a leg at fault: its row is needed all the same
                intake._settle()
            intake.closed = True
            self._intakes[intake._row] = None
            self._steady.due[intake._row] = NEVER
            self._free.append(intake._row)


def _to_float(samples: NDArray[np.generic], encoding: Encoding) -> NDArray[np.float32]:
    """Any encoding -> float32 of the same shape, [-1, 1]."""
    if encoding is Encoding.FLOAT32:
        return cast(NDArray[np.float32], samples)
    if encoding is Encoding.L16:
        return samples.astype(np.float32) * _INT16_SCALE
    return FLOAT_TABLE[samples.astype(np.int16) + OFFSETS[encoding]]
