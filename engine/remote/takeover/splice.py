"""Where an engine that takes over begins, and where its words are joined to those published before. Pure.

The idea
--------
The state of a session is lost with its engine. The successor gets the last seconds of audio again and writes their
words a second time: nearly the same ones. Times move by a frame or two, a word that was cut in half is misread, a word
at the end may differ because the lost engine had not settled it. So the transcript is cut once, at the splice. Words
before it stay as they were published. Words of the successor from the splice on replace all that was published after
it. Three decisions, a function each:

1. `find_splice`: before which word? Where nothing can change any more, which is after the last word whose language is
   `DETECTED`: its tag was written, and a tag ends a sentence. Where the audio does not reach back to that place, after
   the last word that a pause of `PAUSE_S` follows; failing that, before the oldest word within the audio. Words of a
   final that ran ahead of the session (`sure`) may be taken back, so the splice is not after one of them.
2. `find_start`: from which sample is audio sent? From a pause, at least `_WARM_UP_S` before the splice. Begun inside a
   word the model may write nonsense or, worse, nothing for a whole sentence; begun at the splice it lacks what came
   before (docs/decisions/engine.md has the measurement).
3. `find_join`: how many of the successor's words lie before the splice? By time alone it may be wrong by one, as times
   move. Of the numbers possible within `_REACH_S`, the one under which most words near the splice agree.

Invariants: an index before the splice is never published again, so its word never changes. The start is never before
the oldest audio that is left.

Example
-------
    seconds     1    2    3    4    5    6    7    8    9    10   11
    published   [ a ]          [   b    ][     c      ]    [  d  ]
    language    DETECTED       DETECTED  DETECTED          CARRIED
                         ^                               ^
                         start: 3.0                      splice: word 3, at 9.5

The tag came after c, so word 3 is the first that may change; the splice is in the middle of the pause before it. The
pause before d is too near, that between b and c too short, so the successor begins in the one after a. It writes b', c'
and d': two words lie before the splice, and d' becomes word 3. Where d' equals d nobody learns of the change
(`transcript`).

The model's tags: the card of nvidia/nemotron-3.5-asr-streaming-0.6b.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.api import LanguageSource, Word

PAUSE_S = 0.48
"""Time between two words in which a splice may stand."""

_WARM_UP_S = 4.0
"""Audio sent from before the splice, at least."""

_COLD_WARM_UP_S = 6.0
"""Audio sent from before the splice where there is no pause to begin in."""

_QUIET_S = 0.4
"""The shortest pause to begin in. The place is in its middle, or a second before its end where that is later, and
half of this after its beginning at least."""

_MARGIN_S = 1.0
"""The oldest audio is cut anywhere: words of its first second are not trusted."""

_REACH_S = 0.4
"""How far a word may have moved when it is written again."""

_COMPARED = 4
"""Words on each side of a splice that are compared."""


@dataclass(frozen=True, slots=True)
class Splice:
    """Before the word with index `index`, at `at_s` seconds of the session."""

    index: int
    at_s: float


def find_splice(words: Sequence[Word], base: int, sure: int, consumed_s: float, oldest_s: float) -> Splice:
    """The latest good place. `words`: those published, from index `base` on; `sure`: how many of them do not come from
    a final that ran ahead; `consumed_s`: media time they were written from; `oldest_s`: media time of the oldest audio,
    0 where all is there."""
    low = oldest_s + _MARGIN_S if oldest_s > 0 else 0.0
    settled = [k for k, word in enumerate(words[:sure], 1) if word.language_source is LanguageSource.DETECTED]
    starts = [*(word.start for word in words), consumed_s]
    pauses = [k for k, word in enumerate(words[:sure], 1) if starts[k] - word.end >= PAUSE_S]
    for places in (settled, pauses):
        if places and (at_s := _place(words, places[-1], consumed_s)) >= low:
            return Splice(base + places[-1], at_s)
    index = next((k for k, word in enumerate(words) if word.start >= low), len(words))
    return Splice(base + index, _place(words, index, consumed_s) if index < len(words) else max(low, _end(words)))


def _place(words: Sequence[Word], index: int, consumed_s: float) -> float:
    """Time between the words `index` - 1 and `index`."""
    end = _end(words[:index])
    if index < len(words):
        return max(min((end + words[index].start) / 2, words[index].start), 0.0)
    return max(end, (end + consumed_s) / 2, consumed_s - PAUSE_S)


def _end(words: Sequence[Word]) -> float:
    return words[-1].end if words else 0.0


def find_start(words: Sequence[Word], base: int, consumed_s: float, oldest_s: float, splice: Splice) -> float:
    """Where to begin, in seconds: 0 is the beginning of the session. `words`: those published, from index `base` on;
    `consumed_s`: media time they were written from; `oldest_s`: media time of the oldest audio, 0 where all is there.
    """
    limit = splice.at_s - _WARM_UP_S
    ends = [word.end for word in words]
    starts = [word.start for word in words] + [max(consumed_s, *ends[-1:], 0.0)]
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
    return max(splice.at_s - _COLD_WARM_UP_S, oldest_s)


def find_join(published: Sequence[Word], index: int, renewed: Sequence[Word], at_s: float) -> int:
    """How many of the words `renewed`, a successor's, lie before the splice, which is at index `index` of `published`
    and at `at_s`.

    It is the place near `at_s` with most words around it the same, by text and, within a few frames, by time.
    """
    by_time = sum(word.start < at_s for word in renewed)
    low = sum(word.start < at_s - _REACH_S for word in renewed)
    high = sum(word.start < at_s + _REACH_S for word in renewed)

    def agreement(join: int) -> tuple[int, int]:
        before = zip(reversed(published[max(index - _COMPARED, 0) : index]), reversed(renewed[:join]), strict=False)
        after = zip(published[index : index + _COMPARED], renewed[join : join + _COMPARED], strict=False)
        same = sum(_same(one, other) for pair in (before, after) for one, other in pair)
        return same, -abs(join - by_time)

    return max(range(low, high + 1), key=agreement)


def _same(one: Word, other: Word) -> bool:
    return one.text == other.text and abs(one.start - other.start) <= _REACH_S
