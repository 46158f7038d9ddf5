"""The engine: sessions over fixed slots, one thread that steps, events in one batch per step.

`push` and the other methods only touch host state under a lock; the device is the engine thread's alone, from the
allocation of a class on (`engine.preparation`). A slot has a generation, so nothing of a former session can reach a
later one in the same slot.

`Engine` has the locks, the thread and the errors of the public methods. What each session waits for is the affair of
`engine.sessions.streams`, the way of one batch that of `engine.sessions.batch`.

What goes wrong with one session's words ends that session; what a subscriber raises is counted. A step that fails as a
whole ends the engine (`failure`).
"""

import logging
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.admission.capacity import Capacity, most_sessions
from engine.api import (
    SAMPLE_RATE_HZ,
    EngineLoad,
    FaultReason,
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
from engine.executor import StepExecutor
from engine.loading import run_in_thread
from engine.precision import default_precision, has_int8
from engine.preparation import Preparation
from engine.sessions.batch import BatchStepper
from engine.sessions.languages import Languages
from engine.sessions.scheduler import Scheduler
from engine.sessions.slots import Slots
from engine.sessions.stream import Stream
from engine.sessions.streams import Streams
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

_MAX_BACKLOG = 30 * SAMPLE_RATE_HZ
"""Samples a session may have waiting; beyond it the oldest are thrown away and counted."""


def _checked_precision(precision: Precision | None, device: str) -> Precision:
    """The one to compute in on the device; None asks for the default. Raises `UnsupportedPrecision`."""
    if precision is None:
        precision = default_precision(device)
        if precision is Precision.FLOAT32:
            logger.warning(_NO_INT8, platform.machine())
    if precision is Precision.INT8 and (device != "cpu" or not has_int8()):
        raise UnsupportedPrecision(f"int8 needs an x86 CPU with AVX2, not {device!r} here: use float32 or bfloat16")
    return precision


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
        self.precision = _checked_precision(precision, device)
        if max_batch is None:
            max_batch = _MOST_ROWS_CUDA if device.startswith("cuda") else _MOST_ROWS
        self._executor = StepExecutor(checkpoint, {}, device, self.precision, max_batch=max_batch)
        self._languages = Languages(checkpoint)
        if max_sessions is None:
            max_sessions = most_sessions(checkpoint.config, device, self.precision)
        self._slots = Slots(classes, max_sessions)
        self._preparation = Preparation(self._executor, self._slots, max_batch)
        self._capacity = Capacity(classes, max_batch, admits=admission)
        is_small = device == "cpu" and checkpoint.config.encoder.d_model < _WIDE
        self._threads = 1 if threads is None and is_small else threads
        self.step_times: dict[int, Mapping[int, float]] = {}
        self.stats = EngineStats()
        self.supervisor = Supervisor()
        scheduler = Scheduler[Stream](classes, max_batch, gather_ms / 1000)
        self._streams = Streams(self._languages, self._slots, scheduler, self._capacity, self.supervisor)
        self._stepper = BatchStepper(self._executor, self._streams, self._languages, self.stats)
        self._callbacks: list[Callable[[StepEvents], None]] = []
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._device = threading.Lock()  # taken before the other one
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._failure: Exception | None = None
        self._measured = threading.Event()
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
        engine = run_in_thread(
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

    def __exit__(self, *_: object) -> None:
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
            return len(self._streams.by_session)

    def snapshot(self) -> EngineLoad:
        """How busy the engine is now."""
        with self._lock:
            taken = self._capacity.snapshot(self._slots.open_rows(), self._slots.sessions, time.monotonic())
        return self._capacity.compute_load(taken)

    @property
    def failure(self) -> Exception | None:
        """Why the engine stopped stepping by itself; None while it works."""
        return self._failure

    def open(self, options: SessionOptions, *, again: bool = False) -> Session:
        """Take a slot for a session. Raises `EngineFull`, `UnknownLocale`, `UnknownChunk`.

        `again`: the session was open in an engine that is gone. It is not new load, so that a slot is enough for it,
        although its last seconds are transcribed once more, for which there is no time in the long run.
        """
        pool = self._slots.pool(options.chunk_ms)
        self._languages.prompt(options.language)  # an unknown one is refused before anything else
        with self._lock:
            if self._failure is not None:
                raise EngineError(f"the engine has failed ({self._failure}): restart it")
            if pool.failure is not None:
                raise EngineError(
                    f"no room for sessions of {options.chunk_ms} ms ({pool.failure}): use another chunk_ms"
                )
            if len(self._streams.by_session) >= self._slots.sessions or not pool.free:
                self.stats.refused += 1
                raise EngineFull(f"all {self._slots.sessions} sessions of the engine are in use: try again later")
            refusal = self._capacity.refusal(self._slots.open_rows(), options.chunk_ms, time.monotonic())
            if refusal is not None and not again:
                self.stats.refused += 1
                raise EngineFull(f"the engine has no time for another session ({refusal}): try again later")
            self._preparation.request(options.chunk_ms)
            stream = self._streams.open(options)
            self.stats.opened += 1
            self._work.notify()
            return stream.session

    def reserve(self, chunk_ms: int) -> None:
        """Have the slots of a class allocated before its first session: now, or, where a thread steps, by that one,
        without waiting for it. Raises `UnknownChunk`, and `EngineError` where the device has no memory for them."""
        pool = self._slots.pool(chunk_ms)
        with self._work:
            self._preparation.request(chunk_ms)
            self._work.notify()
            running = self._thread is not None
        if not running:
            run_in_thread(self._prepare_all)
        if pool.failure is not None:
            raise EngineError(f"no room for sessions of {chunk_ms} ms ({pool.failure}): use another one")

    def awaits_answer(self, session: Session) -> bool:  # noqa: ARG002 - for engines in other processes
        """Never: `open` is the answer."""
        return False

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        with self._work:
            stream = self._stream(session)
            stream.push(pcm, time.monotonic())
            while stream.backlog > _MAX_BACKLOG:
                stream.skip_chunk()
                self.stats.skipped_samples += session.chunk_ms * SAMPLE_RATE_HZ // 1000
            self._streams.enqueue(stream)
            self._work.notify()

    def finalize(self, session: Session) -> None:
        with self._work:
            stream = self._stream(session)
            stream.marks.append(stream.audio.end)
            self._streams.enqueue(stream)
            self._work.notify()

    def set_language(self, session: Session, language: str) -> None:
        self._languages.prompt(language)
        with self._lock:
            self._streams.set_language(self._stream(session), language)

    def close(self, session: Session) -> None:
        with self._work:
            stream = self._stream(session)
            stream.closing = True
            self._streams.enqueue(stream)
            self._work.notify()

    def drop(self, session: Session) -> None:
        """Free the slot without a flush, so that the last words are lost; `StepEvents.closed` reports it. Does nothing
        where the session has ended."""
        with self._work:
            stream = self._streams.by_session.get(session)
            if stream is not None:
                self._streams.drop(stream)
                self._work.notify()

    def flush(self) -> None:
        """Nothing to do: what is pushed may be stepped at once."""

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.remove(callback)

    def step(self, now: float | None = None) -> bool:
        """Step one batch, if one is due at `now` (seconds; None: step whatever is ready). Returns whether it did."""
        if self._thread is None:
            self._prepare_all()
        with self._device:
            began = time.perf_counter()
            with self._lock:
                batch = self._stepper.collect(float("inf") if now is None else now)
            if batch is None:
                return False
            emissions = self._stepper.step(batch)
            of_watchers = self._stepper.step_watchers(batch)
            with self._lock:
                events = self._stepper.publish(batch, emissions, of_watchers)
            self._emit(events)
            took_s, reported_at = time.perf_counter() - began, time.monotonic()
            if batch.rows:
                with self._lock:
                    self._streams.observe(batch.chunk_ms, batch.rows, took_s, reported_at)
            return True

    def _emit(self, events: StepEvents) -> None:
        """Call every subscriber, without the lock."""
        for callback in list(self._callbacks):
            try:
                callback(events)
            except Exception as error:  # noqa: BLE001 - the others have their calls to serve
                self.supervisor.fault("engine subscriber", error)

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
                if failure is None:
                    self._streams.release_class(chunk_ms)
                    return
                ended = self._streams.end_class(chunk_ms)
        if ended:
            fault = SessionFault(FaultReason.FAILED, failure, retryable=False)
            self._emit(StepEvents((), tuple(ended), {}, faults=dict.fromkeys(ended, fault)))

    def _stream(self, session: Session) -> Stream:
        stream = self._streams.by_session.get(session)
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
                    while not (self._stopping or self._has_work()):
                        wake_at = self._streams.wake_at()
                        self._work.wait(None if wake_at is None else max(0.0, wake_at - time.monotonic()))
                    if self._stopping:
                        return
                    measurable = self._is_measurable()
                if measurable:
                    self._measure()
                self._prepare()
                self.step(time.monotonic())
        except BaseException as error:
            logger.exception("the engine failed and stops; its %d sessions end", len(self._streams.by_session))
            self._fail(error if isinstance(error, Exception) else EngineError(one_line(error)))
            self._measured.set()

    def _has_work(self) -> bool:
        return self._streams.is_due() or self._preparation.pending or self._is_measurable()

    def _prepare_to_start(self) -> None:
        """Whatever was reserved, and with admission its measurement. Where nothing was, the class that sessions get by
        default is, because the others are judged by it."""
        if self._capacity.admits:
            with self._lock:
                self._preparation.request_default()
        self._prepare_all()
        while self._is_measurable():
            self._measure()

    def _is_measurable(self) -> bool:
        """Some class was not measured, and nobody would wait for it."""
        return self._capacity.admits and bool(self._preparation.unmeasured) and not self._streams.by_session

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
            sessions = self._streams.clear()
        fault = SessionFault(FaultReason.FAILED, str(error) or type(error).__name__)
        self._emit(StepEvents((), sessions, {}, faults=dict.fromkeys(sessions, fault)))
