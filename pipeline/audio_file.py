"""Audio files of any format libsndfile reads, any rate, as 16 kHz legs: one leg a channel, in bounded blocks."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from pipeline.errors import AudioFileNotFound, NotAudio
from pipeline.resample import OUTPUT_RATE_HZ, StreamResampler


class AudioFile:
    """An open file; a context manager. Memory does not grow with the file's length.

    Raises `AudioFileNotFound` and `NotAudio`, both naming the path.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            what = "is a folder, not an audio file" if self.path.is_dir() else "does not exist"
            raise AudioFileNotFound(f"{self.path} {what}")
        try:
            self._file = soundfile.SoundFile(str(self.path))
        except (soundfile.LibsndfileError, OSError) as error:
            raise NotAudio(f"{self.path} cannot be read as audio ({_detail(error)})") from error
        self.sample_rate_hz = int(self._file.samplerate)
        self.channels = int(self._file.channels)

    @property
    def duration_s(self) -> float:
        """Length of the file in seconds, as its header says."""
        return float(self._file.frames) / self.sample_rate_hz

    def blocks(self, block_s: float = 0.5) -> Iterator[NDArray[np.float32]]:
        """The rest of the file as float32 (channels, T), 16 kHz, [-1, 1]; `T` varies from block to block and sums up
        to the file's duration. Raises `NotAudio` where the file turns out to be damaged."""
        frames = max(int(block_s * self.sample_rate_hz), 1)
        resampler = None
        if self.sample_rate_hz != OUTPUT_RATE_HZ:
            resampler = StreamResampler(self.sample_rate_hz, self.channels)
        while True:
            block = self._read(frames)
            if not len(block):
                break
            if resampler is not None:
                block = resampler.process(block if self.channels > 1 else block[:, 0]).reshape(-1, self.channels)
            if len(block):
                yield _by_channel(block)
        if resampler is not None:
            block = resampler.flush().reshape(-1, self.channels)
            if len(block):
                yield _by_channel(block)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, frames: int) -> NDArray[np.float32]:
        try:
            return cast(NDArray[np.float32], self._file.read(frames, dtype="float32", always_2d=True))
        except soundfile.LibsndfileError as error:
            raise NotAudio(f"{self.path} is damaged ({_detail(error)})") from error


def _by_channel(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, channels) of any range -> contiguous (channels, T) in [-1, 1]: float files and filters may overshoot."""
    return np.ascontiguousarray(np.clip(block, -1.0, 1.0).T)


def _detail(error: Exception) -> str:
    """libsndfile's own words, on one line."""
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return " ".join(str(text).split()).removeprefix("Error : ").rstrip(".")
