"""Legs of generated calls whose turns are known: who speaks from when to when, and which pauses are inside a turn.

A turn is one of five: sentences one after the other, a sentence with a hesitation in it, a number that is dictated in
groups, a short answer, a back-channel. Between two turns the other party speaks, which this leg does not hear. Pauses
in a turn are as long as those of the human turns of eot-bench (how many outlast a given time follows from its figures
for silence alone), whatever stands before them, so that a full stop alone tells nothing sure.

What the line makes of it: 300 to 3,400 Hz, noise, mu-law, and packets of 20 ms that are lost in bursts.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline import g711
from training.grammar import Sentence, world
from training.telephone import RATE_HZ, received
from training.voices import SAMPLE_RATE_HZ, Program, Voice

TURNS = 8
PAUSES_S = ((1.0, 0.2), (0.556, 0.3), (0.217, 0.6), (0.1, 1.0), (0.05, 1.6), (0.0, 2.2))
"""Share of the pauses in turns that are longer, and seconds."""

GAP_S = (2.6, 4.0)
BLOCK = 160

_LOUD = 0.01
_BREAK_S = 0.15
_STEP = 160
_LOSS_BURST = 1.5
_WEIGHTS = {"sentences": 0.4, "hesitation": 0.25, "number": 0.2, "answer": 0.1, "backchannel": 0.05}

_FILLERS = {
    "en-US": ("um", "uh", "well"),
    "es-US": ("eh", "este", "pues"),
    "de-DE": ("ähm", "äh", "also"),
    "fr-FR": ("euh", "ben", "alors"),
}
_ANSWERS = {
    "en-US": ("Yes.", "No, thank you.", "That is right.", "I don't know.", "Yes, please."),
    "es-US": ("Sí.", "No, gracias.", "Así es.", "No lo sé.", "Sí, por favor."),
    "de-DE": ("Ja.", "Nein, danke.", "Das stimmt.", "Das weiß ich nicht.", "Ja, bitte."),
    "fr-FR": ("Oui.", "Non, merci.", "C'est ça.", "Je ne sais pas.", "Oui, s'il vous plaît."),
}
_BACKCHANNELS = {
    "en-US": ("Mhm.", "Okay.", "Right."),
    "es-US": ("Ajá.", "Vale.", "Claro."),
    "de-DE": ("Mhm.", "Okay.", "Genau."),
    "fr-FR": ("Mhm.", "D'accord.", "Oui."),
}
_NUMBER_OPENERS = {
    "en-US": ("My order number is", "The number is", "It is", ""),
    "es-US": ("Mi número de pedido es", "El número es", "Es el", ""),
    "de-DE": ("Meine Bestellnummer ist", "Die Nummer ist", "Das ist die", ""),
    "fr-FR": ("Mon numéro de commande est le", "Le numéro est le", "C'est le", ""),
}


class Line(StrEnum):
    """How good the telephone line is: noise so many dB below the speech, and packets lost."""

    CLEAN = "clean"
    NOISE_20 = "noise 20 dB"
    NOISE_10 = "noise 10 dB"
    LOSS_3 = "loss 3 %"


_NOISE_DB = {Line.CLEAN: 45.0, Line.NOISE_20: 20.0, Line.NOISE_10: 10.0, Line.LOSS_3: 30.0}


@dataclass(frozen=True, slots=True)
class Speech:
    """A run of speech without a silence of `_BREAK_S`. `ends_turn`: the turn is over with it."""

    start_s: float
    end_s: float
    ends_turn: bool


@dataclass(frozen=True, slots=True)
class Leg:
    """`pcm`: float32 (T,), 16 kHz, as the engine gets it. `speech`: in order."""

    locale: str
    voice: Voice
    line: Line
    pcm: NDArray[np.float32]
    speech: tuple[Speech, ...]


Say = Callable[[Voice, str, str], NDArray[np.float32]]
"""(voice, locale, text) to float32 (T,), 16 kHz."""


def draw(locale: str, voice: Voice, line: Line, rng: random.Random, say: Say, *, held_out: bool) -> Leg:
    """A leg of `TURNS` turns. `held_out`: of sentences that no training has seen."""
    pieces: list[tuple[NDArray[np.float32], float, bool]] = []
    for _ in range(TURNS):
        texts = _turn(locale, rng, held_out=held_out)
        for number, text in enumerate(texts):
            last = number == len(texts) - 1
            pause = rng.uniform(*GAP_S) if last else _pause(rng)
            pieces.append((trim(say(voice, locale, text)), pause, last))
    return assemble(locale, voice, line, pieces, rng)


def assemble(
    locale: str,
    voice: Voice,
    line: Line,
    pieces: Sequence[tuple[NDArray[np.float32], float, bool]],
    rng: random.Random,
) -> Leg:
    """A leg of pieces of speech, each with the silence after it (s) and whether it ends its turn. A voice makes pauses
    of its own in a piece: they count as those between pieces do."""
    at = int(rng.uniform(0.5, 1.5) * SAMPLE_RATE_HZ)
    audio = [np.zeros(at, np.float32)]
    speech: list[Speech] = []
    for pcm, pause_s, last in pieces:
        loud = pcm * np.float32(0.25 * rng.uniform(0.7, 1.2) / max(float(np.abs(pcm).max()), 1e-3))
        silence = np.zeros(int(pause_s * SAMPLE_RATE_HZ), np.float32)
        audio += [loud, silence]
        found = _runs(loud)
        for start, end in found:
            ends_turn = last and end == found[-1][1]
            speech.append(Speech((at + start) / SAMPLE_RATE_HZ, (at + end) / SAMPLE_RATE_HZ, ends_turn))
        at += loud.size + silence.size
    return Leg(locale, voice, line, received(over(np.concatenate(audio), line, rng)), tuple(speech))


def over(pcm: NDArray[np.float32], line: Line, rng: random.Random) -> NDArray[np.uint8]:
    """`pcm`, float32 (T,) at 16 kHz, as it comes off a telephone line: mu-law codes, 8 kHz; lost packets are silent."""
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(pcm.size // 2, np.float32)
    narrow = soxr.resample(pcm, SAMPLE_RATE_HZ, RATE_HZ)[: noise.size]
    power = float(np.mean(narrow[np.abs(narrow) > _LOUD * 0.25] ** 2))
    narrow = narrow + noise[: narrow.size] * np.float32(np.sqrt(power * 10 ** (-_NOISE_DB[line] / 10)))
    codes = g711.encode_mulaw((np.clip(_band(narrow), -1, 1) * 32767).astype(np.int16))
    if line is Line.LOSS_3:
        for start in range(0, codes.size, BLOCK):
            if rng.random() < 0.03 / _LOSS_BURST:
                codes[start : start + BLOCK * rng.choice((1, 2))] = 0xFF
    return codes


def _band(narrow: NDArray[np.float32]) -> NDArray[np.float64]:
    """300 to 3,400 Hz of a signal at 8 kHz, with edges 100 Hz wide."""
    frequency = np.fft.rfftfreq(narrow.size, 1 / RATE_HZ)
    gain = np.clip((frequency - 250) / 100, 0, 1) * np.clip((3_450 - frequency) / 100, 0, 1)
    return np.fft.irfft(np.fft.rfft(narrow) * gain, narrow.size)


def trim(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the silence at both ends: what is 40 dB below its peak."""
    loud = np.flatnonzero(np.abs(pcm) > _LOUD * np.abs(pcm).max())
    return pcm[loud[0] : loud[-1] + 1] if loud.size else pcm


def _runs(pcm: NDArray[np.float32]) -> list[tuple[int, int]]:
    """First and last sample of what is spoken without a break."""
    level = np.sqrt(np.mean(pcm[: pcm.size // _STEP * _STEP].reshape(-1, _STEP) ** 2, axis=1))
    loud = np.flatnonzero(level > 2 * _LOUD * level.max())
    breaks = np.flatnonzero(np.diff(loud) * _STEP > _BREAK_S * SAMPLE_RATE_HZ)
    starts = [loud[0], *loud[breaks + 1]]
    ends = [*loud[breaks], loud[-1]]
    return [(int(start) * _STEP, (int(end) + 1) * _STEP) for start, end in zip(starts, ends, strict=True)]


def _pause(rng: random.Random) -> float:
    shares, seconds = zip(*reversed(PAUSES_S), strict=True)
    return float(np.interp(rng.random(), shares, seconds))


def _turn(locale: str, rng: random.Random, *, held_out: bool) -> list[str]:
    """The runs of speech of a turn."""
    kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    if kind == "answer":
        return [rng.choice(_ANSWERS[locale])]
    if kind == "backchannel":
        return [rng.choice(_BACKCHANNELS[locale])]
    if kind == "number":
        return _number(locale, rng)
    sentences = [_sentence(locale, rng, held_out=held_out) for _ in range(rng.choice((1, 1, 2, 3)))]
    texts = [sentence.spoken for sentence in sentences]
    return [part for text in texts for part in _hesitating(text, locale, rng)] if kind == "hesitation" else texts


def _sentence(locale: str, rng: random.Random, *, held_out: bool) -> Sentence:
    return world(locale).draw_held_out(rng) if held_out else world(locale).draw(rng)


def _hesitating(text: str, locale: str, rng: random.Random) -> list[str]:
    """The sentence with a pause between two of its words, at times after a filler."""
    words = text.split()
    if len(words) < 4:
        return [text]
    at = rng.randint(2, len(words) - 2)
    before = " ".join(words[:at]).rstrip(".,?!")
    if rng.random() < 0.3:
        before += f", {rng.choice(_FILLERS[locale])}"
    return [before + rng.choice((",", "")), " ".join(words[at:])]


def _number(locale: str, rng: random.Random) -> list[str]:
    digits = [rng.choice("0123456789") for _ in range(rng.choice((4, 5, 6, 8, 10)))]
    groups: list[str] = []
    while digits:
        size = rng.choice((1, 2, 3, 3, 4))
        groups.append(" ".join(digits[:size]))
        del digits[:size]
    opener = rng.choice(_NUMBER_OPENERS[locale])
    if opener and rng.random() < 0.5:
        groups[0] = f"{opener} {groups[0]}"
    elif opener:
        groups.insert(0, opener)
    return [f"{group}{rng.choice((',', ''))}" for group in groups[:-1]] + [f"{groups[-1]}."]


TRAINING_VOICES = ("m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "Alicia", "david", "Diogo", "Denis")
"""Variants of espeak-ng; `HELD_OUT_VARIANTS` are not among them."""


def training_voice(locale: str, rng: random.Random) -> Voice:
    """espeak-ng's, for English also flite's."""
    if locale == "en-US" and rng.random() < 0.4:
        return Voice(Program.FLITE, rng.choice(("rms", "awb", "kal16")), 0, 0)
    return Voice(Program.ESPEAK, rng.choice(TRAINING_VOICES), rng.randint(20, 80), rng.randint(130, 190))


def test_voice(locale: str, rng: random.Random) -> Voice:
    """Of other speakers: espeak-ng's held-out variants, for English also flite's slt and festival's."""
    if locale == "en-US" and rng.random() < 0.6:
        return rng.choice(
            (
                Voice(Program.FLITE, "slt", 0, 0),
                Voice(Program.FESTIVAL, "kal_diphone", 0, 0),
                Voice(Program.FESTIVAL, "cmu_us_slt_arctic_hts", 0, 0),
            )
        )
    variants = ("f5", "m8", "Annie", "edward")
    return Voice(Program.ESPEAK, rng.choice(variants), rng.randint(20, 80), rng.randint(130, 190))
