"""Audio of the engine's tests: synthetic babble with no dependency, and espeak-ng speech for the demo model.

All signals are float32 (T,), 16 kHz, [-1, 1], and the same on every run.
"""

import functools
import io
import shutil
import subprocess

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16_000
Audio = NDArray[np.float32]

SENTENCES: tuple[tuple[str, str, str], ...] = (
    ("en-us", "en-US", "Hello, I would like to change my appointment. My order number is 4 7 1 1."),
    ("es-419", "es-US", "Hola, ¿dónde está mi pedido? Mi número es 8 3 0 5."),
    ("de", "de-DE", "Guten Tag, ich habe eine Frage zu meiner Rechnung."),
    ("fr-fr", "fr-FR", "Bonjour, je voudrais changer mon rendez-vous."),
)


def noise(seconds: float, seed: int, level: float = 0.05) -> Audio:
    """White noise of the given standard deviation."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(round(seconds * RATE)) * level).astype(np.float32)


@functools.cache
def babble(seconds: float, seed: int) -> Audio:
    """Speech-like sound: a gliding harmonic tone through moving resonances, in syllables, over a noise floor."""
    rng = np.random.default_rng(seed)
    total = round(seconds * RATE)
    signal = np.zeros(total)
    at = 0
    while at < total:
        size = int(rng.integers(1_200, 4_800))
        t = np.arange(size) / RATE
        pitch = rng.uniform(90, 260) * (1 + rng.uniform(-0.3, 0.3) * t)
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formants = rng.uniform([250, 800, 2_000], [900, 2_300, 3_600])
        syllable = np.zeros(size)
        for harmonic in range(1, 30):
            centre = harmonic * float(pitch.mean())
            gain = float(np.exp(-(((centre - formants) / 250) ** 2)).sum()) + 0.01
            syllable += gain * np.sin(harmonic * phase)
        syllable += rng.standard_normal(size) * rng.choice([0.02, 0.3])
        syllable *= np.hanning(size) * rng.uniform(0.05, 0.3)
        part = signal[at : at + size]
        part += syllable[: part.size]
        at += size + int(rng.integers(0, 1_600))
    signal += rng.standard_normal(total) * 0.002
    return np.clip(signal, -1, 1).astype(np.float32)


@functools.cache
def speech(index: int, voice: str | None = None) -> Audio:
    """Sentence `index` of SENTENCES spoken by espeak-ng; babble of the same length class where it is not installed."""
    default, _, text = SENTENCES[index % len(SENTENCES)]
    program = shutil.which("espeak-ng")
    if program is None:
        return babble(4.0, 1_000 + index)
    wav = subprocess.run(
        [program, "-v", voice or default, "-s", "150", "--stdout", text], check=True, capture_output=True
    ).stdout
    pcm, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    return np.asarray(soxr.resample(pcm, rate, RATE, quality="HQ"), dtype=np.float32) * np.float32(0.5)
