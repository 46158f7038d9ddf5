"""The bundled call of `trunkline demo`: `python -m training.demo_call` writes `trunkline/demo/call.wav` and its script.

How the sentences are drawn, from one seed, none of them picked by how well it is recognised:

1. The agent (en-US) opens with the world's greeting and closes with its goodbye.
2. In between caller and agent take turns, the caller one to three sentences, the agent one or two. Each is the first
   held-out sentence drawn whose pattern that speaker says and that the call has not had yet.
3. The caller speaks Spanish in the first half of `LENGTH_S`, then English, also within a turn. The goodbye comes after
   the first turn of the caller behind which it ends later than `LENGTH_S`. Time is estimated from the text alone, so
   that the script does not depend on the synthesiser's version.

The audio is espeak-ng with two variants that training never heard, the caller one voice for both languages: 2 channels
of mu-law at 8 kHz, the caller (Twilio's inbound track) on channel 0 and the agent (outbound) on channel 1.
"""

import argparse
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from training import voices
from training.grammar import Sentence, Speaker, world
from training.voices import Voice

SEED = 1
LENGTH_S = 60.0
FOLDER = Path(__file__).parents[1] / "trunkline" / "demo"
GREETING = "How can I help you today?"
GOODBYE = "Thank you for calling, have a nice day."

_RATE_HZ = 8_000
_PAUSES_S = (0.4, 0.9)
_SENTENCES = {Speaker.CALLER: 3, Speaker.AGENT: 2}
_VARIANTS = {Speaker.CALLER: "Annie", Speaker.AGENT: "edward"}
_LEGS = {Speaker.CALLER: "inbound", Speaker.AGENT: "outbound"}
_ROLES = {Speaker.CALLER: "customer", Speaker.AGENT: "agent"}
_CHANNELS = ("inbound", "outbound")
_PEAK = 0.5
_NOISE = 5e-4
_TAIL_S = 1.0
_SECONDS_PER_CHARACTER = 1 / 16
_SECONDS_PER_DIGIT = 0.35
_USUAL_WORDS_PER_MINUTE = 160


@dataclass(frozen=True, slots=True)
class Turn:
    """One sentence of the call: who says it, after how much silence (s), in which voice."""

    speaker: Speaker
    sentence: Sentence
    pause_s: float
    voice: Voice


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of `script.json`. `start`, `end`: seconds since the call began."""

    leg: str
    role: str
    language: str
    text: str
    start: float
    end: float


class _Draw:
    """The call drawn so far and the time it has taken, by estimate."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._voices = {speaker: voices.espeak(variant, self._rng) for speaker, variant in _VARIANTS.items()}
        self._said: set[str] = set()
        self.turns: list[Turn] = []
        self.seconds = 0.0

    def say(self, speaker: Speaker, sentence: Sentence) -> None:
        pause_s, voice = round(self._rng.uniform(*_PAUSES_S), 3), self._voices[speaker]
        self._said.add(sentence.pattern.text)
        self.turns.append(Turn(speaker, sentence, pause_s, voice))
        self.seconds += pause_s + estimated_seconds(sentence, voice)

    def speak(self, speaker: Speaker) -> None:
        for _ in range(self._rng.randint(1, _SENTENCES[speaker])):
            spanish = speaker is Speaker.CALLER and self.seconds < LENGTH_S / 2
            self.say(speaker, self._sentence(speaker, "es-US" if spanish else "en-US"))

    def _sentence(self, speaker: Speaker, locale: str) -> Sentence:
        while True:
            sentence = world(locale).draw_held_out(self._rng)
            if sentence.pattern.by in (speaker, Speaker.EITHER) and sentence.pattern.text not in self._said:
                return sentence


def draw(seed: int = SEED) -> list[Turn]:
    """The sentences of the call, by the rule above."""
    call = _Draw(seed)
    goodbye = _fixed(GOODBYE)
    call.say(Speaker.AGENT, _fixed(GREETING))
    while True:
        call.speak(Speaker.CALLER)
        if call.seconds + len(goodbye.text) * _SECONDS_PER_CHARACTER > LENGTH_S:
            break
        call.speak(Speaker.AGENT)
    call.say(Speaker.AGENT, goodbye)
    return call.turns


def estimated_seconds(sentence: Sentence, voice: Voice) -> float:
    """About how long `voice` takes: letters at a steady pace, digits one by one."""
    digits = sum(character.isdigit() for character in sentence.spoken)
    letters = len(sentence.spoken) - 2 * digits
    usual = letters * _SECONDS_PER_CHARACTER + digits * _SECONDS_PER_DIGIT
    return usual * _USUAL_WORDS_PER_MINUTE / voice.rate


def render(turns: list[Turn], seed: int = SEED) -> tuple[NDArray[np.float32], list[Line]]:
    """Speak the call: float32 (T, 2), 8 kHz, [-1, 1], with a little noise on both lines, and its script."""
    lines: list[Line] = []
    pieces: list[tuple[int, int, NDArray[np.float32]]] = []
    now = 0
    for turn in turns:
        speech = voices.speak(turn.voice, turn.sentence.locale, turn.sentence.spoken)
        speech = soxr.resample(speech * (_PEAK / np.abs(speech).max()), voices.SAMPLE_RATE_HZ, _RATE_HZ)
        start = now + round(turn.pause_s * _RATE_HZ)
        now = start + len(speech)
        leg = _LEGS[turn.speaker]
        pieces.append((_CHANNELS.index(leg), start, speech))
        times = (round(start / _RATE_HZ, 3), round(now / _RATE_HZ, 3))
        lines.append(Line(leg, _ROLES[turn.speaker], turn.sentence.locale, turn.sentence.text, *times))
    total = now + round(_TAIL_S * _RATE_HZ)
    call = np.random.default_rng(seed).normal(0, _NOISE, (total, len(_CHANNELS))).astype(np.float32)
    for channel, start, speech in pieces:
        call[start : start + len(speech), channel] += speech
    return call, lines


def write(folder: Path, seed: int = SEED) -> None:
    """Draw, speak and write the call. Raises `VoiceError` without espeak-ng."""
    call, lines = render(draw(seed), seed)
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "call.wav", call, _RATE_HZ, subtype="ULAW", format="WAV")
    script = json.dumps([asdict(line) for line in lines], ensure_ascii=False, indent=1)
    (folder / "script.json").write_text(script + "\n", encoding="utf-8")


def _fixed(text: str) -> Sentence:
    """The agent's sentence `text`, which has no slots."""
    pattern = next(pattern for pattern in world("en-US").fixed(Speaker.AGENT) if pattern.text == text)
    return Sentence("en-US", pattern, text, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the bundled call of `trunkline demo`.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write call.wav and script.json")
    write(parser.parse_args().folder)


if __name__ == "__main__":
    try:
        main()
    except voices.VoiceError as error:
        raise SystemExit(f"error: {error}") from None
