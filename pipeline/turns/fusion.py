"""The probability that a speaker in a pause has finished, from all that is known of the pause.

Boosted trees for each set of things known: a pause that was heard, the words, or both. Smart Turn's answer, where it
was asked and has answered, is a feature among the others. The trees are data (`fusion.json`, written by
`python -m training.turns`). Time is a feature: the model answers anew with every frame, and a pause that goes on makes
an end likelier.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp

from pipeline.turns.phrase import Phrase
from pipeline.turns.pitch import Contour

_ANSWER = 12
NO_ANSWER = -1.0
"""In the place of Smart Turn's answer."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in a turn. `silence_s`: so far. `speech_s`: from the turn's begin to the pause. `contour`: how the speech
    before it ended; None where the pause was not heard, but only follows from words that stay away. `phrase`: the words
    of the turn, where there is a recogniser; `since_word_s`: since the end of the last of them. `smart`: Smart Turn's
    probability that the turn is complete, where it was asked and has answered."""

    silence_s: float
    speech_s: float
    contour: Contour | None = None
    phrase: Phrase | None = None
    since_word_s: float = 0.0
    smart: float | None = None

    @property
    def known(self) -> str:
        """Names the model that is for it."""
        parts = (("vad", self.contour is not None), ("words", self.phrase is not None))
        return "+".join(name for name, has in parts if has)


def features(pause: Pause) -> list[float]:
    """In the order by which the trees name them."""
    values = [pause.silence_s, pause.speech_s]
    if pause.contour is not None:
        values += _of_contour(pause.contour)
        values.append(NO_ANSWER if pause.smart is None else pause.smart)  # number `_ANSWER`
    if pause.phrase is not None:
        values += _of_words(pause.phrase)
        values.append(pause.since_word_s)
    return values


def _of_contour(one: Contour) -> list[float]:
    melody = [one.last, one.lowest, one.relative, one.slope, one.long_slope]
    return [*melody, float(one.voiced), float(one.gap), float(one.run), one.level_db, one.level_slope]


def _of_words(one: Phrase) -> list[float]:
    ending = (one.terminal, one.comma, one.question, one.filler, one.unfinished, one.asks)
    counts = (one.count, one.in_sentence, one.digits)
    return [*map(float, ending), *map(float, counts), one.confidence, one.rate]


Node = tuple[int, float, int, int] | float
"""(feature, threshold, node where the feature is at most that, node where it is more), or the value of a leaf."""


@dataclass(frozen=True, slots=True)
class Trees:
    """`bias`, and what each tree adds to it, are log odds. A tree begins with its first node."""

    bias: float
    trees: tuple[tuple[Node, ...], ...]

    @property
    def used(self) -> set[int]:
        """Features that count."""
        return {node[0] for tree in self.trees for node in tree if isinstance(node, tuple)}

    def __call__(self, values: Sequence[float]) -> float:
        score = self.bias
        for tree in self.trees:
            node = tree[0]
            while isinstance(node, tuple):
                node = tree[node[2] if values[node[0]] <= node[1] else node[3]]
            score += node
        return 1 / (1 + exp(-min(max(score, -30.0), 30.0)))


@dataclass(frozen=True, slots=True)
class Fusion:
    """`models`: by `Pause.known`."""

    models: dict[str, Trees]

    @property
    def asks(self) -> bool:
        """Smart Turn's answer can change what it says."""
        return any(_ANSWER in tree.used for known, tree in self.models.items() if "vad" in known)

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
    return Fusion({known: Trees(model["bias"], tuple(map(_tree, model["trees"]))) for known, model in models.items()})


def _tree(nodes: Sequence[float | Sequence[float]]) -> tuple[Node, ...]:
    return tuple(_node(node) for node in nodes)


def _node(node: float | Sequence[float]) -> Node:
    if isinstance(node, int | float):
        return float(node)
    feature, threshold, left, right = node
    return int(feature), float(threshold), int(left), int(right)
