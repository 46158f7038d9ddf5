"""At what clock the peer's timestamps really run, where that is not the one of the payload type.

G.722 is the known case: its timestamps are to count 8,000 a second although the audio has 16,000 samples (RFC 3551,
section 4.5.2), and some senders count those. Others count Opus by the rate of their microphone, or G.711 by that of
their mixer. Taken at their word, such timestamps put a pause before every packet, or have each overlap the last one.

What contradicts them: the sequence numbers, as nothing is missing; the length of the audio, to which the steps of the
timestamps keep one and the same ratio; and the time at which packets arrive. All three together set another clock,
`LEARN_PAIRS` packets after it shows. A real pause has arrival on its side, a loss the sequence numbers, another packet
length the ratio. A clock that was set is tested in the same way and given up when arrival contradicts it.

Example: packets of 20 ms, 160 units at the declared 8,000 a second, whose timestamps move by 320. Nothing is missing
between them and the ratio is 2 each time. After four steps the timestamps say 160 ms and the audio says 80 ms; 80 ms
have passed. From there on the clock is 16,000, and a step of 320 is 160 units of audio.

Sits below `media_time.MediaTime`, which asks only where a timestamp is not the one that was due, or the clock is in
doubt or another one.
"""

from dataclasses import dataclass

LEARN_PAIRS = 4
"""Packets in a row whose timestamps keep the same other ratio to the audio."""

CLOCKS_HZ = range(1_000, 192_001)
"""From milliseconds to the fastest that sound cards have; a faster one is no clock of audio."""

_APART_S = 0.08  # so much the two clocks must differ by then for arrival to decide between them
_TRIAL_S = 1.0  # so much they must differ for a clock that was set to be given up: more than networks stall
_MAX_PAIRS = 25  # a run that arrival does not support is begun anew
_ALIKE = 16  # ratios are the same within a sixteenth: some count by a timer


@dataclass(slots=True)
class _Run:
    """Packets since `began`, when the one before them came: how far timestamps moved, and how long the audio was."""

    began: float
    units: int = 0
    ticks: int = 0
    pairs: int = 0


class TimestampClock:
    """`declared`: units a second of the payload type, in which audio is measured; `rate`: those by which timestamps are
    taken to run. `doubted`: a run of packets speaks for another one, and too few yet."""

    def __init__(self, declared: int, rate: int | None = None) -> None:
        self.declared = declared
        self.rate = declared if rate is None else rate
        self._run: _Run | None = None
        self._pair = (0, 0)
        self._trial: _Run | None = None

    @property
    def doubted(self) -> bool:
        return self._run is not None

    @property
    def other(self) -> bool:
        """Whether timestamps run at another clock than the declared one."""
        return self.rate != self.declared

    def units(self, ticks: int) -> int:
        """Of audio."""
        return ticks if self.rate == self.declared else ticks * self.rate // self.declared

    def ticks(self, units: int) -> int:
        """Of a step of the timestamps; the remainder goes towards zero."""
        return units if self.rate == self.declared else int(units * self.declared / self.rate)

    def observe(self, moved: int, ticks: int, missing: int, before: float, arrival: float) -> bool:
        """A packet whose timestamp is `moved` units behind that of the last one, which held `ticks` of audio and came
        at `before`; `missing` were lost between the two. True: `rate` is another now, and is for this step already."""
        if ticks <= 0:
            return False
        changed = self.other and self._is_given_up(moved, ticks, missing, before, arrival)
        if missing:  # no ratio can be had of it; the time that it took counts
            if self._run is not None:
                self._run.units += moved
                self._run.ticks += ticks * (missing + 1)
            return changed
        if moved == self.units(ticks) or self.declared * moved // ticks not in CLOCKS_HZ:
            self._run = None
            return changed
        run = self._run
        if run is None or abs(moved * self._pair[1] - self._pair[0] * ticks) * _ALIKE > self._pair[0] * ticks:
            run = self._run = _Run(before)
            self._pair = moved, ticks
        run.units += moved
        run.ticks += ticks
        run.pairs += 1
        if run.pairs >= LEARN_PAIRS and self._arrival_agrees(run, arrival):
            self._set(round(self.declared * run.units / run.ticks), arrival)
            return True
        if run.pairs >= _MAX_PAIRS:
            self._run = None
        return changed

    def _arrival_agrees(self, run: _Run, arrival: float) -> bool:
        """That the audio took as long as it is, and not as long as the timestamps say."""
        said, took = run.units / self.rate, run.ticks / self.declared
        elapsed = arrival - run.began
        return abs(said - took) >= _APART_S and abs(elapsed - took) < abs(elapsed - said)

    def _is_given_up(self, moved: int, ticks: int, missing: int, before: float, arrival: float) -> bool:
        """The declared clock fits after all: at once where audio overlaps by the other one and does not by this."""
        if not missing and moved == ticks and self.rate > self.declared:
            self._set(self.declared, arrival)
            return True
        if abs(moved / self.rate - (arrival - before)) > _TRIAL_S:  # timestamps have jumped
            self._trial = None
            return False
        trial = self._trial
        if trial is None:
            trial = self._trial = _Run(before)
        trial.units += moved
        by_rate, declared = trial.units / self.rate, trial.units / self.declared
        if abs(by_rate - declared) < _TRIAL_S:
            return False
        self._trial = None
        elapsed = arrival - trial.began
        if abs(elapsed - by_rate) <= abs(elapsed - declared):
            return False
        self._set(self.declared, arrival)
        return True

    def _set(self, rate: int, arrival: float) -> None:
        self.rate = rate
        self._run, self._trial = None, _Run(arrival)
