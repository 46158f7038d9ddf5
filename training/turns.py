"""The weights of turn detection: `python -m training.turns` writes `pipeline/turns/fusion.json`.

Generated legs go over generated telephone lines into Silero VAD, Smart Turn and the demo model; every frame of every
pause is an example, labelled with whether the turn was over by then, and trees are boosted for each set of things
known. Voices and sentences of the evaluation (`benchmarks.turns`) are not among them.
"""

import argparse
import json
import pickle
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from engine import Engine
from pipeline.turns import fusion
from pipeline.turns.models import SmartTurn
from training import turn_dialogues, turn_prompts, voices
from training.grammar import LOCALES
from training.turn_dialogues import Split
from training.turn_legs import Leg, Line
from training.turn_traces import Judge, Seen, Trace, record, watch
from training.voices import Voice, VoiceError

TARGET = Path(fusion.__file__).with_name("fusion.json")
CHUNK_MS = 160

_SHORTEST_S = 0.05
_WEIGHTS = ((0.5, 1.0), (1.2, 0.2), (inf, 0.05))
"""Of examples, by the pause so far, s."""

_TREES, _LEAVES = 80, 8
_ASKED_ONE_IN = 4


def draw_legs(split: Split, count: int, seed: int) -> list[Leg]:
    """`count` generated legs a language, and as many of telephone prompts where there are some."""
    legs = []
    for locale in LOCALES:
        for number in range(count):
            rng = random.Random(f"{split} {seed} {locale} {number}")
            line = list(Line)[number % len(Line)]
            legs.append(turn_dialogues.draw(split, locale, line, rng, _say))
            if locale in turn_prompts.FOLDERS:
                legs.append(turn_prompts.draw(split, locale, line, rng))
    return legs


@cache
def _say(voice: Voice, locale: str, text: str) -> NDArray[np.float32]:
    return voices.speak(voice, locale, text)


def load_traces(split: Split, count: int, seed: int, folder: Path | None) -> list[Trace]:
    """Legs drawn, heard and recognised; or, where `folder` has them, those of an earlier run."""
    kept = None if folder is None else folder / f"{split}-{count}-{seed}.pickle"
    if kept is not None and kept.exists():
        return list(pickle.loads(kept.read_bytes()))  # noqa: S301 - a file of our own
    legs = draw_legs(split, count, seed)
    print(f"{split}: {len(legs)} legs, {sum(len(leg.pcm) for leg in legs) / 16_000:.0f} s", file=sys.stderr)
    with Engine.load(max_sessions=32) as engine:
        traces = record(legs, engine, CHUNK_MS)
    if kept is not None:
        kept.write_bytes(pickle.dumps(traces))
    return traces


def is_over(leg: Leg, at_s: float) -> bool:
    """Whether at that time the leg's last turn is over."""
    before = [one for one in leg.speech if one.start_s <= at_s]
    return not before or (before[-1].ends_turn and at_s >= before[-1].end_s)


@dataclass(slots=True)
class Examples:
    """Of one set of things known: features (n, k), labels (n,), weights (n,)."""

    rows: list[list[float]] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def examples(traces: Sequence[Trace], smart: Judge | None) -> dict[str, Examples]:
    """By what is known. Early frames of a pause weigh most: there it is decided. Smart Turn, which takes long, is asked
    about one leg of `_ASKED_ONE_IN`."""
    found: dict[str, Examples] = defaultdict(Examples)
    for number, trace in enumerate(traces):
        for seen in _all_seen(trace, smart if number % _ASKED_ONE_IN == 0 else None):
            silence_s = seen.pause.silence_s
            if silence_s >= _SHORTEST_S:
                of_known = found[seen.pause.known]
                of_known.rows.append(fusion.features(seen.pause))
                of_known.labels.append(is_over(trace.leg, seen.now_s))
                of_known.weights.append(next(weight for until_s, weight in _WEIGHTS if silence_s < until_s))
    return dict(found)


def _all_seen(trace: Trace, smart: Judge | None) -> Iterator[Seen]:
    """With and without each of the parts; what is known before Smart Turn has answered is not taken twice."""
    for words in (True, False):
        if smart is not None:
            yield from (one for one in watch(trace, words=words, smart=smart) if one.pause.smart is not None)
        yield from watch(trace, words=words, asks=False)
    yield from watch(trace, hears=False, asks=False)


def fit(found: Examples) -> dict[str, Any]:
    """A model as `fusion.parse` reads it."""
    model = HistGradientBoostingClassifier(
        max_iter=_TREES,
        max_leaf_nodes=_LEAVES,
        learning_rate=0.08,
        min_samples_leaf=100,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=0,
    )
    model.fit(np.array(found.rows), np.array(found.labels), sample_weight=np.array(found.weights))
    trees = [[_node(node) for node in predictors[0].nodes] for predictors in model._predictors]
    return {"bias": round(float(model._baseline_prediction.item()), 4), "trees": trees}


def _node(node: Any) -> Any:
    """Of scikit-learn's tree."""
    if node["is_leaf"]:
        return round(float(node["value"]), 4)
    return [int(node["feature_idx"]), float(f"{node['num_threshold']:.5g}"), int(node["left"]), int(node["right"])]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.turns", description=__doc__.splitlines()[0])
    parser.add_argument("--legs", type=int, default=30, help="a language, of some 70 s each")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--traces", type=Path, help="folder that keeps traces for the next run")
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    traces = load_traces(Split.TRAINING, options.legs, options.seed, options.traces)
    models = {}
    for known, found in sorted(examples(traces, SmartTurn()).items()):
        models[known] = fit(found)
        print(f"{known}: {len(found.labels)} examples, {100 * np.mean(found.labels):.0f} % over", file=sys.stderr)
    lines = ",\n".join(f"{json.dumps(known)}: {json.dumps(model)}" for known, model in models.items())
    options.output.write_text(f'{{"models": {{\n{lines}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except VoiceError as error:
        raise SystemExit(f"error: {error}") from None
