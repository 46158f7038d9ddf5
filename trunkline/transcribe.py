"""`trunkline transcribe`: files to text or JSON lines on standard output, progress on standard error."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from engine import Engine, SessionOptions
from pipeline.audio_file import AudioFile
from pipeline.offline import transcribe_file
from sinks.record import TranscriptRecord, encode

_LONG_S = 20.0
"""Files longer than this get a progress bar."""


def durations(files: Sequence[Path]) -> dict[Path, float]:
    """Seconds of each file. Raises `AudioFileError` where one cannot be opened."""
    found = {}
    for path in files:
        with AudioFile(path) as file:
            found[path] = file.duration_s
    return found


def transcribe(engine: Engine, files: Mapping[Path, float], chunk_ms: int, language: str, *, as_json: bool) -> int:
    """Transcribe one file after the other; `files` as from `durations`. Raises `AudioFileError`, `UnknownLocale`."""
    options = SessionOptions(chunk_ms, language)
    console = Console(stderr=True)
    for path, duration_s in files.items():
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True, disable=duration_s < _LONG_S) as progress:
            show = partial(_show, progress, progress.add_task(path.name, total=duration_s))
            for record in transcribe_file(engine, path, options, show):
                _print(record, path, named=len(files) > 1, as_json=as_json)
    return 0


def _show(progress: Progress, task: TaskID, heard_s: float) -> None:
    progress.update(task, completed=heard_s)


def _print(record: TranscriptRecord, path: Path, *, named: bool, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(encode(record) + b"\n")
        sys.stdout.buffer.flush()
    elif record.transcript:
        minutes, seconds = divmod(record.start, 60)
        prefix = f"{path.name}  " if named else ""
        print(
            f"{prefix}{int(minutes)}:{seconds:04.1f}  {record.leg}  {record.language or '-'}  {record.transcript}",
            flush=True,
        )
