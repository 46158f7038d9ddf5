"""The probability that a speaker in a pause has finished, from all that is known of the pause.

A logistic model for each set of things known: what is not known is no zero among the features, but another model. The
weights are data (`fusion.json`, written by `python -m training.turns`). Time is a feature, as the logarithm of the
pause so far and its products with the others: the model answers anew with every frame, and a pause that goes on makes
an end likelier, faster after a full stop than after "and".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, log

from pipeline.turns.phrase import Phrase

_SHORTEST_S, _LONGEST_S = 0.05, 3.0
_LOGIT_LIMIT = 6.0


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in a turn. `silence_s`: so far. `speech_s`: from the turn's begin to the pause. `vad`: the pause was
    heard, and does not only follow from words that stay away. `phrase`: the words of the turn, where there is a
    recogniser. `smart`: Smart Turn's probability that the turn is complete, where it was asked and has answered."""

    silence_s: float
    speech_s: float
    vad: bool
    phrase: Phrase | None
    smart: float | None

    @property
    def known(self) -> str:
        """Names the model that is for it."""
        parts = (("vad", self.vad), ("smart", self.smart is not None), ("words", self.phrase is not None))
        return "+".join(name for name, has in parts if has)


def features(pause: Pause) -> list[float]:
    """In the order in which the weights stand. `speech_end` is by ear or, without, the end of the last word."""
    time = log(min(max(pause.silence_s, _SHORTEST_S), _LONGEST_S))
    values = [time, log(min(max(pause.speech_s, 0.1), 30.0))]
    if pause.smart is not None:
        logit = _logit(pause.smart)
        values += [logit, logit * time]
    if pause.phrase is not None:
        values += _of_words(pause.phrase, time)
    return values


def _of_words(phrase: Phrase, time: float) -> list[float]:
    silent = float(phrase.count == 0)
    number = log(1 + phrase.digits)
    flags = [float(phrase.terminal), float(phrase.comma), float(phrase.filler), float(phrase.unfinished)]
    in_number = float(phrase.digits > 0)
    plain = [silent, log(1 + min(phrase.count, 20)), *flags, in_number, number, in_number * flags[0]]
    return [*plain, silent * time, *(flag * time for flag in flags), in_number * time]


@dataclass(frozen=True, slots=True)
class Logistic:
    """`weights`: one for each of `features`, of pauses of which the same is known."""

    bias: float
    weights: tuple[float, ...]

    def __call__(self, values: Sequence[float]) -> float:
        score = self.bias + sum(weight * value for weight, value in zip(self.weights, values, strict=True))
        return 1 / (1 + exp(-min(max(score, -30.0), 30.0)))


@dataclass(frozen=True, slots=True)
class Fusion:
    """`models`: by `Pause.known`."""

    models: dict[str, Logistic]

    def __call__(self, pause: Pause) -> float:
        """In (0, 1)."""
        return self.models[pause.known](features(pause))


@cache
def shipped() -> Fusion:
    """The weights of this release."""
    return parse((files("pipeline.turns") / "fusion.json").read_bytes())


def parse(data: bytes) -> Fusion:
    """Of what `python -m training.turns` wrote."""
    models = json.loads(data)["models"]
    return Fusion({known: Logistic(model["bias"], tuple(model["weights"])) for known, model in models.items()})


def _logit(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1 - 1e-6)
    return min(max(log(inside / (1 - inside)), -_LOGIT_LIMIT), _LOGIT_LIMIT)
