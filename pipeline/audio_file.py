"""Audio files of any format that libsndfile or FFmpeg reads, any rate, as 16 kHz legs: one leg a channel, in bounded
blocks.

Chain: descriptor -> `pipeline.containers` (format, parts, headers against sizes) -> decoder of each part -> resampler.
Whatever could not be heard, or was heard on a guess, is a fault of the file.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from pipeline.containers import (
    ByteSource,
    Format,
    Part,
    Window,
    cut_short,
    format_of,
    is_surveyed,
    not_audio,
    seconds,
    survey,
)
from pipeline.containers.lengths import declared_frames
from pipeline.decoders import DecodingFailed, FileDecoder, G722FileDecoder, SoundFileDecoder
from pipeline.errors import AudioFileError, AudioFileNotFound, AudioFileUnreadable, NotAudio
from pipeline.ffmpeg import PyAvDecoder, has_pyav, how_to_convert
from pipeline.file_name import STANDARD_INPUT, full_name, shown
from pipeline.raw_format import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, RawFormat, raw_hint
from pipeline.resample import OUTPUT_RATE_HZ, StreamResampler
from pipeline.sample_range import SampleRange

_TOLERANCE_S = 0.5
"""Headers of compressed formats are wrong by a codec's delay and padding without anything missing."""


class AudioFile:
    """An open file; a context manager. Memory does not grow with the file's length.

    `path`: a regular file, or what stands for one, where `fd` is its open descriptor (taken over). `raw`: how to
    read it where it has no header. `faults` is complete after the last block: sentences that name the file.
    `call_id`: of its records. Raises `AudioFileNotFound`, `AudioFileUnreadable` and `NotAudio`, all naming the path.
    """

    def __init__(self, path: str | Path, *, raw: RawFormat | None = None, fd: int | None = None) -> None:
        self.path = Path(path)
        self.name = "- (standard input)" if self.path == STANDARD_INPUT else shown(self.path)
        self.faults: list[str] = []
        self._is_stream = fd is not None
        self._raw = raw
        self._source = ByteSource(_open(self.path, self.name) if fd is None else fd)
        self._decoder: FileDecoder | None = None
        self._range = SampleRange()
        try:
            self._begin()
        except OSError as error:
            self.close()
            raise AudioFileUnreadable(f"{self.name} cannot be read ({_one_line(error)})") from error
        except AudioFileError:
            self.close()
            raise
        except Exception as error:  # whatever it is, it is this file's fault and nobody else's
            self.close()
            raise NotAudio(f"{self.name} cannot be read as audio ({_one_line(error)})") from error

    @cached_property
    def digest(self) -> str:
        """Of the bytes of the file, 32 hex digits. Reads all of it; raises `AudioFileUnreadable`."""
        digest, step = hashlib.blake2b(digest_size=16), 1 << 20
        try:
            for offset in range(0, self._source.size, step):
                digest.update(self._source.at(offset, step))
        except OSError as error:
            raise AudioFileUnreadable(f"{self.name} cannot be read ({_one_line(error)})") from error
        return digest.hexdigest()

    @property
    def call_id(self) -> str:
        """The absolute path; for what came through a pipe, whose name says nothing, made from its content."""
        return f"pipe-{self.digest}" if self._is_stream else full_name(self.path)

    def blocks(self, block_s: float = 0.5) -> Iterator[NDArray[np.float32]]:
        """The rest of the file as float32 (channels, T), 16 kHz, [-1, 1]; `T` varies from block to block and sums up
        to the file's duration. Raises `NotAudio` where the file turns out to be damaged, after what could be heard."""
        damage: NotAudio | None = None
        given_s = 0.0
        for number in range(len(self._parts)):
            try:
                decoder = self._decoder_of(number)
                for block in self._decoded(decoder, number, block_s):
                    given_s += block.shape[1] / OUTPUT_RATE_HZ
                    yield block
            except DecodingFailed as error:
                lost = "the rest was not heard" if number + 1 == len(self._parts) else "a part was not heard"
                damage = damage or NotAudio(f"{self.name} is damaged ({error}) after {seconds(given_s)}: {lost}")
            except OSError as error:
                damage = damage or NotAudio(f"{self.name} cannot be read any further ({error.strerror})")
                break
            except Exception as error:  # noqa: BLE001 - of soxr, NumPy and the decoders' bindings: this file's fault
                damage = damage or NotAudio(f"{self.name} cannot be decoded any further ({_one_line(error)})")
            finally:
                self._close_decoder()
        self.faults += [f"{self.name} {fault}" for fault in self._range.faults()]
        self._compare_with_now()
        if damage is not None:
            raise damage

    def close(self) -> None:
        """Release the file."""
        self._close_decoder()
        self._source.close()

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """Find out what it is, and check what its headers say."""
        if not self._source.size:
            raise NotAudio(f"{self.name} cannot be read as audio (it is empty, 0 bytes)")
        self._format = format_of(self._source, self.path.suffix.lower())
        if self._format is None and self._raw is None:
            self._raw = self._gsm_by_its_frames()
        if self._format is None:
            self._refuse_what_is_no_audio()
        self._parts = self._survey()
        lengths = []
        self.channels = 0
        for number in range(len(self._parts)):
            try:
                decoder = self._decoder_of(number)
            except DecodingFailed as error:
                if not number:
                    why = "; ".join((str(error), *(f"it {fault}" for fault in self._parts[0].faults)))
                    raise NotAudio(f"{self.name} cannot be read as audio ({why})") from error
                continue
            if not number:
                self.sample_rate_hz = decoder.sample_rate_hz
            self.channels = max(self.channels, decoder.channels)
            lengths.append((decoder.frames or 0) / decoder.sample_rate_hz)
            if number or len(self._parts) > 1:
                self._close_decoder()
        self.duration_s = sum(lengths)
        """Length of the file in seconds, as its headers say; 0 where they do not."""
        self.faults += [f"{self.name} {fault}" for part in self._parts for fault in part.faults]

    def _survey(self) -> tuple[Part, ...]:
        if self._format is not None:
            return survey(self._source, self._format)
        assert self._raw is not None
        rest = self._source.size % self._raw.block_bytes
        faults = (f"ends in the middle of a sample: {rest} bytes too many for --format",) if rest else ()
        return (Part(0, self._source.size - rest, {}, faults),)

    def _decoder_of(self, number: int) -> FileDecoder:
        """The open one of this part; raises `DecodingFailed`, also for a header that cannot be true."""
        if self._decoder is None:
            self._decoder = self._open_decoder(self._parts[number])
            self._number = number
            rate_hz = self._decoder.sample_rate_hz
            if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
                self._close_decoder()
                raise DecodingFailed(
                    f"its header says {rate_hz:,} Hz, which is no sampling rate of speech: correct the header, or cut "
                    f"it off and say --format {raw_hint('')}"
                )
        return self._decoder

    def _open_decoder(self, part: Part) -> FileDecoder:
        window = Window(self._source, part.start, part.length, part.patches, part.prefix)
        found = self._format
        if found is None:
            assert self._raw is not None
            return G722FileDecoder(window) if self._raw.subtype == "G722" else SoundFileDecoder(window, self._raw)
        refused = None
        if found.by_libsndfile:
            try:
                return SoundFileDecoder(window, believe_log=not is_surveyed(found))
            except DecodingFailed as error:
                refused = error
        return self._by_ffmpeg(found, part, refused)

    def _by_ffmpeg(self, found: Format, part: Part, refused: DecodingFailed | None) -> FileDecoder:
        """What libsndfile does not read (`refused`: what it said)."""
        window = Window(self._source, part.start, part.length, part.patches)
        try:
            if found.demuxer is not None and has_pyav():
                return PyAvDecoder(window, found.demuxer)
        except DecodingFailed as error:
            raise (refused or error) from error
        raise refused or DecodingFailed(how_to_convert(found.name))

    def _decoded(self, decoder: FileDecoder, number: int, block_s: float) -> Iterator[NDArray[np.float32]]:
        """One part, with as many channels as the file has."""
        rate_hz, channels = decoder.sample_rate_hz, decoder.channels
        frames = max(int(block_s * rate_hz), 1)
        resampler = StreamResampler(rate_hz, channels) if rate_hz != OUTPUT_RATE_HZ else None
        delivered = 0
        while len(block := decoder.read(frames)):
            delivered += len(block)
            block = self._range.mended(block)
            if resampler is not None:
                block = resampler.process(block if channels > 1 else block[:, 0]).reshape(-1, channels)
            if len(block):
                yield self._by_channel(block)
        if resampler is not None:
            block = resampler.flush().reshape(-1, channels)
            if len(block):
                yield self._by_channel(block)
        self._compare(decoder, self._parts[number], delivered)

    def _compare(self, decoder: FileDecoder, part: Part, delivered: int) -> None:
        """What was delivered with what was declared, unless the headers have told already."""
        declared = decoder.frames
        if self._format is not None and (by_header := declared_frames(self._source, self._format.name)) is not None:
            declared = by_header
        self.faults += [f"{self.name} {fault}" for fault in decoder.faults if not part.faults]
        if declared is None or part.faults or decoder.faults:
            return
        rate_hz = decoder.sample_rate_hz
        if declared - delivered > _TOLERANCE_S * rate_hz:
            self.faults.append(f"{self.name} {cut_short(delivered, declared, rate_hz, 'samples')}")

    def _compare_with_now(self) -> None:
        """The file with what it was when it was opened."""
        if not self._source.has_changed:
            return
        grew = self._source.grew_by
        how = f"grew by {grew:,} bytes" if grew > 0 else f"lost {-grew:,} bytes" if grew < 0 else "was written to"
        self.faults.append(
            f"{self.name} {how} while it was read: what was there at first was transcribed; do it again when it is "
            "complete"
        )

    def _by_channel(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, channels) of any range -> contiguous (channels, T) in [-1, 1]: float files and filters may overshoot. A
        part with fewer channels than the file leaves the others silent."""
        block = np.clip(block, -1.0, 1.0)
        if block.shape[1] < self.channels:
            block = np.pad(block, ((0, 0), (0, self.channels - block.shape[1])))
        return np.ascontiguousarray(block.T)

    def _close_decoder(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _gsm_by_its_frames(self) -> RawFormat | None:
        """GSM 06.10 as Asterisk writes it has no header, but each of its frames of 33 bytes begins with 1101."""
        if self.path.suffix.lower() != ".gsm" or self._source.size < 33:
            return None
        firsts = [self._source.at(offset, 1)[0] for offset in range(0, min(self._source.size, 33 * 1000) - 32, 33)]
        return RawFormat("GSM610", "FILE", 8000, 1) if all(first >> 4 == 0xD for first in firsts) else None

    def _refuse_what_is_no_audio(self) -> None:
        """A file of no known format, unless it may be audio without a header and `raw` says which."""
        what = not_audio(self._source)
        if what is None and self._raw is not None:
            return
        why = "nothing in it says a format" if what is None else f"it {what}"
        hint = raw_hint(self.path.suffix.lower())
        if self._raw is None:
            why += f"; if it is audio without a header, say which, e.g. --format {hint}"
        raise NotAudio(f"{self.name} cannot be read as audio ({why})")


def _open(path: Path, name: str) -> int:
    """A descriptor of a regular file; never waits (for the writer of a pipe)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        what = "is a link to what does not exist" if path.is_symlink() else "does not exist"
        raise AudioFileNotFound(f"{name} {what}") from error
    except (OSError, ValueError) as error:
        raise AudioFileUnreadable(f"{name} cannot be opened ({_one_line(error)})") from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise AudioFileNotFound(f"{name} is a folder, not an audio file")
    what = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise AudioFileUnreadable(f"{name} is {what}, not an audio file")


def _one_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return " ".join(text.split())
