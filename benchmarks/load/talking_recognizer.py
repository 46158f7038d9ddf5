"""A recogniser that hears the same caller on every leg: sentences for the example bot, over and over, in media time."""

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.null_recognizer import NullRecognizer
from engine.api import SAMPLE_RATE_HZ, Hypothesis, LanguageSource, Session, SessionOptions, StepEvents, Word

CYCLE_S = 16.0
WORD_S = 0.32

SENTENCES = (
    (2.0, "Where is my order?"),
    (6.0, "My order number is 4712."),
    (9.0, "It is 8356."),
    (13.0, "No, that is not correct."),
)
"""The first comes into the greeting or the question, the last into the number that is read back: both interrupt.
Nothing is confirmed, so no bot hangs up."""

_WORDS = tuple((start + index * WORD_S, text) for start, line in SENTENCES for index, text in enumerate(line.split()))
_STAGGER_S = 0.37


@dataclass(slots=True)
class _Leg:
    """`ahead_s`: where in the cycle it begins, so that legs do not all speak at once."""

    ahead_s: float
    samples: int = 0
    said: int = 0


class TalkingRecognizer(NullRecognizer):
    def __init__(self) -> None:
        super().__init__()
        self._legs: dict[Session, _Leg] = {}

    def open(self, options: SessionOptions) -> Session:
        session = super().open(options)
        self._legs[session] = _Leg(len(self._legs) * _STAGGER_S % CYCLE_S)
        return session

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        super().push(session, pcm)
        self._legs[session].samples += pcm.size

    def close(self, session: Session) -> None:
        super().close(session)
        del self._legs[session]

    async def run(self, chunk_ms: int) -> None:
        """Steps, as an engine makes them: one batch of events for all legs. Until cancelled."""
        while True:
            await asyncio.sleep(chunk_ms / 1000)
            progress = {session: leg.samples / SAMPLE_RATE_HZ for session, leg in self._legs.items()}
            hypotheses = [one for session in self._legs for one in self._new_words(session, progress[session])]
            for callback in self._callbacks:
                callback(StepEvents(tuple(hypotheses), (), progress))

    def _new_words(self, session: Session, until_s: float) -> list[Hypothesis]:
        leg, found = self._legs[session], list[Hypothesis]()
        while True:
            cycle, index = divmod(leg.said, len(_WORDS))
            start, text = _WORDS[index]
            start += cycle * CYCLE_S + leg.ahead_s
            if start + WORD_S > until_s:
                return found
            word = Word(text, start, start + WORD_S, 0.9, "en-US", LanguageSource.DETECTED)
            found.append(Hypothesis(session, leg.said, (word,), False))
            leg.said += 1
