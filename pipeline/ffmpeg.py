"""Formats that only FFmpeg reads (MP4, WebM, AMR, WMA ...), by PyAV, where it is installed.

FFmpeg is given the format that the file's first bytes say and never looks for one by itself: among its formats are play
lists, which would have it open other files and addresses.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.containers import Window
from pipeline.decoders import DecodingFailed

_DECODER_WORDS = 200  # of an error message that are passed on
_LONGEST_GAP_S = 6 * 3600.0


def has_pyav() -> bool:
    return find_spec("av") is not None


class PyAvDecoder:
    """The first audio track; gaps in its time stamps (a recording that paused) become silence.

    Raises `DecodingFailed` where there is none.
    """

    def __init__(self, window: Window, demuxer: str) -> None:
        import av  # noqa: PLC0415 - an optional dependency

        self.faults: list[str] = []
        self._errors = av.FFmpegError
        self._window = window
        try:
            # Titles that are no UTF-8 decide over nothing; from release 19 on they are not even looked at.
            options: dict[str, Any] = (
                {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
            )
            self._container: Any = av.open(window, format=demuxer, **options)
        except (av.FFmpegError, ValueError, UnicodeDecodeError) as error:
            raise DecodingFailed(_words(window.error or error)) from error
        tracks = self._container.streams.audio
        # Without a decoder for it, a track has neither attribute.
        if not tracks or not getattr(tracks[0], "rate", 0) or not getattr(tracks[0], "channels", 0):
            self._container.close()
            raise DecodingFailed("it has no audio track" if not tracks else "its audio track cannot be decoded")
        if len(tracks) > 1:
            self.faults.append(f"has {len(tracks)} audio tracks and only the first was heard: take the others out")
        self._track = tracks[0]
        self.sample_rate_hz = int(self._track.rate)
        self.channels = int(self._track.channels)
        self._layout = self._track.layout.name
        self._resampler = av.AudioResampler(format="flt", layout=self._layout, rate=self.sample_rate_hz)
        self.frames = self._declared()
        self._damaged = 0
        self._given = 0
        self._first_s: float | None = None
        self._kept: list[NDArray[np.float32]] = []
        self._pieces = self._decoded()

    def read(self, frames: int) -> NDArray[np.float32]:
        size = sum(map(len, self._kept))
        while size < frames:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._kept.append(piece)
            size += len(piece)
        if self._window.error is not None:
            raise DecodingFailed(_words(self._window.error))
        if not size:
            return np.zeros((0, self.channels), np.float32)
        block = np.concatenate(self._kept)
        self._kept = [block[frames:]]
        return block[:frames]

    def close(self) -> None:
        self._container.close()

    def _declared(self) -> int | None:
        track = self._track
        if track.duration is not None and track.time_base is not None:
            return int(track.duration * track.time_base * self.sample_rate_hz)
        duration = self._container.duration  # microseconds
        return int(duration / 1e6 * self.sample_rate_hz) if duration and duration > 0 else None

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        """float32 (T, channels) by frame."""
        for packet in self._packets():
            try:
                found = packet.decode()
            except self._errors:
                self._damaged += 1
                continue
            for frame in found:
                yield from self._pause_before(frame)
                for even in self._resampler.resample(frame):
                    yield self._taken(even)
        for even in self._resampler.resample(None):
            yield self._taken(even)
        if self._damaged:
            self.faults.append(f"is damaged: {self._damaged} packets could not be decoded and were skipped")

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._track)
        while True:
            try:
                packet = next(packets, None)
            except self._errors as error:
                self.faults.append(f"is damaged ({_words(error)}): the rest was not heard")
                return
            if packet is None:
                return
            yield packet

    def _taken(self, frame: Any) -> NDArray[np.float32]:
        piece: NDArray[np.float32] = frame.to_ndarray().reshape(-1, self.channels)
        self._given += len(piece)
        return piece

    def _pause_before(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        if frame.time is None:
            return
        if self._first_s is None:
            self._first_s = float(frame.time)
        gap_s = float(frame.time) - self._first_s - self._given / self.sample_rate_hz
        if not 0.2 < gap_s < _LONGEST_GAP_S:  # shorter ones are rounding and the decoder's delay
            return
        missing = int(gap_s * self.sample_rate_hz)
        while missing > 0:
            piece = np.zeros((min(missing, self.sample_rate_hz), self.channels), np.float32)
            missing -= len(piece)
            self._given += len(piece)
            yield piece


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:_DECODER_WORDS].rstrip(".")


def how_to_convert(name: str) -> str:
    """What the user can do about a file of this format where PyAV is not there."""
    return f"{name} needs PyAV: pip install 'trunkline[files]', or convert it: ffmpeg -i FILE -c:a pcm_s16le FILE.wav"
