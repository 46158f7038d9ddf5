"""What is played and what is said in it: the bundled call, or a recording with its script."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipeline.g711 import encode_mulaw
from trunkline.demo.script import Line, load_audio, load_script
from trunkline.errors import ConfigError

RATE_HZ = 8_000
MAX_S = 3_600.0
NAMES = ("inbound", "outbound")


@dataclass(frozen=True, slots=True)
class ScriptTrack:
    """`codes`: uint8 (T,) mu-law at 8 kHz. `lines`: what is said on it, in order; empty where nobody says."""

    name: str
    codes: NDArray[np.uint8]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class CallScript:
    """One call's tracks, at most two: `inbound` (the caller) and `outbound`."""

    tracks: tuple[ScriptTrack, ...]

    @property
    def duration_s(self) -> float:
        return max(track.codes.size for track in self.tracks) / RATE_HZ

    def only(self, name: str) -> "CallScript":
        """The script with one track. Raises `ConfigError` where there is no such track."""
        tracks = tuple(track for track in self.tracks if track.name == name)
        if not tracks:
            raise ConfigError(f"the recording has no {name} track: it has {len(self.tracks)} channel")
        return replace(self, tracks=tracks)


def bundled() -> CallScript:
    """The call of `trunkline demo`."""
    return _script(load_audio(), load_script())


def from_files(wav: Path, lines: Path | None) -> CallScript:
    """A recording, its first channel inbound and its second outbound, any rate; `lines`: JSON as the bundled
    script.json. Raises `ConfigError`."""
    try:
        with soundfile.SoundFile(wav) as file:
            if file.channels > len(NAMES) or file.frames > MAX_S * file.samplerate:
                raise ConfigError(f"{wav}: one or two channels and at most {MAX_S:g} s, please")
            pcm, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except (OSError, soundfile.LibsndfileError) as error:
        raise ConfigError(f"{wav} cannot be read as audio") from error
    if rate != RATE_HZ:
        pcm = soxr.resample(pcm, rate, RATE_HZ)
    samples = cast(NDArray[np.int16], np.clip(np.round(pcm * 32768), -32768, 32767).astype(np.int16))
    return _script([encode_mulaw(channel) for channel in samples.T], [] if lines is None else _read(lines))


def _read(path: Path) -> list[Line]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Line])
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no script: {error}") from error


def _script(channels: "list[NDArray[np.uint8]] | tuple[NDArray[np.uint8], ...]", lines: list[Line]) -> CallScript:
    said = sorted(lines, key=lambda line: line.start)
    return CallScript(
        tuple(
            ScriptTrack(name, codes, tuple(line for line in said if line.leg == name))
            for name, codes in zip(NAMES, channels, strict=False)
        )
    )
