"""Words that the answer to a `finalize` brings before the session itself has written them.

The answer is written by a clone of the session that was flushed with silence (`engine.sessions.transcript`). It brings
the last words some hundred milliseconds early, and a full stop perhaps that the speaker did not mean. Turns do not go
by it: else the same recording, pushed faster, would have others, and a question about the end of a turn would answer
itself. So each word of an answer is held back until the session's own steps have come to it.

The invariant: what was let out, with what is held back written over it, is what the recogniser has reported.
"""

from collections.abc import Sequence

from engine.api import SAMPLE_RATE_HZ, Hypothesis, Word, replace_from
from engine.chunking import FRAME, WINDOW

Step = tuple[int, tuple[Word, ...]]

WRITTEN_S = (FRAME - WINDOW // 2) / SAMPLE_RATE_HZ
"""A step that has consumed `p` seconds has written the words that end up to `p + WRITTEN_S`."""

_EPSILON_S = 1e-6


class WordsAhead:
    """Of one session; times are session time."""

    def __init__(self) -> None:
        self._first = 0
        self._held: list[Word] = []
        self._progress_s = 0.0

    def take(self, progress_s: float | None, hypotheses: Sequence[Hypothesis]) -> list[Step]:
        """What a step of the recogniser brought, and how far it has come, None: no further than it was. Returns what
        the session has written of it, and of what was held back."""
        if not self._held and not any(one.is_final for one in hypotheses):
            self._progress_s = self._progress_s if progress_s is None else progress_s
            return [(one.first, one.words) for one in hypotheses]
        steps: list[Step] = []
        for one in hypotheses:
            if one.is_final:
                steps += self._hold(one.first, one.words)
            else:
                steps += self._let_out(one.first - self._first)
                self._held.clear()
                steps.append((one.first, one.words))
        if progress_s is not None:
            self._progress_s = progress_s
        limit_s = self._progress_s + WRITTEN_S + _EPSILON_S
        count = next((k for k, word in enumerate(self._held) if word.end > limit_s), len(self._held))
        return steps + self._let_out(count)

    def take_all(self) -> list[Step]:
        """No step comes any more, or none is waited for."""
        return self._let_out(len(self._held))

    def _hold(self, first: int, words: tuple[Word, ...]) -> list[Step]:
        if self._held and first >= self._first:
            replace_from(self._held, first, words, self._first)
            return []
        self._first, self._held = first, list(words)
        return [] if words else [(first, ())]

    def _let_out(self, count: int) -> list[Step]:
        words = tuple(self._held[: max(count, 0)])
        if not words:
            return []
        step = self._first, words
        del self._held[: len(words)]
        self._first += len(words)
        return [step]
