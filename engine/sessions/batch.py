"""One batch's way through the engine, in four phases: collect, step, step the watchers, publish.

The engine calls them in this order on the thread that steps. It holds its lock during the first and the last, which
change streams, and not during the two on the device: audio goes on coming in meanwhile.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.api import AUTO, FaultReason, Hypothesis, Session, SessionFault, StepEvents
from engine.executor import Emission, StepExecutor
from engine.sessions.language_lock import LanguageLock, Move
from engine.sessions.languages import Languages
from engine.sessions.stream import Stream
from engine.sessions.streams import Streams
from engine.stats import EngineStats


@dataclass(frozen=True, slots=True)
class Batch:
    """What is stepped at once, B rows of one class; without rows there are only streams to report for the last time.

    audio: float32 (B, samples of a chunk); chunks: steps each row has had before; watched: rows whose language is
    locked, with their locks.
    """

    chunk_ms: int
    rows: list[Stream]
    audio: NDArray[np.float32]
    chunks: list[int]
    prompts: list[int]
    watched: list[tuple[int, LanguageLock]]


_NO_ROWS = Batch(0, [], np.empty((0, 0), np.float32), [], [], [])


class BatchStepper:
    """The phases of a batch, on the engine's thread. `stats`: what is stepped is counted in it."""

    def __init__(self, executor: StepExecutor, streams: Streams, languages: Languages, stats: EngineStats) -> None:
        self._executor = executor
        self._streams = streams
        self._languages = languages
        self._stats = stats

    def collect(self, now: float) -> Batch | None:
        """Take the next chunks of the rows that are due at `now`; whatever is pushed or set meanwhile concerns the
        chunks after. None where there is nothing to step or to report."""
        for stream, clone in self._streams.clone_waiting():
            if stream.chunks:
                self._executor.copy(stream.session.chunk_ms, stream.slot, clone.slot)
        due = self._streams.next_batch(now)
        if due is None:
            return _NO_ROWS if self._streams.any_done else None
        chunk_ms, rows = due
        audio = self._executor.audio(chunk_ms)[: len(rows)]
        chunks = [stream.chunks for stream in rows]
        for row, stream in enumerate(rows):
            try:
                stream.read(audio[row])
            except Exception as error:  # noqa: BLE001 - of this stream alone
                audio[row] = 0
                self._streams.fault(stream, error)
        locks = [(row, stream.lock) for row, stream in enumerate(rows) if stream.lock is not None]
        watched = [(row, lock) for row, lock in locks if lock.is_locked]
        return Batch(chunk_ms, rows, audio, chunks, [stream.prompt for stream in rows], watched)

    def step(self, batch: Batch) -> list[Emission]:
        """The device's part, without the lock. Returns the tokens of the rows."""
        if not batch.rows:
            return []
        began = time.perf_counter()
        slots = [stream.slot for stream in batch.rows]
        emissions = self._executor.step(batch.chunk_ms, batch.audio, slots, batch.chunks, batch.prompts)
        self._stats.steps += 1
        self._stats.rows += len(batch.rows)
        self._stats.step_s += time.perf_counter() - began
        return emissions

    def step_watchers(self, batch: Batch) -> list[Emission]:
        """The watchers' part on the device, without the lock. Returns their tokens; `row` counts in `watched`."""
        if not batch.watched:
            return []
        began = time.perf_counter()
        watched = [row for row, _ in batch.watched]
        slots = [batch.rows[row].slot for row in watched]
        emissions = self._executor.step_watchers(batch.chunk_ms, watched, slots, self._languages.prompt(AUTO))
        self._stats.step_s += time.perf_counter() - began
        return emissions

    def publish(self, batch: Batch, emissions: list[Emission], of_watchers: list[Emission]) -> StepEvents:
        """Words, finals and ends that the step brought; puts the rows back in line."""
        rows, streams = batch.rows, self._streams
        self._add_tokens(batch, emissions, of_watchers)
        hypotheses: list[Hypothesis] = []
        speaking = dict.fromkeys(rows[emission.row] for emission in emissions)
        for stream in rows:
            if stream.lock is not None:
                self._update_lock(stream)
                speaking[stream] = None
        for stream in speaking:
            if stream.parent is None and not stream.done:
                self._report(stream, hypotheses, is_final=False)
        for stream in rows:
            streams.enqueue(stream)
        closed: list[Session] = []
        faults: dict[Session, SessionFault] = {}
        while (done := streams.next_done()) is not None:
            self._report(done, hypotheses, is_final=True)
            if done.parent is not None:
                streams.join(done, done.parent)
            else:
                streams.end(done)
                closed.append(done.session)
                if done.fault is not None:
                    faults[done.session] = SessionFault(FaultReason.FAILED, done.fault)
        progress = {stream.session: stream.consumed_s for stream in rows if stream.parent is None}
        return StepEvents(tuple(hypotheses), tuple(closed), progress, faults=faults)

    def _add_tokens(self, batch: Batch, emissions: list[Emission], of_watchers: list[Emission]) -> None:
        for emission in of_watchers:
            row, lock = batch.watched[emission.row]
            try:
                batch.rows[row].add_watcher_token(lock, emission.token, emission.frame, emission.probability)
            except Exception as error:  # noqa: BLE001 - of this stream alone
                self._streams.fault(batch.rows[row], error)
        for emission in emissions:
            stream = batch.rows[emission.row]
            try:
                stream.add_token(emission.token, emission.frame, emission.probability)
            except Exception as error:  # noqa: BLE001 - of this stream alone
                self._streams.fault(stream, error)

    def _update_lock(self, stream: Stream) -> None:
        try:
            move = stream.update_lock()
        except Exception as error:  # noqa: BLE001 - of this stream alone
            return self._streams.fault(stream, error)
        match move:
            case Move.START_WATCHER:
                self._executor.start_watcher(stream.session.chunk_ms, stream.slot)
            case Move.ADOPT_WATCHER:
                self._executor.adopt_watcher(stream.session.chunk_ms, stream.slot)

    def _report(self, stream: Stream, hypotheses: list[Hypothesis], *, is_final: bool) -> None:
        try:
            changed = stream.transcript.take(last=is_final)
            if changed is None and is_final:
                changed = stream.transcript.words, ()
        except Exception as error:  # noqa: BLE001 - of this stream alone
            return self._streams.fault(stream, error)
        if changed is not None:
            hypotheses.append(Hypothesis(stream.session, *changed, is_final=is_final))
