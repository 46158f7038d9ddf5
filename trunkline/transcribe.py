"""`trunkline transcribe`: files to text or JSON lines on standard output; progress, errors and speed on standard error.

Many channels are under way at the same time (`pipeline.offline`); what is printed has the order of the files.
"""

import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from engine import Engine, SessionOptions
from pipeline.audio_file import AudioFile
from pipeline.containers import seconds as duration
from pipeline.errors import AudioFileError
from pipeline.file_name import shown
from pipeline.offline import FileUpdate, OfflineTranscription, too_many_channels
from pipeline.segments import Segmenter
from sinks.record import TranscriptRecord, encode
from trunkline.errors import OutputFailed
from trunkline.inputs import audio_files
from trunkline.ordered_output import OrderedOutput

__all__ = ["audio_files", "check_output", "durations", "say", "transcribe"]

_REFRESH_S = 0.2


def durations(
    files: Sequence[Path],
    open_file: Callable[[Path], AudioFile] = AudioFile,
    *,
    at_once: int | None = None,
) -> tuple[dict[Path, float], list[AudioFileError]]:
    """Seconds of audio, all channels together, of each file that can be opened, and the errors of the others, among
    them those with more than `at_once` channels."""
    found, errors = dict[Path, float](), list[AudioFileError]()
    for path in files:
        try:
            with open_file(path) as file:
                if at_once is not None and (error := too_many_channels(file, at_once)) is not None:
                    errors.append(error)
                    continue
                found[path] = file.duration_s * file.channels
        except AudioFileError as error:
            errors.append(error)
    return found, errors


def say(message: str) -> None:
    """A line to standard error, where there is one that takes it."""
    _print_to_stderr(f"trunkline: {message}")


def transcribe(
    engine: Engine,
    files: Mapping[Path, float],
    options: SessionOptions,
    segmenter: Callable[[str], Segmenter],
    *,
    at_once: int,
    as_json: bool,
    open_file: Callable[[Path], AudioFile] = AudioFile,
    left_out: int = 0,
) -> int:
    """Transcribe `files` (as from `durations`), `at_once` channels at a time; the engine is not started yet.
    `left_out`: files of folders that are no audio, for the last line.

    Returns how many were not read to their end, or in part by guessing; that was printed. Raises `EngineError`, and
    `OutputFailed` and `BrokenPipeError` where standard output takes nothing more.
    """
    paths = list(files)
    began, tally = time.monotonic(), _Tally(len(paths))
    transcription = OfflineTranscription(engine, options, at_once=at_once, segmenter=segmenter, open_file=open_file)
    with (
        _Bar(sum(files.values()), len(files)) as bar,
        OrderedOutput(bar.print) as output,
        engine,
        closing(transcription.run(paths)) as found,
        _given_up_cleanly(output, bar, tally),
    ):
        for update in found:
            for record in update.records:
                output.write(update.file, _line(record, paths[update.file], named=len(paths) > 1, as_json=as_json))
            for message in tally.add(update, paths[update.file]):
                bar.complain(message)
            if update.ended:
                output.complete(update.file)
            bar.show(tally.consumed_s, tally.ended)
    seconds = time.monotonic() - began
    others = f"; {left_out} other files in the folders are no audio" if left_out else ""
    _print_to_stderr(
        f"{tally.consumed_s / 3600:.2f} hours of audio (all channels of {tally.ended - tally.failed} files) in "
        f"{seconds / 60:.1f} minutes{others}: {tally.consumed_s / 60 / max(seconds, 1e-9):.2f} hours a minute"
    )
    return tally.failed + tally.doubtful


class _Tally:
    """What became of the files. `failed`: ended by an error. `doubtful`: something of it was skipped or guessed."""

    def __init__(self, files: int) -> None:
        self.files = files
        self.consumed_s = 0.0
        self.ended = 0
        self.failed = 0
        self.doubtful = 0
        self._spoken: set[int] = set()

    def add(self, update: FileUpdate, path: Path) -> Iterator[str]:
        """Count; yields what is to be said to the user."""
        self.consumed_s += update.consumed_s
        if any(record.transcript for record in update.records):
            self._spoken.add(update.file)
        yield from update.faults
        if update.error is not None:
            self.failed += 1
            yield str(update.error)
        elif update.faults:
            self.doubtful += 1
        if not update.ended:
            return
        self.ended += 1
        if update.error is None and update.file not in self._spoken:
            name = shown(path)
            if not update.length_s:
                yield f"{name} holds no audio: its length is 0"
            else:
                yield f"{name}: no speech was recognised in {duration(update.length_s)} of audio"


@contextmanager
def _given_up_cleanly(output: OrderedOutput, bar: "_Bar", tally: _Tally) -> Iterator[None]:
    """Ctrl-C: print the files that are complete, and say so."""
    try:
        yield
    except KeyboardInterrupt:
        output.give_up()
        bar.complain(f"interrupted: {tally.ended} of {tally.files} files are complete")
        raise


def _line(record: TranscriptRecord, path: Path, *, named: bool, as_json: bool) -> bytes:
    if as_json:
        return encode(record) + b"\n"
    if not record.transcript:
        return b""
    minutes, seconds = divmod(record.start, 60)
    prefix = f"{shown(path)}  " if named else ""
    text = f"{prefix}{int(minutes)}:{seconds:04.1f}  {record.leg}  {record.language or '-'}  {record.transcript}\n"
    return text.encode()


def check_output() -> None:
    """Raises `OutputFailed` where there is no standard output at all."""
    if sys.stdout is None:
        raise OutputFailed("standard output is closed: there is nowhere to write the text to")


def _print_to_stdout(data: bytes) -> None:
    """All of it, past Python's buffer, which would try again at the end of the program."""
    out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    view = memoryview(data)
    try:
        while view:
            written = out.write(view)
            if written is None:  # not blocking, and its reader is slow
                select.select([], [out], [])
                continue
            view = view[written:]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(
            f"standard output cannot be written ({error.strerror or error}): the text is not complete, make room and "
            "do it again"
        ) from error


def _print_to_stderr(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


class _Bar:
    """Progress on standard error, where that is a terminal; it makes way for what is printed. A context manager."""

    def __init__(self, total_s: float, files: int) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        self._progress = Progress(
            *columns,
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._files = files
        self._task = self._progress.add_task("", total=total_s)
        self._shares_terminal = console.is_terminal and sys.stdout.isatty()
        self._next = 0.0

    def __enter__(self) -> "_Bar":
        self.show(0.0, 0)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, consumed_s: float, ended: int) -> None:
        if not self._progress.disable and (now := time.monotonic()) >= self._next:
            self._next = now + _REFRESH_S
            self._progress.update(self._task, completed=consumed_s, description=f"{ended} of {self._files} files")
            self._progress.refresh()

    def print(self, line: bytes) -> None:
        """Whole lines to standard output."""
        if not line:
            return
        if self._shares_terminal:
            self._progress.stop()
        _print_to_stdout(line)
        if self._shares_terminal:
            self._progress.start()

    def complain(self, message: str) -> None:
        """A line to standard error."""
        self._progress.stop()
        say(message)
        self._progress.start()
