"""The engine: sessions over fixed slots, one thread that steps, events in one batch per step.

`push` and the other methods only touch host state under a lock; the device is the engine thread's alone, from the
allocation of a class on (`engine.preparation`). A slot has a generation, so nothing of a former session can reach a
later one in the same slot.

What goes wrong with one session's words ends that session; what a subscriber raises is counted. A step that fails as a
whole ends the engine (`failure`).
"""

import itertools
import logging
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from engine.admission.capacity import Capacity, most_sessions
from engine.api import (
    AUTO,
    SAMPLE_RATE_HZ,
    EngineLoad,
    FaultReason,
    Hypothesis,
    Precision,
    Session,
    SessionFault,
    SessionOptions,
    StepEvents,
)
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.chunking import FRAME_MS
from engine.errors import EngineError, EngineFull, SessionClosed, UnsupportedPrecision
from engine.executor import Core, Emission
from engine.loading import aside
from engine.precision import default_precision, has_int8
from engine.preparation import Preparation
from engine.sessions.language_lock import LanguageLock, Move
from engine.sessions.languages import Languages
from engine.sessions.scheduler import Scheduler
from engine.sessions.slots import Slots
from engine.sessions.stream import Stream
from engine.sessions.transcript import Transcript
from engine.stats import EngineStats
from supervision import Supervisor, one_line

logger = logging.getLogger(__name__)

_WIDE = 512
"""Width of a model (d_model) from which a step is work for more than one CPU thread."""

_MOST_ROWS = 64
"""Rows of a step on a CPU, which gains nothing from more."""

_MOST_ROWS_CUDA = 512
"""Rows of a step on a GPU, where a launch costs more than its rows."""

_NO_INT8 = "the 8-bit kernels need an x86 CPU with AVX2, which this one (%s) is not: float32, several times slower"

_MAX_BACKLOG_S = 30.0
"""Audio a session may have waiting; beyond it the oldest is thrown away and counted."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a batch steps on. audio: float32 (B, samples of a chunk); chunks: steps each row has had before;
    watched: rows whose language is locked, with their locks."""

    audio: NDArray[np.float32]
    chunks: list[int]
    prompts: list[int]
    watched: list[tuple[int, LanguageLock]]


class Engine:
    """Implements `Recognizer`. Thread-safe; `step` is for the engine's own thread, or for tests instead of one.

    `step_times`: as measured, with admission: class -> rows -> seconds. `start` returns when those of the classes that
    were reserved by then are there; a class that comes later is measured when no session is open.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        precision: Precision | None = None,
        max_sessions: int | None = 64,
        max_batch: int | None = None,
        gather_ms: float = 5.0,
        threads: int | None = None,
        admission: bool = False,
    ) -> None:
        classes = tuple(frames * FRAME_MS for frames in checkpoint.config.chunk_frames)
        if precision is None:
            precision = default_precision(device)
            if precision is Precision.FLOAT32:
                logger.warning(_NO_INT8, platform.machine())
        if precision is Precision.INT8 and (device != "cpu" or not has_int8()):
            raise UnsupportedPrecision(f"int8 needs an x86 CPU with AVX2, not {device!r} here: use float32 or bfloat16")
        self.precision = precision
        if max_batch is None:
            max_batch = _MOST_ROWS_CUDA if device.startswith("cuda") else _MOST_ROWS
        self._core = Core(checkpoint, {}, device, self.precision, max_batch=max_batch)
        self._tokenizer = checkpoint.tokenizer
        self._languages = Languages(checkpoint)
        if max_sessions is None:
            max_sessions = most_sessions(checkpoint.config, device, self.precision)
        self._slots = Slots(classes, max_sessions)
        self._preparation = Preparation(self._core, self._slots, max_batch)
        self._capacity = Capacity(classes, max_batch, admits=admission)
        if threads is None and device == "cpu" and checkpoint.config.encoder.d_model < _WIDE:
            threads = 1
        self._threads = threads
        self._scheduler: Scheduler[Stream] = Scheduler(classes, max_batch, gather_ms / 1000)
        for chunk_ms in classes:
            self._scheduler.hold(chunk_ms, held=True)
        self._streams: dict[Session, Stream] = {}
        self._locking: set[Session] = set()
        self._done: dict[Stream, None] = {}
        self._unforked: dict[int, dict[Stream, None]] = {ms: {} for ms in classes}
        self._ids = itertools.count()
        self._callbacks: list[Callable[[StepEvents], None]] = []
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._device = threading.Lock()  # taken before the other one
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._failure: Exception | None = None
        self._measured = threading.Event()
        self.step_times: dict[int, Mapping[int, float]] = {}
        self.stats = EngineStats()
        self.supervisor = Supervisor()
        logger.info(
            "%s runs on %s in %s, %s threads",
            *(checkpoint.source, device, self.precision, "all" if self._threads is None else self._threads),
        )

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        device: str = "cpu",
        precision: Precision | None = None,
        max_sessions: int | None = 64,
        threads: int | None = None,
        admission: bool = False,
        reserve: Sequence[int] = (),
    ) -> "Engine":
        """Make an engine of a `.nemo` file, a Hugging Face folder or id, or the shipped demo model (None).

        `precision`: None takes `default_precision`. `threads`: CPU threads of one step; None leaves torch's default to
        a large model and gives a small one, which would only lose by more, a single thread. `max_sessions`: None for
        as many as there is memory for. `admission`: the steps are measured at the start, and sessions for which there
        is no time are refused. `reserve`: latency classes that sessions will be of, in milliseconds, as far
        as the checkpoint has them. Raises `CheckpointError`, `UnsupportedPrecision`.
        """
        engine = aside(
            lambda: cls(
                load_checkpoint(checkpoint),
                device=device,
                precision=precision,
                max_sessions=max_sessions,
                threads=threads,
                admission=admission,
            )
        )
        for chunk_ms in reserve:
            if chunk_ms in engine.chunks_ms:
                engine.reserve(chunk_ms)
        return engine

    def start(self) -> None:
        """Start the thread that steps. With admission, returns when the steps are measured."""
        self._thread = self.supervisor.thread(self._run, "engine")
        self._measured.wait()

    def stop(self) -> None:
        """Stop stepping and wait for the thread. Open sessions get nothing more."""
        with self._work:
            self._stopping = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> "Engine":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self._languages.prompts)

    @property
    def chunks_ms(self) -> tuple[int, ...]:
        """Latency classes of the checkpoint, fastest first."""
        return tuple(self._slots.pools)

    @property
    def max_sessions(self) -> int:
        return self._slots.sessions

    @property
    def open_sessions(self) -> int:
        with self._lock:
            return len(self._streams)

    def snapshot(self) -> EngineLoad:
        """How busy the engine is, as it stands."""
        with self._lock:
            standing = self._capacity.standing(self._slots.open_rows(), self._slots.sessions, time.monotonic())
        return self._capacity.reckon(standing)

    @property
    def failure(self) -> Exception | None:
        """Why the engine stopped stepping by itself; None while it works."""
        return self._failure

    def open(self, options: SessionOptions, *, again: bool = False) -> Session:
        """`again`: the session was open in an engine that is gone. It is not new load, so that a slot is enough for it,
        although hearing its last seconds once more takes time that is not there for long."""
        pool = self._slots.pool(options.chunk_ms)
        prompt = self._languages.prompt(options.language)
        with self._lock:
            if self._failure is not None:
                raise EngineError(f"the engine has failed ({self._failure}): restart it")
            if pool.failure is not None:
                raise EngineError(
                    f"no room for sessions of {options.chunk_ms} ms ({pool.failure}): use another chunk_ms"
                )
            if len(self._streams) >= self._slots.sessions or not pool.free:
                self.stats.refused += 1
                raise EngineFull(f"all {self._slots.sessions} sessions of the engine are in use: try again later")
            refusal = self._capacity.refusal(self._slots.open_rows(), options.chunk_ms, time.monotonic())
            if refusal is not None and not again:
                self.stats.refused += 1
                raise EngineFull(f"the engine has no time for another session ({refusal}): try again later")
            self._preparation.request(options.chunk_ms)
            slot, generation = pool.take()
            if pool.open == 1:
                self._limit_batches()
            session = Session(next(self._ids), slot, generation, options.chunk_ms)
            transcript = Transcript(self._tokenizer, self._languages.configured(options.language))
            stream = self._streams[session] = Stream(session, slot, prompt, transcript)
            if options.language_lock and self._languages.detects:
                self._locking.add(session)
                stream.lock = self._languages.lock(options.language)
            self.stats.opened += 1
            self._work.notify()
            return session

    def reserve(self, chunk_ms: int) -> None:
        """Have the slots of a class allocated before its first session: now, or, where a thread steps, by that one,
        without waiting for it. Raises `UnknownChunk`, and `EngineError` where the device has no room for them."""
        pool = self._slots.pool(chunk_ms)
        with self._work:
            self._preparation.request(chunk_ms)
            self._work.notify()
            running = self._thread is not None
        if not running:
            aside(self._prepare_all)
        if pool.failure is not None:
            raise EngineError(f"no room for sessions of {chunk_ms} ms ({pool.failure}): use another one")

    def awaits_answer(self, session: Session) -> bool:  # noqa: ARG002 - for engines in other processes
        """Never: `open` is the answer."""
        return False

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        with self._work:
            stream = self._stream(session)
            stream.push(pcm, time.monotonic())
            while stream.backlog > _MAX_BACKLOG_S * SAMPLE_RATE_HZ:
                stream.skip_chunk()
                self.stats.skipped_samples += session.chunk_ms * SAMPLE_RATE_HZ // 1000
            self._consider(stream)

    def finalize(self, session: Session) -> None:
        with self._work:
            stream = self._stream(session)
            stream.marks.append(stream.audio.end)
            self._consider(stream)

    def set_language(self, session: Session, language: str) -> None:
        prompt = self._languages.prompt(language)
        with self._lock:
            stream = self._stream(session)
            stream.prompt = prompt
            stream.transcript.configured = self._languages.configured(language)
            if session in self._locking:
                stream.lock = self._languages.lock(language)
                stream.transcript.unsettled_after = None

    def close(self, session: Session) -> None:
        with self._work:
            stream = self._stream(session)
            stream.closing = True
            self._consider(stream)

    def drop(self, session: Session) -> None:
        """Free the slot without a flush, so that the last words are lost; `StepEvents.closed` reports it. Does nothing
        where the session has ended."""
        with self._work:
            stream = self._streams.get(session)
            if stream is not None:
                stream.dropped = stream.closing = True
                self._scheduler.discard(stream, session.chunk_ms)
                self._consider(stream)

    def flush(self) -> None:
        """Nothing to do: what is pushed is heard at once."""

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.remove(callback)

    def step(self, now: float | None = None) -> bool:
        """Step one batch, if one is due at `now` (seconds; None: step whatever is ready). Returns whether it did."""
        if self._thread is None:
            self._prepare_all()
        with self._device:
            return self._step(now)

    def _step(self, now: float | None) -> bool:
        began = time.perf_counter()
        with self._lock:
            self._fork_waiting()
            batch = self._scheduler.next(float("inf") if now is None else now, self._slots.open_rows())
            if batch is None and not self._done:
                return False
            chunk_ms, rows = batch if batch is not None else (0, [])
            work = self._collect(chunk_ms, rows) if rows else None
        emissions = self._advance(chunk_ms, rows, work) if work is not None else []
        overheard = self._overhear(chunk_ms, rows, work) if work is not None and work.watched else []
        with self._lock:
            if work is not None:
                for emission in overheard:
                    row, lock = work.watched[emission.row]
                    try:
                        rows[row].overhear(lock, emission.token, emission.frame, emission.probability)
                    except Exception as error:  # noqa: BLE001 - of this stream alone
                        self._fault(rows[row], error)
            events = self._publish(rows, emissions)
        self._tell(events)
        if rows:
            self._observe(chunk_ms, rows, time.perf_counter() - began)
        return True

    def _tell(self, events: StepEvents) -> None:
        for callback in list(self._callbacks):
            try:
                callback(events)
            except Exception as error:  # noqa: BLE001 - the others have their calls to serve
                self.supervisor.fault("engine subscriber", error)

    def _fault(self, stream: Stream, error: Exception) -> None:
        """What goes wrong with the words of one stream ends its session. Holding the lock."""
        session = stream.session
        owner = stream.parent or stream
        if not owner.dropped:
            self.supervisor.fault("engine session", error, f"session {session.id} ends", always=True)
            owner.fault = one_line(error)
        owner.dropped = owner.closing = True
        self._scheduler.discard(owner, session.chunk_ms)
        self._consider(owner)

    def _observe(self, chunk_ms: int, rows: list[Stream], took_s: float) -> None:
        told_at = time.monotonic()
        complete = (stream.completed_at for stream in rows if stream.parent is None)
        lags = [told_at - at for at in complete if at is not None and at <= told_at]
        with self._lock:
            self._capacity.stepped(chunk_ms, len(rows), self._slots.pools[chunk_ms].open, took_s, lags, told_at)

    def _collect(self, chunk_ms: int, rows: list[Stream]) -> _Work:
        """Take the rows' next chunks; whatever is pushed or set meanwhile concerns the chunk after."""
        audio = self._core.audio(chunk_ms)[: len(rows)]
        chunks = [stream.chunks for stream in rows]
        for row, stream in enumerate(rows):
            try:
                stream.read(audio[row])
            except Exception as error:  # noqa: BLE001 - of this stream alone
                audio[row] = 0
                self._fault(stream, error)
        locks = [(row, stream.lock) for row, stream in enumerate(rows) if stream.lock is not None]
        watched = [(row, lock) for row, lock in locks if lock.is_locked]
        return _Work(audio, chunks, [stream.prompt for stream in rows], watched)

    def _advance(self, chunk_ms: int, rows: list[Stream], work: _Work) -> list[Emission]:
        """The device's part of a step."""
        began = time.perf_counter()
        slots = [stream.slot for stream in rows]
        emissions = self._core.step(chunk_ms, work.audio, slots, work.chunks, work.prompts)
        self.stats.steps += 1
        self.stats.rows += len(rows)
        self.stats.step_s += time.perf_counter() - began
        return emissions

    def _overhear(self, chunk_ms: int, rows: list[Stream], work: _Work) -> list[Emission]:
        """The watchers' part of a step; `row` counts in `work.watched`."""
        began = time.perf_counter()
        watched = [row for row, _ in work.watched]
        slots = [rows[row].slot for row in watched]
        emissions = self._core.overhear(chunk_ms, watched, slots, self._languages.prompt(AUTO))
        self.stats.step_s += time.perf_counter() - began
        return emissions

    def _publish(self, rows: list[Stream], emissions: list[Emission]) -> StepEvents:
        """Words, finals and ends that the step brought; puts the rows back in line."""
        for emission in emissions:
            stream = rows[emission.row]
            try:
                stream.emit(emission.token, emission.frame, emission.probability)
            except Exception as error:  # noqa: BLE001 - of this stream alone
                self._fault(stream, error)
        hypotheses: list[Hypothesis] = []
        speaking = dict.fromkeys(rows[emission.row] for emission in emissions)
        for stream in rows:
            if stream.lock is not None:
                self._follow_lock(stream)
                speaking[stream] = None
        for stream in speaking:
            if stream.parent is None and not stream.done:
                self._report(stream, hypotheses, is_final=False)
        for stream in rows:
            self._consider(stream)
        closed: list[Session] = []
        faults: dict[Session, SessionFault] = {}
        while self._done:
            stream = next(iter(self._done))
            del self._done[stream]
            self._report(stream, hypotheses, is_final=True)
            if stream.parent is not None:
                self._join_fork(stream, stream.parent)
            else:
                self._done.pop(stream, None)  # where its last report failed
                self._free(stream)
                closed.append(stream.session)
                if stream.fault is not None:
                    faults[stream.session] = SessionFault(FaultReason.FAILED, stream.fault)
        progress = {stream.session: stream.heard_s for stream in rows if stream.parent is None}
        return StepEvents(tuple(hypotheses), tuple(closed), progress, faults=faults)

    def _follow_lock(self, stream: Stream) -> None:
        try:
            move = stream.follow_lock()
        except Exception as error:  # noqa: BLE001 - of this stream alone
            return self._fault(stream, error)
        match move:
            case Move.WATCH:
                self._core.watch(stream.session.chunk_ms, stream.slot)
            case Move.FOLLOW:
                self._core.follow(stream.session.chunk_ms, stream.slot)

    def _report(self, stream: Stream, hypotheses: list[Hypothesis], *, is_final: bool) -> None:
        try:
            news = stream.transcript.take(last=is_final)
            if news is None and is_final:
                news = stream.transcript.words, ()
        except Exception as error:  # noqa: BLE001 - of this stream alone
            return self._fault(stream, error)
        if news is not None:
            hypotheses.append(Hypothesis(stream.session, *news, is_final=is_final))

    def _join_fork(self, fork: Stream, parent: Stream) -> None:
        """The fork is flushed and its words were the final: the parent goes on from where it was."""
        self._slots.pools[fork.session.chunk_ms].forks.append(fork.slot)
        parent.marks.popleft()
        parent.forked = False
        try:
            parent.transcript.foresee(fork.foretold)
        except Exception as error:  # noqa: BLE001 - of this stream alone
            self._fault(parent, error)
        self._consider(parent)

    def _free(self, stream: Stream) -> None:
        pool = self._slots.pools[stream.session.chunk_ms]
        pool.give(stream.slot)
        del self._streams[stream.session]
        self._locking.discard(stream.session)
        if pool.open == 0:
            self._limit_batches()

    def _consider(self, stream: Stream) -> None:
        """Put the stream in line for whatever it is ready for."""
        if stream.at_mark:
            self._unforked[stream.session.chunk_ms][stream] = None
        elif stream.done:
            self._done[stream] = None
        elif stream.ready:
            now = time.monotonic()
            ready_at = now if stream.closing else stream.ready_since(now)
            self._scheduler.add(stream, stream.session.chunk_ms, ready_at, urgent=stream.closing)
        self._work.notify()

    def _fork_waiting(self) -> None:
        """Fork the streams that stand at a mark, as far as fork slots are free."""
        for chunk_ms, waiting in self._unforked.items():
            pool = self._slots.pools[chunk_ms]
            while waiting and pool.forks:
                stream = next(iter(waiting))
                del waiting[stream]
                if not stream.at_mark:
                    continue
                try:
                    twin = stream.fork(pool.forks[-1])
                except Exception as error:  # noqa: BLE001 - of this stream alone
                    self._fault(stream, error)
                    continue
                pool.forks.pop()
                if stream.chunks:
                    self._core.copy(chunk_ms, stream.slot, twin.slot)
                self._consider(twin)

    def _limit_batches(self) -> None:
        """Batches of slow classes must leave the fast ones time; called when a class gets or loses its sessions."""
        limits = self._capacity.admission.limits(self._slots.open_rows(), time.monotonic())
        for chunk_ms, rows in limits.items():
            self._scheduler.limit(chunk_ms, rows)

    def _prepare_all(self) -> None:
        while self._preparation.pending:
            self._prepare()

    def _prepare(self) -> None:
        """A piece of what a class lacks before its sessions can be stepped. For the thread that steps, between steps:
        nothing else is on the device meanwhile."""
        failure = None
        with self._device:
            if not self._preparation.pending:
                return
            try:
                if not self._preparation.proceed():
                    return
            except Exception as error:
                logger.exception("slots of %d ms cannot be had: such sessions end", self._preparation.first)
                failure = str(error) or type(error).__name__
            with self._lock:
                chunk_ms = self._preparation.finish(failure)
                self._scheduler.hold(chunk_ms, held=failure is not None)
                events = StepEvents((), (), {}) if failure is None else self._end_class(chunk_ms, failure)
        if events.closed:
            self._tell(events)

    def _end_class(self, chunk_ms: int, failure: str) -> StepEvents:
        """The device has no slots for sessions of the class: they end. Holding the lock."""
        self._scheduler.clear(chunk_ms)
        self._unforked[chunk_ms].clear()
        streams = [stream for stream in self._streams.values() if stream.session.chunk_ms == chunk_ms]
        for stream in streams:
            self._done.pop(stream, None)
            self._free(stream)
        fault = SessionFault(FaultReason.FAILED, failure, retryable=False)
        ended = [stream.session for stream in streams]
        return StepEvents((), tuple(ended), {}, faults=dict.fromkeys(ended, fault))

    def _stream(self, session: Session) -> Stream:
        stream = self._streams.get(session)
        if self._failure is not None:
            raise SessionClosed(f"session {session.id} ended when the engine failed ({self._failure}): restart it")
        if stream is None or stream.closing:
            raise SessionClosed(f"session {session.id} is closed: open a new one")
        return stream

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            self._prepare_to_start()
            self._measured.set()
            while True:
                with self._work:
                    while not (self._stopping or self._due() or self._preparation.pending or self._is_measurable()):
                        wake_at = self._scheduler.wake_at(self._slots.open_rows())
                        self._work.wait(None if wake_at is None else max(0.0, wake_at - time.monotonic()))
                    if self._stopping:
                        return
                    measurable = self._is_measurable()
                if measurable:
                    self._measure()
                self._prepare()
                self.step(time.monotonic())
        except BaseException as error:
            logger.exception("the engine failed and stops; its %d sessions end", len(self._streams))
            self._fail(error if isinstance(error, Exception) else EngineError(one_line(error)))
            self._measured.set()

    def _due(self) -> bool:
        wake_at = self._scheduler.wake_at(self._slots.open_rows())
        forkable = any(waiting and self._slots.pools[chunk_ms].forks for chunk_ms, waiting in self._unforked.items())
        return bool(self._done or forkable) or (wake_at is not None and wake_at <= time.monotonic())

    def _prepare_to_start(self) -> None:
        """Whatever was reserved, and with admission its measurement. Where nothing was, the class that sessions get by
        default is, because the others are judged by it."""
        if self._capacity.admits and not any(pool.allocated for pool in self._slots.pools.values()):
            default = SessionOptions().chunk_ms
            with self._lock:
                self._preparation.request(default if default in self._slots.pools else self.chunks_ms[0])
        self._prepare_all()
        while self._is_measurable():
            self._measure()

    def _is_measurable(self) -> bool:
        """Some class was not measured, and nobody would wait for it."""
        return self._capacity.admits and bool(self._preparation.unmeasured) and not self._streams

    def _measure(self) -> None:
        """Time the steps of a class, and go by that in admission."""
        with self._device:
            chunk_ms, times = self._preparation.measure()
        with self._lock:
            self.step_times[chunk_ms] = times
            self._capacity.admission.measured(chunk_ms, times)

    def _fail(self, error: Exception) -> None:
        """End every session, so that no call waits for words that cannot come."""
        with self._lock:
            self._failure = error
            sessions = tuple(self._streams)
            self._streams.clear()
        fault = SessionFault(FaultReason.FAILED, str(error) or type(error).__name__)
        self._tell(StepEvents((), sessions, {}, faults=dict.fromkeys(sessions, fault)))
