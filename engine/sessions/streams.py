"""The streams of all open sessions, and what each of them waits for. No device and no threads are in here.

A stream is at most in one of these queues, and `enqueue` finds which:

- the scheduler: it has a chunk to step;
- waiting for a clone slot: its next chunk would go past a mark, at which a final was asked for. A clone is flushed for
  that, and the stream itself stands until `join` puts it back in line;
- done: it is flushed to its last word, or was dropped, and is to be reported for the last time.

In none of them it waits for audio, or for its clone to be flushed.
"""

import itertools
import time
from collections.abc import Sequence

from engine.admission.capacity import Capacity
from engine.api import Session, SessionOptions
from engine.sessions.languages import Languages
from engine.sessions.scheduler import Scheduler
from engine.sessions.slots import Slots
from engine.sessions.stream import Stream
from supervision import Supervisor, one_line


class Streams:
    """Owns the streams and their queues. Not thread-safe: the engine holds its lock around every call.

    `by_session`: the streams of open sessions, clones left out; changed by methods of this class alone. `capacity`:
    takes what is observed of steps, and limits the rows of a batch.
    """

    def __init__(
        self,
        languages: Languages,
        slots: Slots,
        scheduler: Scheduler[Stream],
        capacity: Capacity,
        supervisor: Supervisor,
    ) -> None:
        self.by_session: dict[Session, Stream] = {}
        self._languages = languages
        self._slots = slots
        self._capacity = capacity
        self._supervisor = supervisor
        self._scheduler = scheduler
        for chunk_ms in slots.pools:
            scheduler.hold(chunk_ms, held=True)
        self._awaiting_clone: dict[int, dict[Stream, None]] = {chunk_ms: {} for chunk_ms in slots.pools}
        self._done: dict[Stream, None] = {}
        self._ids = itertools.count()

    def open(self, options: SessionOptions) -> Stream:
        """A stream of a new session, in a slot of its class; there must be a free one. Raises `UnknownLocale`."""
        chunk_ms, language = options.chunk_ms, options.language
        prompt = self._languages.prompt(language)
        pool = self._slots.pools[chunk_ms]
        slot, generation = pool.take()
        if pool.open == 1:
            self._limit_batches()
        session = Session(next(self._ids), slot, generation, chunk_ms)
        stream = self.by_session[session] = Stream(session, slot, prompt, self._languages.transcript(language))
        if options.language_lock and self._languages.detects:
            stream.locks_language = True
            stream.lock = self._languages.lock(language)
        return stream

    def set_language(self, stream: Stream, language: str) -> None:
        """Words have another language from the next step on. Raises `UnknownLocale`."""
        stream.prompt = self._languages.prompt(language)
        stream.transcript.configured = self._languages.configured(language)
        if stream.locks_language:
            stream.lock = self._languages.lock(language)
            stream.transcript.unsettled_after = None

    def enqueue(self, stream: Stream) -> None:
        """Put the stream into the queue of what it is ready for; into none where it has to wait."""
        if stream.at_mark:
            self._awaiting_clone[stream.session.chunk_ms][stream] = None
        elif stream.done:
            self._done[stream] = None
        elif stream.ready:
            now = time.monotonic()
            ready_at = now if stream.closing else stream.ready_since(now)
            self._scheduler.add(stream, stream.session.chunk_ms, ready_at, urgent=stream.closing)

    def drop(self, stream: Stream) -> None:
        """End a session's stream without a flush."""
        stream.dropped = stream.closing = True
        self._scheduler.discard(stream, stream.session.chunk_ms)
        self.enqueue(stream)

    def fault(self, stream: Stream, error: Exception) -> None:
        """An error of ours with one stream ends its session and is counted. For where the error is handled."""
        owner = stream.parent or stream
        if not owner.dropped:
            self._supervisor.fault("engine session", error, f"session {stream.session.id} ends", always=True)
            owner.fault = one_line(error)
        self.drop(owner)

    def is_due(self) -> bool:
        """A stream can be stepped, cloned or ended now."""
        wake_at = self.wake_at()
        pools = self._slots.pools
        clonable = any(waiting and pools[ms].free_clones for ms, waiting in self._awaiting_clone.items())
        return bool(self._done or clonable) or (wake_at is not None and wake_at <= time.monotonic())

    def wake_at(self) -> float | None:
        """When a batch will be due, should nothing else happen; None where no stream has a chunk to step."""
        return self._scheduler.wake_at(self._slots.open_rows())

    def next_batch(self, now: float) -> tuple[int, list[Stream]] | None:
        """Take the batch that is due at `now` out of its queue: its class and rows."""
        return self._scheduler.next(now, self._slots.open_rows())

    @property
    def any_done(self) -> bool:
        """Some stream is to be reported for the last time."""
        return bool(self._done)

    def next_done(self) -> Stream | None:
        """Take the next stream that is done out of its queue."""
        stream = next(iter(self._done), None)
        if stream is not None:
            del self._done[stream]
        return stream

    def clone_waiting(self) -> list[tuple[Stream, Stream]]:
        """Clone the streams that stand at a mark, as far as clone slots are free. Returns each with its clone, to whose
        slot the device state of the stream is to be copied before the next step."""
        made = []
        for chunk_ms, waiting in self._awaiting_clone.items():
            pool = self._slots.pools[chunk_ms]
            while waiting and pool.free_clones:
                stream = next(iter(waiting))
                del waiting[stream]
                if not stream.at_mark:
                    continue
                try:
                    clone = stream.clone(pool.free_clones[-1])
                except Exception as error:  # noqa: BLE001 - of this stream alone
                    self.fault(stream, error)
                    continue
                pool.free_clones.pop()
                made.append((stream, clone))
                self.enqueue(clone)
        return made

    def join(self, clone: Stream, parent: Stream) -> None:
        """The clone is flushed, and its words were the final: its parent goes on from where it was."""
        self._slots.pools[clone.session.chunk_ms].free_clones.append(clone.slot)
        parent.marks.popleft()
        parent.has_clone = False
        try:
            parent.transcript.expect(clone.reported_ahead)
        except Exception as error:  # noqa: BLE001 - of this stream alone
            self.fault(parent, error)
        self.enqueue(parent)

    def end(self, stream: Stream) -> None:
        """Free the slot of a session that was reported for the last time."""
        self._done.pop(stream, None)  # where its last report failed
        pool = self._slots.pools[stream.session.chunk_ms]
        pool.release(stream.slot)
        del self.by_session[stream.session]
        if pool.open == 0:
            self._limit_batches()

    def observe(self, chunk_ms: int, rows: Sequence[Stream], took_s: float, now: float) -> None:
        """A batch was stepped in `took_s` seconds, and what it brought is reported `now`."""
        complete = (stream.completed_at for stream in rows if stream.parent is None)
        lags = [now - at for at in complete if at is not None and at <= now]
        self._capacity.stepped(chunk_ms, len(rows), self._slots.pools[chunk_ms].open, took_s, lags, now)

    def clear(self) -> tuple[Session, ...]:
        """Forget all streams, where nothing will be stepped any more. Returns their sessions."""
        sessions = tuple(self.by_session)
        self.by_session.clear()
        return sessions

    def release_class(self, chunk_ms: int) -> None:
        """The device has slots for the class: its streams may be stepped."""
        self._scheduler.hold(chunk_ms, held=False)

    def end_class(self, chunk_ms: int) -> list[Session]:
        """End all sessions of a class without a report. Returns them."""
        self._scheduler.clear(chunk_ms)
        self._awaiting_clone[chunk_ms].clear()
        streams = [stream for stream in self.by_session.values() if stream.session.chunk_ms == chunk_ms]
        for stream in streams:
            self.end(stream)
        return [stream.session for stream in streams]

    def _limit_batches(self) -> None:
        """Batches of slow classes must leave the fast ones time; called when a class gets or loses its sessions."""
        limits = self._capacity.admission.forecast(time.monotonic()).limits(self._slots.open_rows())
        for chunk_ms, rows in limits.items():
            self._scheduler.limit(chunk_ms, rows)
