"""What turn detection gets of a leg, once and for all: speech by frame, words by step, Smart Turn's answers.

With it the same leg is played to as many settings as an evaluation wants, each in the time of the state machine.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from engine import Engine, Session, SessionOptions, StepEvents
from pipeline.turns.alignment import FRAME_S, Alignment, Step
from pipeline.turns.config import TurnSettings
from pipeline.turns.fusion import Pause
from pipeline.turns.hearing import WINDOW, Frame, Hearing, hear
from pipeline.turns.machine import Turn, TurnMachine
from pipeline.turns.models import SileroVad
from training.turn_legs import Leg
from training.voices import SAMPLE_RATE_HZ

Judge = Callable[[NDArray[np.float32]], float]
"""Smart Turn: of float32 (T,), 16 kHz, the probability that the turn is complete."""

_AHEAD_S = 2.0
_ROWS = 32

PATIENT = TurnSettings(threshold=0.9999, eager_threshold=0.9999, min_turn_silence_ms=0, max_turn_silence_ms=2_400)
"""No turn ends before its pause has been seen whole."""

_SUREST = 0.999


@dataclass(frozen=True, slots=True)
class Seen:
    """An estimate that was asked for when the pause had gone on to `now_s`."""

    now_s: float
    pause: Pause
    probability: float


@dataclass(slots=True)
class Trace:
    """`frames`: what was heard. `steps`: (progress, hypotheses). `answers`: Smart Turn's, by the time asked about.
    `seconds`: time that the two models took."""

    leg: Leg
    chunk_s: float
    frames: list[Frame] = field(default_factory=list)
    steps: list[tuple[float, tuple[Step, ...]]] = field(default_factory=list)
    answers: dict[float, float] = field(default_factory=dict)
    vad_s: float = 0.0
    smart_s: float = 0.0

    def play(
        self,
        machine: TurnMachine,
        *,
        hears: bool = True,
        words: bool = True,
        smart: Judge | None = None,
    ) -> list[Turn]:
        """All turns. `smart`: computes answers that are not known yet."""
        alignment = Alignment(machine, self.chunk_s if words else float("inf"), hears=hears)
        turns: list[Turn] = []
        if words:
            for progress_s, steps in self.steps:
                turns += alignment.add_step(progress_s, steps)
            alignment.stop_writing()
        turns += alignment.add_frames(self.frames)
        while (question := alignment.question) is not None:
            turns += alignment.answer(question, self._answer(question, smart))
        return turns + alignment.close(len(self.leg.pcm) / SAMPLE_RATE_HZ)

    def _answer(self, question_s: float, smart: Judge | None) -> float | None:
        key = round(question_s, 3)
        if key not in self.answers and smart is not None:
            began = time.perf_counter()
            self.answers[key] = smart(self.leg.pcm[: round(question_s * SAMPLE_RATE_HZ)])
            self.smart_s += time.perf_counter() - began
        return self.answers.get(key)


def watch(
    trace: Trace,
    *,
    estimate: Callable[[Pause], float] = lambda _: 0.5,
    hears: bool = True,
    words: bool = True,
    asks: bool = True,
    smart: Judge | None = None,
) -> list[Seen]:
    """Everything that an estimate is asked for on this leg where no turn ends early. `smart`: computes the answers that
    are not known yet."""
    seen: list[Seen] = []

    def ask(pause: Pause) -> float:
        probability = min(estimate(pause), _SUREST)
        seen.append(Seen(machine.now_s, pause, probability))
        return probability

    machine = TurnMachine(PATIENT, ask, words=words, asks=asks)
    trace.play(machine, hears=hears, words=words, smart=smart)
    return seen


def record(legs: Sequence[Leg], engine: Engine, chunk_ms: int) -> list[Trace]:
    """The traces of all legs, without answers of Smart Turn."""
    traces = [Trace(leg, chunk_ms / 1000) for leg in legs]
    vad = SileroVad()
    for start in range(0, len(traces), _ROWS):
        listen(vad, traces[start : start + _ROWS])
    _recognize(traces, engine, chunk_ms)
    return traces


def listen(vad: SileroVad, traces: Sequence[Trace]) -> None:
    """Fill in `frames`."""
    began = time.perf_counter()
    windows = [trace.leg.pcm[: len(trace.leg.pcm) // WINDOW * WINDOW].reshape(-1, WINDOW) for trace in traces]
    for trace, frames in zip(traces, hear(vad, [(Hearing(), one) for one in windows]), strict=True):
        trace.frames = frames
        trace.vad_s = (time.perf_counter() - began) / len(traces)


def _recognize(traces: Sequence[Trace], engine: Engine, chunk_ms: int) -> None:
    """Fill in `steps`. The engine is given a bounded time ahead of what it has consumed."""
    events: SimpleQueue[StepEvents] = SimpleQueue()
    engine.subscribe(events.put)
    waiting = iter(traces)
    running: dict[Session, tuple[Trace, Iterator[NDArray[np.float32]], list[float]]] = {}

    def feed(session: Session) -> None:
        _, pieces, (given_s, consumed_s) = running[session]
        while given_s - consumed_s < _AHEAD_S:
            piece = next(pieces, None)
            if piece is None:
                if given_s != float("inf"):
                    engine.close(session)
                    running[session][2][0] = float("inf")
                return
            engine.push(session, piece)
            given_s += piece.size / SAMPLE_RATE_HZ
            running[session][2][0] = given_s

    def fill() -> None:
        while len(running) < _ROWS and (trace := next(waiting, None)) is not None:
            session = engine.open(SessionOptions(chunk_ms, "auto"))
            running[session] = trace, iter(np.array_split(trace.leg.pcm, len(trace.leg.pcm) // 8_000 + 1)), [0.0, 0.0]
            feed(session)

    fill()
    while running:
        batch = events.get(timeout=120)
        written: dict[Session, list[Step]] = {}
        for hypothesis in batch.hypotheses:
            written.setdefault(hypothesis.session, []).append((hypothesis.first, hypothesis.words))
        for session in {*written, *batch.progress} & running.keys():
            trace, _, times = running[session]
            times[1] = batch.progress.get(session, times[1])
            trace.steps.append((times[1], tuple(written.get(session, ()))))
        for session in batch.progress.keys() & running.keys():
            feed(session)
        for session in batch.closed:
            running.pop(session, None)
        fill()
    engine.unsubscribe(events.put)


assert FRAME_S * SAMPLE_RATE_HZ == WINDOW
