"""Generated turns of callers in four languages, as text and as legs of a synthetic speaker.

A turn is one of five: a matter with a request at its end, a sentence with a hesitation in it, a number that is dictated
in groups, a short answer, a back-channel. What goes on is spoken as it is by people: with a comma, which these voices
speak as continuation, after most sentences inside a turn and after each group of a number; most hesitations follow a
word that asks for another one, or a filler. Three in ten sentences inside a turn end with a full stop all the same, and
of the sentences that end a turn one is a statement for each question, so that neither tells anything sure. (In the
Columbia games corpus 53 % of the pauses inside turns follow what is complete as text, before changes of turn 82 %:
Gravano and Hirschberg 2011.)

Three splits share neither speakers nor sentence patterns; of the evaluation's, the demo model has not seen the
sentences either.
"""

import random
from collections.abc import Callable
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.turns.phrase import unfinished_words
from training.grammar import Sentence, held_out, world
from training.turn_legs import GAP_S, Leg, Line, assemble, pause, trim
from training.voices import Program, Voice

TURNS = 8

_WEIGHTS = {"matter": 0.35, "hesitation": 0.25, "number": 0.2, "answer": 0.15, "backchannel": 0.05}
_STOP_SHARE = 0.3
_QUESTION_SHARE = 0.5
_OTHER_BREAK_SHARE = 0.35
_FILLER_SHARE = 0.4
_FIXED_SHARE = 1 / 16
_DIGITS = (4, 5, 6, 6, 8, 10)

_FILLERS = {
    "en-US": ("um", "uh", "well"),
    "es-US": ("eh", "este", "pues"),
    "de-DE": ("ähm", "äh", "also"),
    "fr-FR": ("euh", "ben", "alors"),
}
_ANSWERS = {
    "en-US": ("Yes.", "No, thank you.", "That is right.", "I don't know.", "Yes, please.", "No."),
    "es-US": ("Sí.", "No, gracias.", "Así es.", "No lo sé.", "Sí, por favor.", "No."),
    "de-DE": ("Ja.", "Nein, danke.", "Das stimmt.", "Das weiß ich nicht.", "Ja, bitte.", "Nein."),
    "fr-FR": ("Oui.", "Non, merci.", "C'est ça.", "Je ne sais pas.", "Oui, s'il vous plaît.", "Non."),
}
_BACKCHANNELS = {
    "en-US": ("Mhm.", "Okay.", "Right."),
    "es-US": ("Ajá.", "Vale.", "Claro."),
    "de-DE": ("Mhm.", "Okay.", "Genau."),
    "fr-FR": ("Mhm.", "D'accord.", "Oui."),
}
_NUMBER_OPENERS = {
    "en-US": ("My order number is", "The number is", "It is", "My account number is", "That is", "My number is"),
    "es-US": ("Mi número de pedido es", "El número es", "Es el", "Mi número de cuenta es", "Sí, es el", "Mi número es"),
    "de-DE": (
        "Meine Bestellnummer ist",
        "Die Nummer ist",
        "Das ist die",
        "Meine Kontonummer ist",
        "Ja, das ist",
        "Es ist",
    ),
    "fr-FR": (
        "Mon numéro de commande est",
        "Le numéro est le",
        "C'est le",
        "Mon numéro de compte est",
        "Oui, c'est",
        "Le",
    ),
}


class Split(StrEnum):
    """`TRAINING`: weights. `DEVELOPMENT`: thresholds. `TEST`: figures."""

    TRAINING = "training"
    DEVELOPMENT = "development"
    TEST = "test"


Say = Callable[[Voice, str, str], NDArray[np.float32]]
"""(voice, locale, text) to float32 (T,), 16 kHz."""


def draw(split: Split, locale: str, line: Line, rng: random.Random, say: Say) -> Leg:
    """A leg of `TURNS` turns of one speaker."""
    voice = speaker(split, locale, rng)
    pieces: list[tuple[NDArray[np.float32], float, bool]] = []
    for _ in range(TURNS):
        texts = turn(split, locale, rng)
        for number, text in enumerate(texts):
            last = number == len(texts) - 1
            silence_s = rng.uniform(*GAP_S) if last else pause(rng)
            pieces.append((trim(say(voice, locale, text)), silence_s, last))
    return assemble(locale, f"{voice.program} {voice.variant}", line, pieces, rng)


def turn(split: Split, locale: str, rng: random.Random) -> list[str]:
    """The runs of speech of a turn."""
    match rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]:
        case "answer":
            return [rng.choice(_of(split, _ANSWERS[locale]))]
        case "backchannel":
            return [rng.choice(_BACKCHANNELS[locale])]
        case "number":
            return _number(split, locale, rng)
        case "hesitation":
            return _hesitating(_sentence(split, locale, rng, question=None).spoken, locale, rng)
        case _:
            return _matter(split, locale, rng)


def speaker(split: Split, locale: str, rng: random.Random) -> Voice:
    """A variant of espeak-ng, that of an evaluation unknown to the demo model; for half of the English legs a voice of
    flite or festival."""
    if locale == "en-US" and rng.random() < 0.5:
        return rng.choice(_ENGLISH[split])
    return Voice(Program.ESPEAK, rng.choice(_VARIANTS[split].split()), rng.randint(20, 80), rng.randint(130, 190))


_VARIANTS = {
    Split.TRAINING: """
m2 m3 m4 m5 m6 m7 f1 f2 f3 f4 Alex Alicia Andrea Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Mike adam
anika antonio aunty belinda benjamin boris caleb david ed gustave iven john kaukovalta linda marcelo max michel miguel
norbert pablo paul pedro quincy rob robert sandro shelby steph travis victor zac""",
    Split.DEVELOPMENT: "f5 m8",
    Split.TEST: "Annie edward",
}
_ENGLISH = {
    Split.TRAINING: (Voice(Program.FLITE, "rms", 0, 0), Voice(Program.FLITE, "awb", 0, 0)),
    Split.DEVELOPMENT: (Voice(Program.FLITE, "kal16", 0, 0), Voice(Program.FESTIVAL, "kal_diphone", 0, 0)),
    Split.TEST: (Voice(Program.FLITE, "slt", 0, 0), Voice(Program.FESTIVAL, "cmu_us_slt_arctic_hts", 0, 0)),
}
_PART = {Split.TRAINING: (0, 1), Split.DEVELOPMENT: (2,), Split.TEST: (3,)}
"""Of each four patterns."""


def _of(split: Split, texts: tuple[str, ...]) -> list[str]:
    return [text for number, text in enumerate(texts) if number % 3 == list(Split).index(split)]


@cache
def patterns(split: Split, locale: str) -> frozenset[str]:
    """Of the sentences of `split`: of each four questions and of each four statements two, one and one."""
    found = set()
    for is_question in (True, False):
        alike = [one.text for one in world(locale).patterns if one.text.endswith("?") is is_question]
        found |= {text for number, text in enumerate(alike) if number % 4 in _PART[split]}
    return frozenset(found)


def _sentence(split: Split, locale: str, rng: random.Random, *, question: bool | None) -> Sentence:
    """`question`: whether it is to be one; None: either. As many of those without slots, which none is held out of, as
    of the others."""
    while True:
        sentence = world(locale).draw(rng)
        if sentence.pattern.text not in patterns(split, locale) or question not in (None, sentence.text.endswith("?")):
            continue
        if split is Split.TRAINING or held_out(sentence.text):
            return sentence
        if not sentence.pattern.has_slots and rng.random() < _FIXED_SHARE:
            return sentence


def _matter(split: Split, locale: str, rng: random.Random) -> list[str]:
    """Up to two sentences that lead to a last one."""
    texts = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        text = _sentence(split, locale, rng, question=False).spoken.rstrip(".")
        texts.append(text + ("." if rng.random() < _STOP_SHARE else ","))
    return [*texts, _sentence(split, locale, rng, question=rng.random() < _QUESTION_SHARE).spoken]


def _hesitating(text: str, locale: str, rng: random.Random) -> list[str]:
    """The sentence with a pause between two of its words."""
    words = text.split()
    places = range(2, len(words) - 1)
    if not places:
        return [text]
    asking = [at for at in places if words[at - 1].lower() in unfinished_words(locale[:2])]
    at = rng.choice(asking if asking and rng.random() > _OTHER_BREAK_SHARE else places)
    before = " ".join(words[:at]).rstrip(".,?!")
    if rng.random() < _FILLER_SHARE:
        before += f", {rng.choice(_FILLERS[locale])}"
    return [before + ",", " ".join(words[at:])]


def _number(split: Split, locale: str, rng: random.Random) -> list[str]:
    """Groups of digits, mostly of the same size in one number, at times behind an opener."""
    digits = [rng.choice("0123456789") for _ in range(rng.choice(_DIGITS))]
    size = rng.choice((1, 2, 3, 3, 4))
    groups = [" ".join(digits[at : at + size]) for at in range(0, len(digits), size)]
    opener = rng.choice(["", *_of(split, _NUMBER_OPENERS[locale])])
    if opener and rng.random() < 0.5:
        groups[0] = f"{opener} {groups[0]}"
    elif opener:
        groups.insert(0, opener)
    return [f"{group}," for group in groups[:-1]] + [f"{groups[-1]}."]
