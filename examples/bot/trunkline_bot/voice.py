"""The bot's voice: sentences to audio, by espeak-ng, each of them once."""

import asyncio
import io
import shutil
import subprocess
from collections import OrderedDict
from typing import Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from trunkline_bot.phrases import PHRASES

RATE_HZ = 16_000
"""Of all audio here."""

PROGRAM = "espeak-ng"
INSTALL = "espeak-ng is not installed: apt-get install espeak-ng"

KEPT_SENTENCES = 256
_TIMEOUT_S = 10.0
_WORDS_PER_MINUTE = 150
_NULL_S_PER_LETTER = 0.06


class VoiceFailed(Exception):
    """The sentence could not be made audio; in one line."""


class Voice(Protocol):
    async def render(self, sentence: str, language: str) -> NDArray[np.int16]:
        """int16 (T,) at `RATE_HZ`. `language`: a locale of `PHRASES`. Raises `VoiceFailed`."""
        ...


class EspeakVoice:
    """A process for each sentence that is not known yet; the last `KEPT_SENTENCES` are. `variant`: of the voices of
    espeak-ng (`espeak-ng --voices=variant`), as `+m3`."""

    def __init__(self, variant: str = "") -> None:
        self._variant = variant
        self._known: OrderedDict[tuple[str, str], NDArray[np.int16]] = OrderedDict()

    async def render(self, sentence: str, language: str) -> NDArray[np.int16]:
        key = sentence, language
        if key not in self._known:
            self._known[key] = await asyncio.to_thread(self._speak, sentence, PHRASES[language].voice + self._variant)
            if len(self._known) > KEPT_SENTENCES:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    @staticmethod
    def _speak(sentence: str, voice: str) -> NDArray[np.int16]:
        command = [PROGRAM, "-v", voice, "-s", str(_WORDS_PER_MINUTE), "--stdin", "--stdout"]
        try:
            made = subprocess.run(command, input=sentence.encode(), capture_output=True, timeout=_TIMEOUT_S, check=True)
            pcm, rate_hz = soundfile.read(io.BytesIO(made.stdout), dtype="int16")
        except (OSError, subprocess.SubprocessError, soundfile.LibsndfileError) as error:
            raise VoiceFailed(f"espeak-ng has no audio for voice {voice}: {' '.join(str(error).split())}") from error
        resampled: NDArray[np.int16] = soxr.resample(pcm, rate_hz, RATE_HZ)
        return resampled


class NullVoice:
    """Silence for as long as the sentence would take: for load tests, and where there is no voice."""

    async def render(self, sentence: str, language: str) -> NDArray[np.int16]:  # noqa: ARG002 - the protocol's
        return np.zeros(round(len(sentence) * _NULL_S_PER_LETTER * RATE_HZ), np.int16)


def has_espeak() -> bool:
    return shutil.which(PROGRAM) is not None
