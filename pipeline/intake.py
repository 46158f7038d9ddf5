"""One leg's audio between its connector and its session: a queue, media time, the way from any rate to 16 kHz.

A frame is queued when it comes and leaves at the tick: gaps are filled, overlaps trimmed, 8 kHz goes into the batch
with all other legs (`narrowband`), 16 kHz passes through, other rates go through soxr. While the leg's packets come in
order, `Ingest.push_packets` takes them past the queue; what that counted is entered here when it is asked for.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.api import Session
from engine.errors import EngineError
from pipeline.frames import AudioFrame, Encoding
from pipeline.in_order import NEVER, InOrderRows
from pipeline.narrowband import NARROWBAND_HZ, NarrowbandBatch, to_float
from pipeline.resample import BLOCK, DELAY_16K, OUTPUT_RATE_HZ, TAPS_A_SIDE, StreamResampler
from pipeline.timeline import Timeline
from supervision import Supervisor

logger = logging.getLogger(__name__)


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


class PacketIngest(Protocol):
    """Takes packets of many legs at once, past their queues (`ingest.Ingest`)."""

    def push_packets(
        self,
        tickets: NDArray[np.int64],
        pts: NDArray[np.int64],
        codes: NDArray[np.int16],
        arrivals: NDArray[np.float64],
        /,
    ) -> NDArray[np.bool_]:
        """Returns which packets were taken; the others are for `Intake.push`."""
        ...

    def add_source(self, flush: Callable[[], None], /) -> None:
        """`flush` is called when audio is wanted."""


class AudioConsumer(Protocol):
    """Where the audio goes: to the recogniser (`engine.api.Recognizer`), and perhaps others on the way."""

    def push(self, session: Session, pcm: NDArray[np.float32], /) -> None:
        """float32 (T,), 16 kHz, [-1, 1]."""

    def flush(self) -> None:
        """The end of a tick."""


@dataclass(frozen=True, slots=True)
class IntakePorts:
    """What the intakes of an ingest share. `waiting`: those with frames in their queue. `release`: the row of an
    intake is free. `max_gap_s`: the longest run of silence made up for missing audio."""

    ingest: PacketIngest
    recognizer: AudioConsumer
    rows: InOrderRows
    batch: NarrowbandBatch
    supervisor: Supervisor
    waiting: "list[Intake]"
    release: Callable[[int], None]
    queue_s: float
    max_gap_s: float


class Intake:
    """Created by `Ingest.open`. `row`: in the tables of the ingest, this leg's until it is closed.

    The queue holds frames in their codec, `queue_s` seconds at most: the oldest are dropped and counted, and the gap
    they leave is filled with silence so that media time stays true.

    `on_fault`: called once, with what ended the intake before it was closed. `began_at`: the monotonic time at which
    media time was 0, by the arrival of the first frame; None before it.
    """

    def __init__(self, ports: IntakePorts, session: Session, call_id: str, row: int) -> None:
        self.session = session
        self.call_id = call_id
        self.row = row
        self.closed = False
        self.on_fault: Callable[[Exception], None] | None = None
        self.began_at: float | None = None
        self._ports = ports
        self._stats = IntakeStats()
        self._timeline = Timeline()
        self._queue: deque[AudioFrame] = deque()
        self._queue_s = ports.queue_s
        self._queued_s = 0.0
        self._rate = 0
        self._base_s = 0.0  # session time at which the present rate began
        self._taken = 0  # samples at the present rate
        self._next_pts = 0
        self._skip = 0  # samples at 16 kHz: what is left of the half-band filter's delay
        self._soxr: StreamResampler | None = None
        self._muted_until = 0.0
        self._last_arrival = 0.0  # of what was drained

    def push(self, frame: AudioFrame) -> None:
        """Queue a frame for the next tick; never blocks. Frames after `Ingest.close` are ignored."""
        if self.closed:
            return
        if frame.arrival < self._muted_until:
            frame = replace(frame, samples=np.zeros(frame.samples.size, np.int16), encoding=Encoding.L16)
        queue = self._queue
        if not queue:
            self._ports.waiting.append(self)
            self._ports.rows.due[self.row] = NEVER
        queue.append(frame)
        self._queued_s += frame.samples.size / frame.sample_rate_hz
        while self._queued_s > self._queue_s and len(queue) > 1:
            dropped = queue.popleft()
            self._queued_s -= dropped.samples.size / dropped.sample_rate_hz
            self._stats.dropped_frames += 1

    def mute_until(self, time_s: float) -> None:
        """Audio that arrives before this monotonic time is silence; media time goes on."""
        if time_s > self._muted_until and not self.closed:
            self._muted_until = time_s
            self._ports.rows.due[self.row] = NEVER

    @property
    def ingest(self) -> PacketIngest:
        """Where packets of this leg may be taken together with those of others."""
        return self._ports.ingest

    @property
    def ticket(self) -> int | None:
        """Names this leg in `PacketIngest.push_packets`, which takes packets while the queue is empty; None once it is
        closed."""
        return None if self.closed else self._ports.rows.ticket(self.row)

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

    def drain(self) -> None:
        """Move the frames of the queue on, each to its place in media time."""
        try:
            self._drain()
        except Exception as error:  # noqa: BLE001 - of this leg alone
            self.fail(error)

    def finish(self) -> None:
        """No audio comes after that which was drained: drain the filter, too."""
        try:
            self._end_rate()
        except Exception as error:  # noqa: BLE001 - the end of this leg's audio
            self.fail(error)

    def resume(self) -> None:
        """The queue is empty and the batch has run: packets that come in order may pass both from here on."""
        is_muted = self._last_arrival < self._muted_until
        if self._rate == NARROWBAND_HZ and not self._skip and not self.closed and not is_muted:
            self._ports.rows.due[self.row] = self._next_pts

    def emit(self, pcm: NDArray[np.float32]) -> None:
        """float32 (T,), 16 kHz, to the session. One that takes no more audio ends this intake, and nobody else's."""
        if self._skip:
            skipped = min(self._skip, pcm.size)
            self._skip -= skipped
            pcm = pcm[skipped:]
        if self.closed or not pcm.size:
            return
        try:
            self._ports.recognizer.push(self.session, pcm)
        except Exception as error:  # noqa: BLE001 - of this leg alone
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Nothing more of this leg can be transcribed. Idempotent."""
        if self.closed:
            return
        self.release()
        if isinstance(error, EngineError):
            logger.warning("call %s: session takes no audio: %s", self.call_id, error)
        else:
            what = f"call {self.call_id}: a leg is heard no more"
            self._ports.supervisor.fault("ingest", error, what, always=True)
        if self.on_fault is not None:
            self.on_fault(error)

    def release(self) -> None:
        """Take nothing more and give the row back. Idempotent."""
        if not self.closed:
            with contextlib.suppress(Exception):  # of a leg at fault: its row is needed all the same
                self._settle()
            self.closed = True
            self._ports.release(self.row)
        self._queue.clear()

    def _at(self, taken: int) -> float:
        return self._base_s + taken / self._rate if self._rate else 0.0

    def _settle(self) -> None:
        """Enter the packets that were taken past the queue."""
        if self.closed:
            return
        packets, arrivals = self._ports.rows.settle(self.row)
        if packets:
            self._stats.frames += packets
            self._next_pts += BLOCK * packets
            self._taken += BLOCK * packets
            first = self._taken - BLOCK * (len(arrivals) - 1)
            for index, arrival in enumerate(arrivals):
                self._timeline.add(self._at(first + BLOCK * index), arrival)

    def _drain(self) -> None:
        self._settle()
        self._ports.rows.due[self.row] = NEVER
        queue, stats = self._queue, self._stats
        while queue:
            frame = queue.popleft()
            samples, pts = frame.samples, frame.pts
            stats.frames += 1
            if frame.sample_rate_hz != self._rate:
                self._begin_rate(frame)
            if pts != self._next_pts:
                samples = samples[self._mend(frame) :]
            self._put(samples, frame.encoding)
            self._next_pts += samples.size
            self._timeline.add(self._at(self._taken), frame.arrival)
            self._last_arrival = frame.arrival
        self._queued_s = 0.0

    def _mend(self, frame: AudioFrame) -> int:
        """Bring the leg to the frame's pts; returns how many of its first samples are known already."""
        stats, missing = self._stats, frame.pts - self._next_pts
        limit = int(self._ports.max_gap_s * frame.sample_rate_hz)
        if missing < -limit:
            stats.resyncs += 1
            self._next_pts = frame.pts
            return 0
        if missing < 0:
            known = min(-missing, frame.samples.size)
            stats.overlaps += 1
            stats.overlap_samples += known
            return known
        stats.gaps += 1
        stats.gap_samples += missing
        filled = min(missing, limit)
        self._put(np.zeros(filled, np.int16), Encoding.L16)
        if missing > filled:
            stats.resyncs += 1
            self._timeline.jump(self._at(self._taken), (missing - filled) / frame.sample_rate_hz)
        self._next_pts = frame.pts
        return 0

    def _begin_rate(self, frame: AudioFrame) -> None:
        """First frame, or a codec of another rate: a fresh filter, and pts go on at the new rate."""
        rate = frame.sample_rate_hz
        if self.began_at is None:
            self.began_at = frame.arrival - frame.pts / rate
        if self._rate:
            self._end_rate()
            self._ports.batch.run()
            self._stats.resyncs += 1
            self._next_pts = round(self._next_pts / self._rate * rate)
        self._base_s, self._taken, self._rate = self.media_s, 0, rate
        self._soxr = None if rate in (NARROWBAND_HZ, OUTPUT_RATE_HZ) else StreamResampler(rate)
        self._skip = DELAY_16K if rate == NARROWBAND_HZ else 0
        self._ports.batch.begin(self.row)

    def _end_rate(self) -> None:
        """Drain the filter of the present rate."""
        if self._rate == NARROWBAND_HZ:
            self._put(np.zeros(TAPS_A_SIDE, np.int16), Encoding.L16)
            self._taken -= TAPS_A_SIDE
        elif self._soxr is not None:
            self.emit(self._soxr.flush())

    def _put(self, samples: NDArray[np.generic], encoding: Encoding) -> None:
        """Add consecutive samples: into the batch at 8 kHz, else straight on."""
        self._taken += samples.size
        if self._rate == NARROWBAND_HZ:
            self._ports.batch.put(self, samples, encoding)
            return
        pcm = to_float(samples, encoding)
        self.emit(pcm if self._soxr is None else self._soxr.process(pcm))
