"""Files through the engine as fast as it goes: the same segments and records as live calls, without clocks.

Chain: file -> reader threads: blocks at 16 kHz -> sessions, one a channel -> the engine's thread steps them in batches
-> `Recording` -> records. As many files are under way as there are free sessions for their channels, and each is
read a bounded time ahead of what the engine has consumed of it: the engine always finds its next chunks, and memory
grows with the number of channels under way, not with the files.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from engine import Engine, Hypothesis, Session, SessionOptions, StepEvents
from engine.api import SAMPLE_RATE_HZ
from engine.errors import EngineError, EngineFull
from pipeline.audio_file import AudioFile
from pipeline.errors import AudioFileError, TooManyChannels
from pipeline.recording import Recording
from pipeline.segments import Segmenter
from sinks.record import TranscriptRecord

BLOCK_S = 4.0
"""Audio read in one go. Another block is read when less than this is waiting, so at most twice as much waits: far from
where the engine would throw audio away."""

_READERS = 4

_LOST = "the engine ended a session before its last word: see its log"


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """What came of the file number `file`.

    `consumed_s`: seconds of audio that the engine has consumed since the update before, all channels together.
    `ended`: nothing more comes of this file; then `length_s`: how long it was, `error`: it ended early, or could not be
    begun, and `faults`: what of it was skipped, cut short or guessed, in sentences that name the file.
    """

    file: int
    records: tuple[TranscriptRecord, ...] = ()
    consumed_s: float = 0.0
    ended: bool = False
    error: AudioFileError | None = None
    faults: tuple[str, ...] = ()
    length_s: float = 0.0


def too_many_channels(file: AudioFile, at_once: int) -> TooManyChannels | None:
    """The error of a file that can never begin."""
    if file.channels <= at_once:
        return None
    return TooManyChannels(
        f"{file.name} has {file.channels} channels, but only {at_once} are transcribed at once: say --at-once "
        f"{file.channels} or split it"
    )


class _Reading:
    """A file being fed to its sessions, by one reader thread at a time."""

    def __init__(self, number: int, file: AudioFile, recording: Recording) -> None:
        self.number = number
        self.file = file
        self.recording = recording
        self.blocks: Iterator[NDArray[np.float32]] = file.blocks(BLOCK_S)
        self.given_s = 0.0
        self.consumed_s = 0.0
        self.busy = False
        self.read_up = False
        self.error: AudioFileError | None = None


@dataclass(frozen=True, slots=True)
class _Fed:
    """A reader is done with a block of `seconds`; without a block the file is at its end, by `error` or properly."""

    reading: _Reading
    seconds: float | None
    error: Exception | None = None


class OfflineTranscription:
    """Transcribes files with a started engine that nobody else uses.

    `at_once`: channels under way at the same time, at most the engine's sessions. `segmenter`: makes that of a leg.
    `open_file`: opens what `run` is given, raising `AudioFileError`. Good for one `run`.
    """

    def __init__(
        self,
        engine: Engine,
        options: SessionOptions,
        *,
        at_once: int,
        segmenter: Callable[[str], Segmenter] = Segmenter,
        open_file: Callable[[Path], AudioFile] = AudioFile,
    ) -> None:
        self._engine = engine
        self._options = options
        self._at_once = min(at_once, engine.max_sessions)
        self._segmenter = segmenter
        self._open_file = open_file
        # Not bounded by itself: what is in it comes from audio that was read ahead, which is.
        self._updates: SimpleQueue[StepEvents | _Fed] = SimpleQueue()
        self._sessions: dict[Session, _Reading] = {}
        self._readings: dict[int, _Reading] = {}
        self._next: tuple[int, AudioFile] | None = None
        self._readers = ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1), "reader")

    def run(self, paths: Iterable[Path]) -> Generator[FileUpdate, None, None]:
        """Updates of all files as they come. A file that cannot be read ends with its error, the others go on.

        Raises `EngineError` where the engine fails, `UnknownLocale` and `UnknownChunk` with the first file.
        """
        waiting = iter(enumerate(paths))
        self._engine.subscribe(self._updates.put)
        try:
            while True:
                yield from self._begin_files(waiting)
                if not self._readings:
                    return
                yield from self._receive(self._updates.get())
        finally:
            self._readers.shutdown(cancel_futures=True)
            self._engine.unsubscribe(self._updates.put)
            self._abandon()

    def _begin_files(self, waiting: Iterator[tuple[int, Path]]) -> Iterator[FileUpdate]:
        """Open files as long as there are free sessions for all of their channels."""
        while True:
            if self._next is None:
                number, path = next(waiting, (-1, None))
                if path is None:
                    return
                try:
                    file = self._opened(path)
                except AudioFileError as error:
                    yield FileUpdate(number, ended=True, error=error)
                    continue
                self._next = number, file
            number, file = self._next
            if len(self._sessions) + file.channels > self._at_once:
                return
            sessions = self._open(file.channels)
            if sessions is None:
                return
            self._next = None
            recording = Recording(file.call_id, sessions, self._segmenter, run=file.digest)
            reading = self._readings[number] = _Reading(number, file, recording)
            self._sessions.update(dict.fromkeys(sessions, reading))
            self._feed(reading)

    def _opened(self, path: Path) -> AudioFile:
        file = self._open_file(path)
        try:
            if (error := too_many_channels(file, self._at_once)) is not None:
                raise error
            _ = file.digest  # here, where a failure is the file's
        except AudioFileError:
            file.close()
            raise
        return file

    def _open(self, channels: int) -> list[Session] | None:
        """A session for each channel; None where the engine has too few free yet."""
        sessions: list[Session] = []
        try:
            sessions += (self._engine.open(self._options) for _ in range(channels))
        except EngineFull:
            for session in sessions:
                self._engine.drop(session)
            if not self._readings:
                raise
            return None
        return sessions

    def _feed(self, reading: _Reading) -> None:
        """Have the next block read, where it is time for it."""
        if not reading.busy and not reading.read_up and reading.given_s - reading.recording.slowest_s < BLOCK_S:
            reading.busy = True
            self._readers.submit(self._read, reading)

    def _read(self, reading: _Reading) -> None:
        """Read and push one block, on a reader thread; behind the last one, the sessions are closed."""
        seconds, failure = None, None
        try:
            block = next(reading.blocks, None)
            if block is not None:
                for session, pcm in zip(reading.recording.channels, block, strict=True):
                    self._engine.push(session, pcm)
                seconds = block.shape[1] / SAMPLE_RATE_HZ
        except Exception as error:  # noqa: BLE001 - raised where the updates are received
            failure = error
        self._updates.put(_Fed(reading, seconds, failure))

    def _receive(self, update: StepEvents | _Fed) -> Iterator[FileUpdate]:
        if isinstance(update, _Fed):
            self._fed(update)
            return
        hypotheses: dict[Session, list[Hypothesis]] = defaultdict(list)
        for hypothesis in update.hypotheses:
            hypotheses[hypothesis.session].append(hypothesis)
        touched: dict[int, _Reading] = {}
        for session in hypotheses.keys() | update.progress.keys() | set(update.closed):
            if (reading := self._sessions.get(session)) is None:
                continue
            touched[reading.number] = reading
            recording = reading.recording
            recording.update(session, hypotheses[session], update.progress.get(session, 0.0))
            if session in update.closed:
                if not recording.channels[session].complete:
                    raise EngineError(_LOST)
                recording.end(session)
                del self._sessions[session]
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for reading in touched.values():
            self._feed(reading)
            yield self._report(reading, at)

    def _fed(self, update: _Fed) -> None:
        reading = update.reading
        reading.busy = False
        if isinstance(update.error, EngineError):
            raise EngineError(_LOST) from update.error
        if update.error is not None and not isinstance(update.error, AudioFileError):
            raise update.error
        if update.seconds is not None:
            reading.given_s += update.seconds
            self._feed(reading)
            return
        reading.read_up = True
        reading.error = update.error
        for session in reading.recording.channels:
            self._engine.close(session)

    def _report(self, reading: _Reading, at: str) -> FileUpdate:
        recording = reading.recording
        consumed_s = recording.consumed_s - reading.consumed_s
        reading.consumed_s = recording.consumed_s
        records = recording.take(at)
        if not recording.ended:
            return FileUpdate(reading.number, records, consumed_s)
        reading.file.close()
        del self._readings[reading.number]
        faults = tuple(reading.file.faults)
        return FileUpdate(reading.number, records, consumed_s, True, reading.error, faults, reading.given_s)

    def _abandon(self) -> None:
        """Nobody waits for what is still under way."""
        for session in self._sessions:
            self._engine.drop(session)
        for reading in self._readings.values():
            reading.file.close()
        if self._next is not None:
            self._next[1].close()
        self._sessions.clear()
        self._readings.clear()
        self._next = None
