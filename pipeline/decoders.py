"""Decoders of one part of a file: libsndfile's, and G.722's, for which libsndfile has none.

Chain of a file: `pipeline.containers` -> this stage -> resampling (`pipeline.audio_file`). `pipeline.ffmpeg` has one
more.
"""

from typing import Protocol, cast

import numpy as np
import soundfile
from G722 import G722
from numpy.typing import NDArray

from pipeline.containers import Window
from pipeline.raw_format import RawFormat


class FileDecoder(Protocol):
    """`frames`: what the header declares, None where it does not say. `faults`: what was skipped on the way, as
    sentences without a subject; complete at the end."""

    sample_rate_hz: int
    channels: int
    frames: int | None
    faults: list[str]

    def read(self, frames: int) -> NDArray[np.float32]:
        """float32 (T, channels), T at most about `frames`; (0, channels) at the end. Raises `DecodingFailed`."""

    def close(self) -> None:
        """Release what it holds."""


class DecodingFailed(Exception):
    """The message says why, on one line, in the decoder's own words."""


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Read from the beginning to the end: soundfile would seek to where it is after every read, which fails at the end
    of a FLAC file whose header does not know its length."""

    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    """`believe_log`: take libsndfile's notes on lengths for faults. Raises `DecodingFailed` for what it does not
    read."""

    def __init__(self, window: Window, raw: RawFormat | None = None, *, believe_log: bool = False) -> None:
        self.faults: list[str] = []
        self._window = window
        try:
            if raw is None:
                self._file = _Forward(window)
            else:
                self._file = _Forward(window, "r", raw.sample_rate_hz, raw.channels, raw.subtype, raw.endian, "RAW")
        except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise DecodingFailed(_detail(window.error or error)) from error
        self.sample_rate_hz = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.frames: int | None = int(self._file.frames)
        if self.frames < 0 or self.frames >= 1 << 62:  # libsndfile's word for "unknown"
            self.frames = None
        if believe_log and (doubt := _doubt(str(self._file.extra_info))):
            self.faults.append(doubt)

    @property
    def format(self) -> str:
        """libsndfile's name of it, e.g. `WAV`."""
        return str(self._file.format)

    def read(self, frames: int) -> NDArray[np.float32]:
        try:
            block = cast(NDArray[np.float32], self._file.read(frames, dtype="float32", always_2d=True))
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise DecodingFailed(_detail(self._window.error or error)) from error
        if self._window.error is not None:
            raise DecodingFailed(_detail(self._window.error))
        return block

    def close(self) -> None:
        self._file.close()


class G722FileDecoder:
    """G.722 at 64 kbit/s without a header: every byte is two samples at 16 kHz."""

    sample_rate_hz = 16_000
    channels = 1

    def __init__(self, window: Window) -> None:
        self.faults: list[str] = []
        self._window = window
        self.frames: int | None = 2 * window.seek(0, 2)
        window.seek(0)
        self._codec = G722(self.sample_rate_hz, 64_000)

    def read(self, frames: int) -> NDArray[np.float32]:
        codes = self._window.read(max(frames // 2, 1))
        if self._window.error is not None:
            raise DecodingFailed(_detail(self._window.error))
        if not codes:
            return np.zeros((0, 1), np.float32)
        pcm = np.frombuffer(self._codec.decode(codes), np.int16)
        return (pcm.astype(np.float32) / 32768.0)[:, None]

    def close(self) -> None:
        """Nothing is held."""


def _doubt(log: str) -> str | None:
    """What libsndfile noted of a length that does not fit, as a fault."""
    for line in log.splitlines():
        if "trunc" in line.lower() or "should be" in line:
            return f"is cut short or damaged, by its header ({' '.join(line.strip(' *').split())})"
    return None


def _detail(error: Exception) -> str:
    """The library's own words, on one line."""
    if isinstance(error, soundfile.LibsndfileError):
        text = error.error_string
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(str(text).split()).removeprefix("Error : ").rstrip(".")
