"""Turns of human speech: Debian's telephone prompts of Asterisk in English, Spanish and French.

A turn is a prompt of some seconds, with the pauses that its speaker made, or a number that is dictated: prompts of one
digit in groups with known gaps. One voice speaks each language, so the splits share the speaker; they share no prompts
but those of the digits. The demo model was trained on most of these prompts, but knows few of their words.
"""

import random
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from training.turn_dialogues import Split
from training.turn_legs import GAP_S, Leg, Line, assemble, pause, trim
from training.voices import SAMPLE_RATE_HZ, VoiceError

SOUNDS = Path("/usr/share/asterisk/sounds")
FOLDERS = {"en-US": "en_US_f_Allison", "es-US": "es_MX_f_Allison", "fr-FR": "fr_CA_f_June"}
TURNS = 6

_NUMBER_SHARE = 0.4
_BYTES = range(32_000, 290_000)
"""2 to 18 s."""

_NO_SPEECH = ("silence", "tone", "beep", "demo-echo", "monkeys", "astcc", "confbridge-begin", "letters", "phonetic")


def draw(split: Split, locale: str, line: Line, rng: random.Random) -> Leg:
    """A leg of `TURNS` turns. Raises `VoiceError`, which names the package, where there are no prompts."""
    pieces: list[tuple[NDArray[np.float32], float, bool]] = []
    for _ in range(TURNS):
        if rng.random() < _NUMBER_SHARE:
            pieces += _number(locale, rng)
        else:
            pieces.append((_read(rng.choice(prompts(split, locale))), rng.uniform(*GAP_S), True))
    return assemble(locale, FOLDERS[locale], line, pieces, rng)


@cache
def prompts(split: Split, locale: str) -> tuple[Path, ...]:
    """Those of `split`, by a hash of their names: two, one and one of each four."""
    folder = SOUNDS / FOLDERS[locale]
    if not folder.is_dir():
        raise VoiceError(f"no telephone prompts: apt-get install asterisk-core-sounds-{locale[:2]}-wav")
    part = {Split.TRAINING: (0, 1), Split.DEVELOPMENT: (2,), Split.TEST: (3,)}[split]
    return tuple(
        path
        for path in sorted(folder.rglob("*.wav"))
        if path.stat().st_size in _BYTES
        and not any(word in str(path.relative_to(folder)) for word in _NO_SPEECH)
        and zlib.crc32(path.stem.encode()) % 4 in part
    )


def _number(locale: str, rng: random.Random) -> list[tuple[NDArray[np.float32], float, bool]]:
    folder = SOUNDS / FOLDERS[locale] / "digits"
    digits = [_read(folder / f"{rng.randrange(10)}.wav") for _ in range(rng.choice((4, 6, 6, 8)))]
    size = rng.choice((2, 3, 4))
    groups = [np.concatenate(digits[at : at + size]) for at in range(0, len(digits), size)]
    inner = [(group, pause(rng), False) for group in groups[:-1]]
    return [*inner, (groups[-1], rng.uniform(*GAP_S), True)]


@cache
def _read(path: Path) -> NDArray[np.float32]:
    """float32 (T,), 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return trim(soxr.resample(samples[:, 0], rate, SAMPLE_RATE_HZ))
