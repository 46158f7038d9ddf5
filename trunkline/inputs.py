"""What the user names for `trunkline transcribe`: files, folders, standard input, pipes and descriptors.

What comes through a pipe is first copied to a temporary file, which has no name: its header can then be compared with
its size as any file's, and memory stays bounded.
"""

import errno
import os
import re
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NoReturn, cast

import soundfile

from pipeline.audio_file import AudioFile
from pipeline.containers import ByteSource, format_of, is_apple_double
from pipeline.errors import AudioFileError, AudioFileNotFound, AudioFileUnreadable
from pipeline.file_name import STANDARD_INPUT, full_name, shown
from pipeline.raw_format import SUFFIXES as RAW_SUFFIXES
from pipeline.raw_format import RawFormat

_OF_LIBSNDFILE = {
    "AIFF": (".aif", ".aiff", ".aifc"),
    "AU": (".au", ".snd"),
    "AVR": (".avr",),
    "CAF": (".caf",),
    "FLAC": (".flac",),
    "HTK": (".htk",),
    "IRCAM": (".sf", ".ircam"),
    "MAT4": (".mat",),
    "MAT5": (".mat",),
    "MP3": (".mp3", ".mp2", ".mp1", ".mpga"),
    "MPC2K": (".mpc",),
    "NIST": (".nist", ".sph"),
    "OGG": (".ogg", ".oga", ".opus"),
    "PAF": (".paf", ".fap"),
    "PVF": (".pvf",),
    "RF64": (".rf64", ".bw64"),
    "SDS": (".sds",),
    "SVX": (".iff", ".svx", ".8svx", ".16sv"),
    "VOC": (".voc",),
    "W64": (".w64",),
    "WAV": (".wav", ".wave", ".bwf"),
    "WAVEX": (".wav", ".wavex"),
    "WVE": (".wve",),
    "XI": (".xi",),
}
_AUDIO_OF_FFMPEG = ".aac .ac3 .amr .ape .awb .m4a .m4b .mka .qcp .ra .spx .tta .weba .wma .wv"
_VIDEO_OF_FFMPEG = ".3g2 .3gp .asf .avi .flv .m4v .mkv .mov .mp4 .ogv .ogx .rm .webm .wmv"
SUFFIXES = frozenset(
    suffix
    for suffixes in (
        *((f".{name.lower()}", *_OF_LIBSNDFILE.get(name, ())) for name in soundfile.available_formats()),
        _AUDIO_OF_FFMPEG.split(),
        _VIDEO_OF_FFMPEG.split(),
        RAW_SUFFIXES,
    )
    for suffix in suffixes
)
"""File names that are taken from a folder whatever they hold; other files are taken where their first bytes are those
of an audio format. A file that is named is tried whatever it is called."""

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_PATIENCE_S = 5.0
_PIECE = 1 << 20


def _raise(error: AudioFileError) -> NoReturn:
    raise error


def audio_files(arguments: Iterable[Path], on_error: Callable[[AudioFileError], None] = _raise) -> list[Path]:
    """The files themselves, and for a folder the audio files in and below it, by name; each only once.

    What cannot be listed goes to `on_error`: a folder without any audio (`AudioFileNotFound`), what the system refuses.
    """
    return Folders(on_error).files(arguments)


class Folders:
    """Looks for audio in folders, through links as well, each folder once. `left_out`: files that are no audio."""

    def __init__(self, on_error: Callable[[AudioFileError], None]) -> None:
        self.left_out = 0
        self._on_error = on_error
        self._errors = 0
        self._seen: set[tuple[int, int]] = set()

    def files(self, arguments: Iterable[Path]) -> list[Path]:
        """As `audio_files`."""
        found: dict[str, Path] = {}
        for path in arguments:
            for one in self._inside(path) if os.path.isdir(path) else [path]:  # noqa: PTH112 - never raises
                found.setdefault(full_name(one), one)
        return list(found.values())

    def _inside(self, folder: Path) -> list[Path]:
        errors, found = self._errors, list[Path]()
        self._seen.clear()
        waiting = [folder]
        while waiting:
            waiting += self._look_into(waiting.pop(), found)
        if not found and errors == self._errors:
            self._report(
                AudioFileNotFound(f"{shown(folder)} is a folder without audio files ({', '.join(sorted(SUFFIXES))})")
            )
        return sorted(found)

    def _look_into(self, folder: Path, found: list[Path]) -> list[Path]:
        """Adds its audio files to `found`; returns its folders."""
        try:
            status = folder.stat()
            self._seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries]
        except OSError as error:
            why = error.strerror or "unknown error"
            self._report(AudioFileUnreadable(f"{shown(folder)} cannot be listed ({why}): nothing in it was read"))
            return []
        folders = []
        for path in (folder / name for name in sorted(names)):
            try:
                status = path.stat()
            except OSError as error:
                what = "is a link that leads nowhere" if path.is_symlink() else "cannot be read"
                self._report(AudioFileUnreadable(f"{shown(path)} {what} ({error.strerror})"))
                continue
            if stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) not in self._seen:
                    self._seen.add((status.st_dev, status.st_ino))
                    folders.append(path)
            elif self._is_audio(path, status.st_mode):
                found.append(path)
            else:
                self.left_out += 1
        return folders

    def _is_audio(self, path: Path, mode: int) -> bool:
        suffix = path.suffix.lower()
        if not stat.S_ISREG(mode):
            if suffix in SUFFIXES:
                self._report(
                    AudioFileUnreadable(f"{shown(path)} is not a regular file: to have it read, name it by itself")
                )
            return False
        try:
            source = ByteSource(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return suffix in SUFFIXES  # opened again, and then its fault is reported
        try:
            if is_apple_double(source.at(0, 4)):
                return False
            return suffix in SUFFIXES or format_of(source, "") is not None
        except OSError:
            return True
        finally:
            source.close()

    def _report(self, error: AudioFileError) -> None:
        self._errors += 1
        self._on_error(error)


class Inputs:
    """Opens what the user named, as often as it is asked for. `raw`: how to read what has no header; `say`: takes a
    line for the user while a pipe is silent. A context manager."""

    def __init__(self, raw: RawFormat | None = None, say: Callable[[str], None] = lambda _: None) -> None:
        self._raw = raw
        self._say = say
        self._copies: dict[Path, BinaryIO] = {}

    def open(self, path: Path) -> AudioFile:
        """Raises `AudioFileError`."""
        if (copy := self._copies.get(path)) is not None:
            return AudioFile(path, raw=self._raw, fd=os.dup(copy.fileno()))
        try:
            fd = _descriptor(path)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise AudioFileUnreadable(f"{_name(path)} cannot be opened ({why})") from error
        if fd is None:
            return AudioFile(path, raw=self._raw)
        return self._opened(path, fd)

    def __enter__(self) -> "Inputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for copy in self._copies.values():
            copy.close()
        self._copies.clear()

    def _opened(self, path: Path, fd: int) -> AudioFile:
        """`fd` is taken over."""
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0:
            return AudioFile(path, raw=self._raw, fd=fd)
        try:
            if stat.S_ISDIR(mode):
                raise AudioFileNotFound(f"{_name(path)} is a folder, not an audio file")
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                what = "a terminal: send audio into it, or name a file" if os.isatty(fd) else "a device, not audio"
                raise AudioFileUnreadable(f"{_name(path)} is {what}")
            copy = self._copies[path] = self._copied(path, fd)
        finally:
            os.close(fd)
        return AudioFile(path, raw=self._raw, fd=os.dup(copy.fileno()))

    def _copied(self, path: Path, fd: int) -> BinaryIO:
        """All that comes through the pipe."""
        timer = threading.Timer(_PATIENCE_S, self._say, [f"waiting for {_name(path)}: nothing has come yet"])
        timer.daemon = True
        timer.start()
        copy: BinaryIO | None = None
        try:
            copy = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed by `__exit__`
            os.set_blocking(fd, True)
            while piece := os.read(fd, _PIECE):
                timer.cancel()
                view = memoryview(piece)
                while view:
                    view = view[copy.write(view) :]
        except BaseException as error:
            if copy is not None:
                copy.close()
            if not isinstance(error, OSError):
                raise
            why = error.strerror or error
            raise AudioFileUnreadable(
                f"{_name(path)} cannot be copied to the temporary folder ({why}): make room there, or set TMPDIR"
            ) from error
        finally:
            timer.cancel()
        return copy


def _name(path: Path) -> str:
    return "- (standard input)" if path == STANDARD_INPUT else shown(path)


def _descriptor(path: Path) -> int | None:
    """A descriptor of a pipe, of standard input and of `/dev/fd/N`; None for every other path. Waits for a writer of a
    named pipe."""
    if path == STANDARD_INPUT:
        if sys.stdin is None:  # then descriptor 0 is something else by now
            raise OSError(errno.EBADF, "it is closed")
        return os.dup(0)
    if (found := _DESCRIPTOR.fullmatch(str(path))) is not None:
        return os.dup(int(found[1]))
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if stat.S_ISFIFO(mode) else None
