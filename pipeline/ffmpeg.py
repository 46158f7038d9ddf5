"""Formats that only FFmpeg reads (MP4, WebM, AMR, WMA ...): by PyAV where it is installed, else by `ffmpeg`.

FFmpeg is told the format that the file's first bytes say and never looks for one by itself: among its formats are play
lists, which would have it open other files and addresses.
"""

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.containers import ByteSource, Part, Window
from pipeline.decoders import DecodingFailed

_DECODER_WORDS = 200  # of an error message that are passed on
_LONGEST_GAP_S = 6 * 3600.0


def has_pyav() -> bool:
    return find_spec("av") is not None


def ffmpeg_program() -> str | None:
    return shutil.which("ffmpeg")


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


class FfmpegDecoder:
    """The `ffmpeg` program, writing float samples into a pipe.

    Raises `DecodingFailed` where it finds no audio.
    """

    def __init__(self, source: ByteSource, part: Part, demuxer: str, program: str) -> None:
        self.faults: list[str] = []
        self.frames: int | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        address = f"subfile,,start,{part.start},end,{part.end},,:/dev/fd/{source.fileno()}"
        inputs = "-protocol_whitelist", "subfile,file,fd,pipe", "-f", demuxer, "-i", address
        outputs = "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"
        self._process = subprocess.Popen(  # noqa: S603 - no shell, and the file's name is not among the arguments
            [program, "-nostdin", "-hide_banner", "-v", "error", *inputs, *outputs],
            stdout=subprocess.PIPE,
            stderr=self._said,
            stdin=subprocess.DEVNULL,
            pass_fds=(source.fileno(),),
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout
        if not self._read_header():
            words = self._words() or "it has no audio track"
            self.close()
            raise DecodingFailed(words)

    def read(self, frames: int) -> NDArray[np.float32]:
        width = 4 * self.channels
        data = self._out.read(frames * width)
        data = data[: len(data) // width * width]
        if not data:
            self._process.wait()
            if words := self._words():
                self.faults.append(f"is damaged, says ffmpeg ({words}): something of it was skipped")
            elif self._process.returncode:
                self.faults.append(f"is damaged: ffmpeg ended with status {self._process.returncode}")
        return np.frombuffer(data, "<f4").reshape(-1, self.channels).astype(np.float32)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._out.close()
        self._said.close()

    def _read_header(self) -> bool:
        """Up to the samples; takes rate and channels. Sizes are placeholders, as it is a pipe."""
        if self._out.read(12)[8:] != b"WAVE":
            self._process.wait()
            return False
        while len(head := self._out.read(8)) == 8:
            size = struct.unpack("<I", head[4:])[0]
            if head[:4] == b"data":
                return True
            body = self._out.read(size + size % 2)
            if head[:4] == b"fmt ":
                self.channels, self.sample_rate_hz = struct.unpack("<HI", body[2:8])
        return False

    def _words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return " ".join(lines[-1].split())[:_DECODER_WORDS] if lines else ""


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:_DECODER_WORDS].rstrip(".")


def how_to_convert(name: str) -> str:
    """What the user can do about a file of this format where neither PyAV nor `ffmpeg` is there."""
    return f"{name} needs PyAV or ffmpeg: pip install av, or convert it: ffmpeg -i FILE -c:a pcm_s16le FILE.wav"
