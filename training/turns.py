"""The weights of turn detection: `python -m training.turns` writes `pipeline/turns/fusion.json`.

Generated legs go over generated telephone lines into Silero VAD, Smart Turn and the demo model; every frame of every
pause is an example, labelled with whether the turn was over by then, and a logistic model is fitted for each set of
things known. Voices and sentences of the evaluation (`benchmarks.turns`) are not among them.
"""

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import Engine
from pipeline.turns import fusion
from pipeline.turns.models import SmartTurn
from training import turn_dialogues, turn_prompts, voices
from training.grammar import LOCALES
from training.turn_dialogues import Split
from training.turn_legs import Leg, Line
from training.turn_traces import Seen, Trace, record, watch
from training.voices import Voice, VoiceError

TARGET = Path(fusion.__file__).with_name("fusion.json")
CHUNK_MS = 160

_RIDGE = 3.0
_SHORTEST_S = 0.09


def draw_legs(split: Split, count: int, seed: int) -> list[Leg]:
    """`count` generated legs a language, and where there are telephone prompts half as many of them."""
    legs = []
    for locale in LOCALES:
        for number in range(count):
            rng = random.Random(f"{split} {seed} {locale} {number}")
            line = list(Line)[number % len(Line)]
            legs.append(turn_dialogues.draw(split, locale, line, rng, _say))
            if locale in turn_prompts.FOLDERS and number % 2 == 0:
                legs.append(turn_prompts.draw(split, locale, list(Line)[number // 2 % len(Line)], rng))
    return legs


@cache
def _say(voice: Voice, locale: str, text: str) -> NDArray[np.float32]:
    return voices.speak(voice, locale, text)


def is_over(leg: Leg, at_s: float) -> bool:
    """Whether at that time the leg's last turn is over."""
    before = [one for one in leg.speech if one.start_s <= at_s]
    return not before or (before[-1].ends_turn and at_s >= before[-1].end_s)


def examples(traces: Sequence[Trace], smart: SmartTurn) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """By what is known: features (n, k) and labels (n,)."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    labels: dict[str, list[bool]] = defaultdict(list)
    for trace in traces:
        for seen in _all_seen(trace, smart):
            if seen.pause.silence_s >= _SHORTEST_S:
                rows[seen.pause.known].append(fusion.features(seen.pause))
                labels[seen.pause.known].append(is_over(trace.leg, seen.now_s))
    return {known: (np.array(rows[known]), np.array(labels[known], np.float64)) for known in rows}


def _all_seen(trace: Trace, smart: SmartTurn) -> Iterator[Seen]:
    """With and without each of the parts; what is known before Smart Turn has answered is not taken twice."""
    for words in (True, False):
        yield from (one for one in watch(trace, words=words, smart=smart) if one.pause.smart is not None)
        yield from watch(trace, words=words, asks=False)
    yield from watch(trace, hears=False, asks=False)


def fit(features: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[float, list[float]]:
    """Bias and weights of the logistic model, by Newton's method; `_RIDGE` keeps the weights of rare features small."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    x = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    ridge = _RIDGE * np.diag([0.0] + [1.0] * features.shape[1])
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge, x.T @ (p - labels) + ridge @ w)
        w -= step
        if np.abs(step).max() < 1e-8:
            break
    weights = w[1:] / spread
    return float(w[0] - weights @ mean), weights.tolist()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.turns", description=__doc__.splitlines()[0])
    parser.add_argument("--legs", type=int, default=30, help="a language, of some 70 s each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    legs = draw_legs(Split.TRAINING, options.legs, options.seed)
    print(f"{len(legs)} legs, {sum(len(leg.pcm) for leg in legs) / voices.SAMPLE_RATE_HZ:.0f} s", file=sys.stderr)
    with Engine.load(max_sessions=32) as engine:
        traces = record(legs, engine, CHUNK_MS)
    models = {}
    for known, (features, labels) in examples(traces, SmartTurn()).items():
        bias, weights = fit(features, labels)
        models[known] = {"bias": round(bias, 4), "weights": [round(weight, 4) for weight in weights]}
        print(f"{known}: {len(labels)} examples, {100 * labels.mean():.0f} % over", file=sys.stderr)
    options.output.write_text(json.dumps({"models": models}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except VoiceError as error:
        raise SystemExit(f"error: {error}") from None
