"""Where an engine that takes over begins, and where its words are joined to those told before. Pure.

The words before the seam stay as they were told; what the new engine says from the seam on replaces the rest. A seam
stands where nothing can change any more: after the last word that a language tag was written for. Where no tag came
within the audio that is left, it stands in the last pause, and where there is none, at the oldest word.

The new engine begins in a pause some seconds before the seam. Begun in a word it may write nonsense or, worse, nothing
for a whole sentence; begun at the seam it lacks what came before (docs/decisions/engine.md has the measurement).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.api import LanguageSource, Word

PAUSE_S = 0.48
"""Time between two words in which a seam may stand."""

_WARM_UP_S = 4.0
"""Audio heard before the seam, at least."""

_COLD_WARM_UP_S = 6.0
"""The same where there is no pause to begin in."""

_QUIET_S = 0.4
"""A pause to begin in, and how long it still lasts then is half of it or up to a second."""

_MARGIN_S = 1.0
"""What is heard of the oldest audio, cut anywhere, is not trusted for this long."""

_REACH_S = 0.4
"""How far a word may have moved when it is heard again."""

_COMPARED = 4
"""Words on each side of a seam that must agree."""


@dataclass(frozen=True, slots=True)
class Seam:
    """Before the word with index `index`, at `at_s` seconds of the session."""

    index: int
    at_s: float


def find_seam(words: Sequence[Word], base: int, sure: int, heard_s: float, oldest_s: float) -> Seam:
    """The latest good place. `words`: those told, from index `base` on; `sure`: how many of them do not come from a
    final that ran ahead; `heard_s`: media time they were told from; `oldest_s`: media time of the oldest audio, 0 where
    all is there."""
    low = oldest_s + _MARGIN_S if oldest_s > 0 else 0.0
    settled = [k for k, word in enumerate(words[:sure], 1) if word.language_source is LanguageSource.DETECTED]
    starts = [*(word.start for word in words), heard_s]
    pauses = [k for k, word in enumerate(words[:sure], 1) if starts[k] - word.end >= PAUSE_S]
    for places in (settled, pauses):
        if places and (at_s := _place(words, places[-1], heard_s)) >= low:
            return Seam(base + places[-1], at_s)
    index = next((k for k, word in enumerate(words) if word.start >= low), len(words))
    return Seam(base + index, _place(words, index, heard_s) if index < len(words) else max(low, _end(words)))


def _place(words: Sequence[Word], index: int, heard_s: float) -> float:
    """Time between the words `index` - 1 and `index`."""
    end = _end(words[:index])
    if index < len(words):
        return max(min((end + words[index].start) / 2, words[index].start), 0.0)
    return max(end, (end + heard_s) / 2, heard_s - PAUSE_S)


def _end(words: Sequence[Word]) -> float:
    return words[-1].end if words else 0.0


def find_start(words: Sequence[Word], base: int, heard_s: float, oldest_s: float, seam: Seam) -> float:
    """Where to begin, in seconds: 0 is the beginning of the session. Arguments like those of `find_seam`."""
    limit = seam.at_s - _WARM_UP_S
    ends = [word.end for word in words]
    starts = [word.start for word in words] + [max(heard_s, *ends[-1:], 0.0)]
    if base == 0:
        ends.insert(0, 0.0)
    else:
        starts.pop(0)
    for end, start in zip(reversed(ends), reversed(starts), strict=True):
        at_s = min(limit, max((end + start) / 2, start - 1.0))
        if start - end >= _QUIET_S and at_s >= max(end + _QUIET_S / 2, oldest_s):
            return at_s
    if base == 0 and oldest_s == 0 and limit <= _COLD_WARM_UP_S:
        return 0.0
    return max(seam.at_s - _COLD_WARM_UP_S, oldest_s)


def find_join(told: Sequence[Word], seam: int, heard: Sequence[Word], at_s: float) -> int:
    """How many of the words `heard` anew lie before the seam, which is at index `seam` of `told` and at `at_s`.

    It is the place near `at_s` with most words around it the same, by text and, within a few frames, by time.
    """
    by_time = sum(word.start < at_s for word in heard)
    low = sum(word.start < at_s - _REACH_S for word in heard)
    high = sum(word.start < at_s + _REACH_S for word in heard)

    def agreement(join: int) -> tuple[int, int]:
        before = zip(reversed(told[max(seam - _COMPARED, 0) : seam]), reversed(heard[:join]), strict=False)
        after = zip(told[seam : seam + _COMPARED], heard[join : join + _COMPARED], strict=False)
        same = sum(_same(one, other) for pair in (before, after) for one, other in pair)
        return same, -abs(join - by_time)

    return max(range(low, high + 1), key=agreement)


def _same(one: Word, other: Word) -> bool:
    return one.text == other.text and abs(one.start - other.start) <= _REACH_S
