"""The engine: sessions over fixed slots, one thread that steps, events in one batch per step.

`push` and the other methods only touch host state under a lock; the device is the engine thread's alone. A slot has a
generation, so nothing of a former session can reach a later one in the same slot.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from engine.checkpoint import load_checkpoint
from engine.chunking import FRAME_MS, chunk_samples
from engine.config import ENGLISH_ONLY
from engine.core import Core, Emission
from engine.errors import EngineError, EngineFull, SessionClosed, UnknownChunk, UnknownLocale
from engine.scheduler import Scheduler
from engine.session import AUTO, SAMPLE_RATE_HZ, Hypothesis, Session, SessionOptions, StepEvents
from engine.stream import Stream
from engine.transcript import Transcript
from engine.weights import Checkpoint

logger = logging.getLogger(__name__)

_FORK_SLOTS = 4
"""Slots of each class kept back for flushing forks; a `finalize` waits when all are busy."""

_WIDE = 512
"""Width of a model from which more than one CPU thread pays (docs/decisions.md)."""

_MAX_BACKLOG_S = 30.0
"""Audio a session may have waiting; beyond it the oldest is thrown away and counted."""


@dataclass(slots=True)
class EngineStats:
    """Counted since the engine was made. `step_s`: seconds spent stepping; `rows`: chunks stepped, forks included."""

    steps: int = 0
    rows: int = 0
    step_s: float = 0.0
    opened: int = 0
    refused: int = 0
    skipped_samples: int = 0


@dataclass(slots=True)
class _Pool:
    """Slots of one latency class. Sessions use the first ones, forks those above."""

    free: list[int]
    forks: list[int]
    generations: list[int]
    open: int = 0
    allocated: bool = False


@dataclass(frozen=True, slots=True)
class _Work:
    """What a batch steps on. audio: float32 (B, samples of a chunk); chunks: steps each row has had before."""

    audio: NDArray[np.float32]
    chunks: list[int]
    prompts: list[int]


class Engine:
    """Implements `Recognizer`. Thread-safe; `step` is for the engine's own thread, or for tests instead of one."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        max_sessions: int = 64,
        max_batch: int = 64,
        gather_ms: float = 5.0,
        threads: int | None = None,
    ) -> None:
        classes = tuple(frames * FRAME_MS for frames in checkpoint.config.chunk_frames)
        self._core = Core(checkpoint, {}, device, dtype)
        self._tokenizer = checkpoint.tokenizer
        prompt = checkpoint.config.prompt
        self._prompts: Mapping[str, int] = prompt.dictionary if prompt is not None else {ENGLISH_ONLY: 0, AUTO: 0}
        self._detects = prompt is not None
        self._max_sessions = max_sessions
        if threads is None and device == "cpu" and checkpoint.config.encoder.d_model < _WIDE:
            threads = 1
        self._threads = threads
        self._pools = {
            chunk_ms: _Pool(
                free=list(range(max_sessions)),
                forks=list(range(max_sessions, max_sessions + _FORK_SLOTS)),
                generations=[0] * max_sessions,
            )
            for chunk_ms in classes
        }
        self._scheduler: Scheduler[Stream] = Scheduler(classes, max_batch, gather_ms / 1000)
        self._audio = {ms: np.empty((max_batch, chunk_samples(ms // FRAME_MS)), np.float32) for ms in classes}
        self._streams: dict[Session, Stream] = {}
        self._done: list[Stream] = []
        self._unforked: list[Stream] = []
        self._ids = itertools.count()
        self._callbacks: list[Callable[[StepEvents], None]] = []
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._failure: Exception | None = None
        self.stats = EngineStats()

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        max_sessions: int = 64,
        threads: int | None = None,
    ) -> "Engine":
        """Make an engine of a `.nemo` file, a Hugging Face folder or id, or the shipped demo model (None).

        `threads`: CPU threads of one step; None leaves torch's default to a large model and gives a small one, which
        would only lose by more, a single thread. Raises `CheckpointError`.
        """
        return cls(load_checkpoint(checkpoint), device=device, dtype=dtype, max_sessions=max_sessions, threads=threads)

    def start(self) -> None:
        """Start the thread that steps."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

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
        return frozenset(self._prompts)

    @property
    def chunks_ms(self) -> tuple[int, ...]:
        """Latency classes of the checkpoint, fastest first."""
        return tuple(self._pools)

    @property
    def max_sessions(self) -> int:
        return self._max_sessions

    @property
    def open_sessions(self) -> int:
        with self._lock:
            return len(self._streams)

    def open(self, options: SessionOptions) -> Session:
        pool = self._pool(options.chunk_ms)
        prompt = self._prompt(options.language)
        with self._lock:
            if self._failure is not None:
                raise EngineError(f"the engine has failed ({self._failure}): restart it")
            if len(self._streams) >= self._max_sessions or not pool.free:
                self.stats.refused += 1
                raise EngineFull(f"all {self._max_sessions} sessions of the engine are in use: try again later")
            self._allocate(options.chunk_ms, pool)
            slot = pool.free.pop()
            pool.generations[slot] += 1
            pool.open += 1
            session = Session(next(self._ids), slot, pool.generations[slot], options.chunk_ms)
            transcript = Transcript(self._tokenizer, self._configured(options.language))
            self._streams[session] = Stream(session, slot, prompt, transcript)
            self.stats.opened += 1
            return session

    def reserve(self, chunk_ms: int) -> None:
        """Allocate the slots of a class now rather than with its first session. Raises `UnknownChunk`."""
        pool = self._pool(chunk_ms)
        with self._lock:
            self._allocate(chunk_ms, pool)

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        with self._work:
            stream = self._stream(session)
            stream.audio.append(pcm)
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
        prompt = self._prompt(language)
        with self._lock:
            stream = self._stream(session)
            stream.prompt = prompt
            stream.transcript.configured = self._configured(language)

    def close(self, session: Session) -> None:
        with self._work:
            stream = self._stream(session)
            stream.closing = True
            self._consider(stream)

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[StepEvents], None]) -> None:
        self._callbacks.remove(callback)

    def step(self, now: float | None = None) -> bool:
        """Step one batch, if one is due at `now` (seconds; None: step whatever is ready). Returns whether it did."""
        with self._lock:
            self._fork_waiting()
            batch = self._scheduler.next(float("inf") if now is None else now, self._open_rows())
            if batch is None and not self._done:
                return False
            chunk_ms, rows = batch if batch is not None else (0, [])
            work = self._collect(chunk_ms, rows) if rows else None
        emissions = self._advance(chunk_ms, rows, work) if work is not None else []
        with self._lock:
            events = self._publish(rows, emissions)
        for callback in self._callbacks:
            callback(events)
        return True

    def _collect(self, chunk_ms: int, rows: list[Stream]) -> _Work:
        """Take the rows' next chunks; whatever is pushed or set meanwhile concerns the chunk after."""
        audio = self._audio[chunk_ms][: len(rows)]
        chunks = [stream.chunks for stream in rows]
        for row, stream in enumerate(rows):
            stream.read(audio[row])
        return _Work(audio, chunks, [stream.prompt for stream in rows])

    def _advance(self, chunk_ms: int, rows: list[Stream], work: _Work) -> list[Emission]:
        """The device's part of a step."""
        began = time.perf_counter()
        slots = [stream.slot for stream in rows]
        for slot, chunks in zip(slots, work.chunks, strict=True):
            if chunks == 0:
                self._core.clear(chunk_ms, slot)
        emissions = self._core.step(chunk_ms, work.audio, slots, work.chunks, work.prompts)
        self.stats.steps += 1
        self.stats.rows += len(rows)
        self.stats.step_s += time.perf_counter() - began
        return emissions

    def _publish(self, rows: list[Stream], emissions: list[Emission]) -> StepEvents:
        """Words, finals and ends that the step brought; puts the rows back in line."""
        for emission in emissions:
            rows[emission.row].emit(emission.token, emission.frame, emission.probability)
        hypotheses: list[Hypothesis] = []
        speaking = dict.fromkeys(rows[emission.row] for emission in emissions)
        for stream in speaking:
            if stream.parent is None and not stream.done:
                self._report(stream, hypotheses, is_final=False)
        for stream in rows:
            self._consider(stream)
        closed = []
        while self._done:
            stream = self._done.pop(0)
            self._report(stream, hypotheses, is_final=True)
            if stream.parent is not None:
                self._join_fork(stream, stream.parent)
            else:
                self._free(stream)
                closed.append(stream.session)
        progress = {stream.session: stream.heard_s for stream in rows if stream.parent is None}
        return StepEvents(tuple(hypotheses), tuple(closed), progress)

    def _report(self, stream: Stream, hypotheses: list[Hypothesis], *, is_final: bool) -> None:
        news = stream.transcript.take(last=is_final)
        if news is None and is_final:
            news = stream.transcript.words, ()
        if news is not None:
            hypotheses.append(Hypothesis(stream.session, *news, is_final=is_final))

    def _join_fork(self, fork: Stream, parent: Stream) -> None:
        """The fork is flushed and its words were the final: the parent goes on from where it was."""
        self._pools[fork.session.chunk_ms].forks.append(fork.slot)
        parent.marks.popleft()
        parent.forked = False
        parent.transcript.foresee(fork.foretold)
        self._consider(parent)

    def _free(self, stream: Stream) -> None:
        pool = self._pools[stream.session.chunk_ms]
        pool.free.append(stream.slot)
        pool.open -= 1
        del self._streams[stream.session]

    def _consider(self, stream: Stream) -> None:
        """Put the stream in line for whatever it is ready for."""
        if stream.at_mark:
            self._unforked.append(stream)
        elif stream.done:
            if stream not in self._done:
                self._done.append(stream)
        elif stream.ready:
            self._scheduler.add(stream, stream.session.chunk_ms, time.monotonic(), urgent=stream.closing)
        self._work.notify()

    def _fork_waiting(self) -> None:
        """Fork the streams that stand at a mark, as far as fork slots are free."""
        waiting, self._unforked = self._unforked, []
        for stream in waiting:
            if not stream.at_mark:
                continue
            pool = self._pools[stream.session.chunk_ms]
            if not pool.forks:
                self._unforked.append(stream)
                continue
            twin = stream.fork(pool.forks.pop())
            if stream.chunks:
                self._core.copy(stream.session.chunk_ms, stream.slot, twin.slot)
            self._consider(twin)

    def _open_rows(self) -> dict[int, int]:
        return {chunk_ms: pool.open for chunk_ms, pool in self._pools.items()}

    def _pool(self, chunk_ms: int) -> _Pool:
        pool = self._pools.get(chunk_ms)
        if pool is None:
            known = ", ".join(map(str, self._pools))
            raise UnknownChunk(f"no latency class of {chunk_ms} ms: this checkpoint has {known}")
        return pool

    def _allocate(self, chunk_ms: int, pool: _Pool) -> None:
        if not pool.allocated:
            self._core.allocate(chunk_ms, self._max_sessions + _FORK_SLOTS)
            pool.allocated = True

    def _stream(self, session: Session) -> Stream:
        stream = self._streams.get(session)
        if stream is None or stream.closing:
            raise SessionClosed(f"session {session.id} is closed: open a new one")
        return stream

    def _prompt(self, language: str) -> int:
        if language not in self._prompts:
            known = ", ".join(sorted(self._prompts))
            raise UnknownLocale(f"unknown language {language!r}: this checkpoint has {known}")
        return self._prompts[language]

    def _configured(self, language: str) -> str | None:
        if not self._detects:
            return ENGLISH_ONLY
        return None if language == AUTO else language

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            while True:
                with self._work:
                    while not self._stopping and not self._due():
                        wake_at = self._scheduler.wake_at(self._open_rows())
                        self._work.wait(None if wake_at is None else max(0.0, wake_at - time.monotonic()))
                    if self._stopping:
                        return
                self.step(time.monotonic())
        except Exception as error:
            logger.exception("the engine failed and stops; its %d sessions end", len(self._streams))
            self._fail(error)

    def _due(self) -> bool:
        wake_at = self._scheduler.wake_at(self._open_rows())
        return bool(self._done or self._unforked) or (wake_at is not None and wake_at <= time.monotonic())

    def _fail(self, error: Exception) -> None:
        """End every session, so that no call waits for words that cannot come."""
        with self._lock:
            self._failure = error
            sessions = tuple(self._streams)
            self._streams.clear()
        for callback in self._callbacks:
            callback(StepEvents((), sessions, {}))
