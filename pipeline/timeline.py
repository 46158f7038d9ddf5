"""What relates one leg's clocks: media time of the session, media time of the leg, arrival on the monotonic clock.

Session time counts the audio the recogniser was given; leg time counts the connector's `pts`. They differ only after
a gap too long to be filled with silence, from where leg time is ahead by the part that was left out.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from engine.api import Hypothesis, Word

MAX_ARRIVALS = 2_048  # 40 s of 20 ms packets: more than a recogniser may lag before its latency has lost all meaning
MAX_JUMPS = 64


class Timeline:
    """Bounded: the oldest arrivals and jumps are forgotten first, so a long call needs no more than a short one."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=MAX_ARRIVALS)
        self._jumps: deque[tuple[float, float]] = deque(maxlen=MAX_JUMPS)
        self._forgotten_s = 0.0
        self._last_arrival = 0.0

    def add(self, end_s: float, arrival: float) -> None:
        """Audio up to session time `end_s` arrived at `arrival`."""
        self._arrivals.append((end_s, arrival))
        self._last_arrival = arrival

    def jump(self, at_s: float, skipped_s: float) -> None:
        """Leg time runs ahead by another `skipped_s` from session time `at_s` on."""
        if len(self._jumps) == MAX_JUMPS:
            self._forgotten_s = self._jumps[0][1]
        total = self._jumps[-1][1] if self._jumps else self._forgotten_s
        self._jumps.append((at_s, total + skipped_s))

    def arrival_of(self, session_s: float) -> float:
        """When the audio at `session_s` arrived; asked with growing times only, and forgets all before it."""
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] < session_s - 1e-6:
            arrivals.popleft()
        return arrivals[0][1] if arrivals else self._last_arrival

    def leg_time(self, session_s: float) -> float:
        """Session time -> leg time."""
        for at_s, offset in reversed(self._jumps):
            if at_s < session_s:
                return session_s + offset
        return session_s + self._forgotten_s

    def session_time(self, leg_s: float) -> float:
        """Leg time -> session time; of a time that was left out, where it was."""
        for at_s, offset in reversed(self._jumps):
            if leg_s - offset > at_s:
                return leg_s - offset
            if leg_s > self.leg_time(at_s):
                return at_s
        return leg_s - self._forgotten_s

    def place(self, hypotheses: Sequence[Hypothesis]) -> Sequence[Hypothesis]:
        """The hypotheses with leg times in the place of session times."""
        if not self._jumps:
            return hypotheses
        return [replace(one, words=tuple(self._placed(word) for word in one.words)) for one in hypotheses]

    def _placed(self, word: Word) -> Word:
        end = self.leg_time(word.end)
        return replace(word, start=end - (word.end - word.start), end=end)
