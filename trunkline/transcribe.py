"""`trunkline transcribe`: files to text or JSON lines on standard output; progress, errors and speed on standard error.

Many channels are under way at the same time (`pipeline.offline`); what is printed has the order of the files.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from engine import Engine, SessionOptions
from pipeline.audio_file import AudioFile
from pipeline.errors import AudioFileError, AudioFileNotFound
from pipeline.offline import OfflineTranscription
from pipeline.segments import Segmenter
from sinks.record import TranscriptRecord, encode
from trunkline.ordered_output import OrderedOutput

SUFFIXES = frozenset(
    (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".au", ".snd", ".aif", ".aiff", ".caf", ".w64", ".rf64")
)
"""File names that are taken from a folder; a file that is named is tried whatever it is called."""

_REFRESH_S = 0.2


def audio_files(arguments: Iterable[Path]) -> list[Path]:
    """The files themselves, and for a folder the audio files in and below it, by name; each only once.

    Raises `AudioFileNotFound` for a folder without any.
    """
    found: dict[Path, None] = {}
    for path in arguments:
        inside = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in SUFFIXES and entry.is_file())
        if path.is_dir() and not inside:
            raise AudioFileNotFound(f"{path} is a folder without audio files ({', '.join(sorted(SUFFIXES))})")
        found |= dict.fromkeys(inside if path.is_dir() else [path])
    return list(found)


def durations(files: Sequence[Path]) -> tuple[dict[Path, float], list[AudioFileError]]:
    """Seconds of audio, all channels together, of each file that can be opened, and the errors of the others."""
    found, errors = {}, []
    for path in files:
        try:
            with AudioFile(path) as file:
                found[path] = file.duration_s * file.channels
        except AudioFileError as error:
            errors.append(error)
    return found, errors


def transcribe(
    engine: Engine,
    files: Mapping[Path, float],
    options: SessionOptions,
    segmenter: Callable[[str], Segmenter],
    *,
    at_once: int,
    as_json: bool,
) -> int:
    """Transcribe `files` (as from `durations`), `at_once` channels at a time; the engine is not started yet.

    Returns how many could not be read to their end; their errors were printed. Raises `EngineError`.
    """
    paths = list(files)
    began, heard_s, ended, failed = time.monotonic(), 0.0, 0, 0
    transcription = OfflineTranscription(engine, options, at_once=at_once, segmenter=segmenter)
    with (
        _Bar(sum(files.values()), len(files)) as bar,
        OrderedOutput(bar.print) as output,
        engine,
        closing(transcription.run(paths)) as found,
        _given_up_cleanly(output, bar, lambda: f"interrupted: {ended} of {len(paths)} files are complete"),
    ):
        for news in found:
            for record in news.records:
                output.write(news.file, _line(record, paths[news.file], named=len(paths) > 1, as_json=as_json))
            heard_s += news.heard_s
            if news.error is not None:
                failed += 1
                bar.complain(str(news.error))
            if news.ended:
                ended += 1
                output.complete(news.file)
            bar.show(heard_s, ended)
    seconds = time.monotonic() - began
    print(
        f"{heard_s / 3600:.2f} hours of audio (all channels of {ended - failed} files) in {seconds / 60:.1f} minutes: "
        f"{heard_s / 60 / max(seconds, 1e-9):.2f} hours a minute",
        file=sys.stderr,
    )
    return failed


@contextmanager
def _given_up_cleanly(output: OrderedOutput, bar: "_Bar", message: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C: print the files that are complete, and say so."""
    try:
        yield
    except KeyboardInterrupt:
        output.give_up()
        bar.complain(message())
        raise


def _line(record: TranscriptRecord, path: Path, *, named: bool, as_json: bool) -> bytes:
    if as_json:
        return encode(record) + b"\n"
    if not record.transcript:
        return b""
    minutes, seconds = divmod(record.start, 60)
    prefix = f"{path}  " if named else ""
    text = f"{prefix}{int(minutes)}:{seconds:04.1f}  {record.leg}  {record.language or '-'}  {record.transcript}\n"
    return text.encode()


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

    def show(self, heard_s: float, ended: int) -> None:
        if not self._progress.disable and (now := time.monotonic()) >= self._next:
            self._next = now + _REFRESH_S
            self._progress.update(self._task, completed=heard_s, description=f"{ended} of {self._files} files")
            self._progress.refresh()

    def print(self, line: bytes) -> None:
        """Whole lines to standard output."""
        if not line:
            return
        if self._shares_terminal:
            self._progress.stop()
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        if self._shares_terminal:
            self._progress.start()

    def complain(self, message: str) -> None:
        """A line to standard error."""
        self._progress.stop()
        print(f"trunkline: {message}", file=sys.stderr, flush=True)
        self._progress.start()
