"""Whether speech over somebody else's is told rightly as an interruption or a back-channel, and how soon.

`python -m benchmarks.overlap [--each 12] [--locales en-US es-US de-DE fr-FR] [--line "noise 20 dB"] [--seed 1]`

Generated calls of two legs: an agent who speaks sentence after sentence, and a caller who says something over him
every few seconds, half of it back-channels and half sentences, in voices that no training has heard, over a telephone
line. The shipped model, the voice activity detector and Smart Turn hear them as in a call; audio is pushed a packet at
a time, each once what came before it was heard. Reported for each locale: how many are told rightly in the end, how
many interruptions at once, and how long after their begin the first verdict comes, in media time that was pushed by
then. The last line is JSON.

The back-channels are common ones, most of which are in the shipped lists: what the recogniser makes of them on a
telephone line is what is measured, not whether a list holds every word of a language.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.engine import Engine
from pipeline import AudioFrame, CallInfo, Calls, Encoding, LegOptions, PipelineConfig
from pipeline.turns.config import TurnConfig
from pipeline.turns.detector import TurnDetector
from sinks.record import AnyRecord, SpeakerRole, TurnEvent, TurnRecord
from training.grammar import world
from training.turn_dialogues import Split, speaker
from training.turn_legs import Line, over, trim
from training.voices import SAMPLE_RATE_HZ, Voice, speak

BACK_CHANNELS = {
    "en-US": ("Mhm.", "Yeah.", "Okay.", "Uh-huh.", "Right.", "I see.", "Sure."),
    "es-US": ("Ajá.", "Sí.", "Vale.", "Claro.", "Mhm.", "De acuerdo."),
    "de-DE": ("Mhm.", "Ja.", "Okay.", "Genau.", "Aha.", "Alles klar."),
    "fr-FR": ("Mhm.", "Oui.", "D'accord.", "Ouais.", "Okay.", "Je vois."),
}
EVERY_S, BEFORE_S, AFTER_S = 8.0, 0.4, 3.0
LEVEL = 0.25


@dataclass(frozen=True, slots=True)
class Said:
    """What the caller says over the agent, from `start_s` on."""

    start_s: float
    text: str
    kind: TurnEvent


def generate(
    locale: str, each: int, line: Line, rng: random.Random
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[Said]]:
    """Mu-law of caller and agent, 8 kHz, and what is said over the agent."""
    kinds = [TurnEvent.BACK_CHANNEL, TurnEvent.INTERRUPTION] * each
    rng.shuffle(kinds)
    length = int((len(kinds) * EVERY_S + 2) * SAMPLE_RATE_HZ)
    caller, agent = np.zeros(length, np.float32), np.zeros(length, np.float32)
    voice, other = speaker(Split.TEST, locale, rng), speaker(Split.TEST, locale, rng)
    said: list[Said] = []
    for number, kind in enumerate(kinds):
        at_s = number * EVERY_S
        _put(agent, at_s + 0.5, np.concatenate([_speech(other, locale, rng) for _ in range(3)])[: 6 * SAMPLE_RATE_HZ])
        is_back_channel = kind is TurnEvent.BACK_CHANNEL
        text = rng.choice(BACK_CHANNELS[locale]) if is_back_channel else world(locale).draw_held_out(rng).spoken
        start_s = at_s + rng.uniform(1.5, 3.5)
        _put(caller, start_s, trim(speak(voice, locale, text)))
        said.append(Said(start_s, text, kind))
    return over(caller, line, rng), over(agent, line, rng), said


def _speech(voice: Voice, locale: str, rng: random.Random) -> NDArray[np.float32]:
    return trim(speak(voice, locale, world(locale).draw_held_out(rng).spoken))


def _put(audio: NDArray[np.float32], at_s: float, pcm: NDArray[np.float32]) -> None:
    at = int(at_s * SAMPLE_RATE_HZ)
    room = audio[at : at + pcm.size]
    room[:] = pcm[: room.size] * np.float32(LEVEL / max(float(np.abs(pcm).max()), 1e-3))


async def listen(caller: NDArray[np.uint8], agent: NDArray[np.uint8]) -> list[tuple[float, TurnRecord]]:
    """Verdicts on the caller's speech, each with the media time pushed when it was told."""
    engine, told, pushed_s = Engine.load(max_sessions=4), list[tuple[float, TurnRecord]](), 0.0

    def publish(records: list[AnyRecord]) -> None:
        told.extend(
            (pushed_s, one) for one in records if isinstance(one, TurnRecord) and one.over and one.leg == "caller"
        )

    turns = TurnDetector.installed(TurnConfig())
    calls = Calls(engine, publish, PipelineConfig(), turns=turns)  # type: ignore[arg-type]
    call = calls.start(CallInfo("overlap", "benchmark"))
    legs = [
        (call.add_leg(LegOptions("caller", SpeakerRole.CUSTOMER, 0)), caller),
        (call.add_leg(LegOptions("agent", SpeakerRole.AGENT, 1)), agent),
    ]
    for at in range(0, min(caller.size, agent.size) - 159, 160):
        for leg, codes in legs:
            leg.push(AudioFrame(at, codes[at : at + 160], Encoding.PCMU, 8_000, time.monotonic()))
        pushed_s = (at + 160) / 8_000
        calls.ingest.tick()
        while engine.step():
            pass
        await asyncio.sleep(0.002)
    ending = asyncio.ensure_future(call.end("over"))
    while not ending.done():
        engine.step()
        await asyncio.sleep(0.001)
    if turns is not None:
        turns.close()
    return told


def score(said: list[Said], told: list[tuple[float, TurnRecord]]) -> list[tuple[Said, list[tuple[float, TurnEvent]]]]:
    """The verdicts on each, with the time from its begin."""
    found = []
    for one in said:
        near = [
            (at_s - one.start_s, record.event)
            for at_s, record in told
            if -BEFORE_S <= record.at_s - one.start_s <= AFTER_S
        ]
        found.append((one, near))
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=12, help="of both kinds, for each locale")
    parser.add_argument("--locales", nargs="+", default=list(BACK_CHANNELS), choices=list(BACK_CHANNELS))
    parser.add_argument("--line", default=Line.NOISE_20, choices=list(Line))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print every verdict")
    options = parser.parse_args(arguments)
    every: list[tuple[Said, list[tuple[float, TurnEvent]]]] = []
    for locale in options.locales:
        caller, agent, said = generate(locale, options.each, Line(options.line), random.Random(options.seed))
        scored = score(said, asyncio.run(listen(caller, agent)))
        if options.list:
            for one, verdicts in scored:
                print(
                    locale, one.kind, repr(one.text), [(round(after_s, 2), str(event)) for after_s, event in verdicts]
                )
        print(locale, figures(scored))
        every += scored
    print(json.dumps(figures(every)))


def figures(scored: list[tuple[Said, list[tuple[float, TurnEvent]]]]) -> dict[str, float]:
    """`right_pct`: by the last verdict; `interruptions_at_once_pct`: by the first. `first_*`: when that was told."""
    interruptions = [verdicts for one, verdicts in scored if one.kind is TurnEvent.INTERRUPTION]
    firsts = [verdicts[0][0] * 1000 for verdicts in interruptions if verdicts]
    right = sum(bool(verdicts) and verdicts[-1][1] is one.kind for one, verdicts in scored)
    at_once = sum(bool(verdicts) and verdicts[0][1] is TurnEvent.INTERRUPTION for verdicts in interruptions)
    return {
        "cases": len(scored),
        "right_pct": round(100 * right / len(scored), 1),
        "untold_pct": round(100 * sum(not verdicts for _, verdicts in scored) / len(scored), 1),
        "interruptions_at_once_pct": round(100 * at_once / max(len(interruptions), 1), 1),
        "first_p50_ms": round(float(np.percentile(firsts, 50))) if firsts else 0,
        "first_p95_ms": round(float(np.percentile(firsts, 95))) if firsts else 0,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
