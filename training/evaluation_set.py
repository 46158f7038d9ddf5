"""The calls that an evaluation plays: held-out sentences in voices that training never heard.

Three kinds: single sentences, by language and synthesiser, calls of several sentences by one voice in one language, and
calls of three sentences that switch language, spoken by one voice or by several. Everything follows from the seed;
speech is kept in a folder per seed, as it is the slow part.
"""

import hashlib
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import telephone, voices
from training.grammar import LOCALES, Sentence, world
from training.telephone import Recording
from training.voices import Program, Voice

STEADY_SEGMENTS = 5
SWITCHING_SEGMENTS = 3

Speak = Callable[[Voice, Sentence], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class SpokenCall:
    """One call. `group` names the kind and the voices; `segments` is what is said, one language each."""

    group: str
    segments: tuple[Sentence, ...]
    recording: Recording


class SpeechCache:
    """Speaks sentences and keeps them in `folder`, by text and voice."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    @classmethod
    def of_seed(cls, seed: int) -> "SpeechCache":
        """The folder of `seed` among the machine's temporary files."""
        return cls(Path(tempfile.gettempdir()) / f"trunkline-evaluation-{seed}")

    def speak(self, voice: Voice, sentence: Sentence) -> NDArray[np.float32]:
        """float32 (T,), 16 kHz. Raises `VoiceError`."""
        key = hashlib.blake2b(repr((voice, sentence.locale, sentence.spoken)).encode(), digest_size=16).hexdigest()
        path = self._folder / f"{key}.npy"
        if path.exists():
            kept: NDArray[np.float32] = np.load(path)
            return kept
        speech = voices.speak(voice, sentence.locale, sentence.spoken)
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, speech)
        unfinished.rename(path)
        return speech


def single_sentences(program: Program, count: int, seed: int, speak: Speak) -> list[SpokenCall]:
    """`count` held-out sentences a language."""
    group = f"sentences, {program}"
    rng = random.Random(f"{group} {seed}")
    calls = []
    for locale in LOCALES:
        for _ in range(count):
            sentence, voice = world(locale).draw_held_out(rng), voices.draw(program, rng)
            calls.append(SpokenCall(group, (sentence,), telephone.call([speak(voice, sentence)], rng)))
    return calls


def steady_calls(count: int, seed: int, speak: Speak) -> list[SpokenCall]:
    """`count` calls of five held-out sentences in one language by one voice of espeak-ng, the languages in turns."""
    group = "one language"
    rng = random.Random(f"{group} {seed}")
    calls = []
    for number in range(count):
        locale, voice = LOCALES[number % len(LOCALES)], voices.draw(Program.ESPEAK, rng)
        segments = tuple(world(locale).draw_held_out(rng) for _ in range(STEADY_SEGMENTS))
        calls.append(SpokenCall(group, segments, telephone.call([speak(voice, one) for one in segments], rng)))
    return calls


def switching_calls(one_voice: bool, count: int, seed: int, speak: Speak) -> list[SpokenCall]:
    """`count` calls of three held-out sentences, each in another language than the one before, by espeak-ng."""
    group = f"switching, {'one voice' if one_voice else 'several voices'}"
    rng = random.Random(f"{group} {seed}")
    calls = []
    for _ in range(count):
        locales = [rng.choice(LOCALES)]
        while len(locales) < SWITCHING_SEGMENTS:
            locales.append(rng.choice([locale for locale in LOCALES if locale != locales[-1]]))
        segments = tuple(world(locale).draw_held_out(rng) for locale in locales)
        cast = [voices.draw(Program.ESPEAK, rng) for _ in segments]
        if one_voice:
            cast = [cast[0]] * len(segments)
        speech = [speak(voice, sentence) for voice, sentence in zip(cast, segments, strict=True)]
        calls.append(SpokenCall(group, segments, telephone.call(speech, rng)))
    return calls
