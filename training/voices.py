"""Synthetic speakers: espeak-ng voices that training never heard, and others where they are installed.

All are Debian packages run as programs. espeak-ng (GPL-3) changes its speaker by "variant"; pico2wave (Apache-2.0) has
one speaker a language, which the demo model was trained on; flite and festival speak English in voices made of
recordings.
"""

import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
HELD_OUT_VARIANTS = ("f5", "m8", "Annie", "edward")

_ESPEAK_VOICES = {"en-US": "en-us", "es-US": "es-419", "de-DE": "de", "fr-FR": "fr-fr"}
_PICO_VOICES = {"en-US": "en-US", "es-US": "es-ES", "de-DE": "de-DE", "fr-FR": "fr-FR"}
_SILENCE = 1e-3
_MARGIN_BEFORE, _MARGIN_AFTER = 400, 800


class VoiceError(RuntimeError):
    """A synthesiser could not speak: it is missing, or it failed."""


class Program(StrEnum):
    """A synthesiser, by the name of its command."""

    ESPEAK = "espeak-ng"
    PICO = "pico2wave"
    FLITE = "flite"
    FESTIVAL = "text2wave"

    @property
    def package(self) -> str:
        """The Debian package that has the command."""
        packages = {Program.PICO: "libttspico-utils", Program.FESTIVAL: "festival"}
        return packages.get(self, self.value)

    @property
    def installed(self) -> bool:
        return shutil.which(self) is not None


@dataclass(frozen=True, slots=True)
class Voice:
    """One way of speaking. The same voice speaks every language of the world, but for flite's and festival's, which
    speak English.

    `variant`: espeak-ng's variant, empty for pico2wave, the voice of flite and festival. `pitch`, `rate`: espeak-ng
    0-99 and words a minute, pico2wave per cent of its own; the others have none.
    """

    program: Program
    variant: str
    pitch: int
    rate: int

    def command(self, locale: str, text: str, path: Path) -> list[str]:
        """The command line that speaks `text` into the WAV file `path`."""
        if self.program is Program.PICO:
            marked = f"<pitch level='{self.pitch}'><speed level='{self.rate}'>{text}</speed></pitch>"
            return [self.program, "-l", _PICO_VOICES[locale], "-w", str(path), marked]
        if self.program is Program.FLITE:
            return [self.program, "-voice", self.variant, "-o", str(path), "-t", text]
        if self.program is Program.FESTIVAL:
            return [self.program, "-eval", f"(voice_{self.variant})", "-o", str(path)]
        voice = f"{_ESPEAK_VOICES[locale]}+{self.variant}"
        return [self.program, "-v", voice, "-p", str(self.pitch), "-s", str(self.rate), "-w", str(path), "--", text]


def espeak(variant: str, rng: random.Random) -> Voice:
    """An espeak-ng variant with random pitch and rate."""
    return Voice(Program.ESPEAK, variant, pitch=rng.randint(20, 80), rate=rng.randint(130, 195))


def draw(program: Program, rng: random.Random) -> Voice:
    """A random voice of `program`: for espeak-ng one of `HELD_OUT_VARIANTS`."""
    if program is Program.PICO:
        return Voice(program, "", pitch=rng.randint(75, 130), rate=rng.randint(80, 125))
    return espeak(rng.choice(HELD_OUT_VARIANTS), rng)


def speak(voice: Voice, locale: str, text: str) -> NDArray[np.float32]:
    """`text` as speech: float32 (T,), 16 kHz, [-1, 1], silence at both ends cut to some 25 and 50 ms.

    Raises `VoiceError`, which names the Debian package when the synthesiser is missing.
    """
    require(voice.program)
    with tempfile.TemporaryDirectory(prefix="trunkline-voice-") as folder:
        path = Path(folder) / "speech.wav"
        command = voice.command(locale, text, path)
        # festival reads the text from its standard input
        done = subprocess.run(command, capture_output=True, text=True, check=False, input=text)
        if done.returncode or not path.exists():
            raise VoiceError(f"{voice.program} failed on {text!r}: {done.stderr.strip() or done.returncode}")
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return _trim(cast(NDArray[np.float32], soxr.resample(samples[:, 0], rate, SAMPLE_RATE_HZ)))


def require(program: Program) -> None:
    """Raise `VoiceError` with the package to install unless `program` is there."""
    if not program.installed:
        raise VoiceError(f"{program} is not installed: apt-get install {program.package}")


def _trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    if not loud.size:
        return samples
    return samples[max(0, loud[0] - _MARGIN_BEFORE) : loud[-1] + _MARGIN_AFTER]
