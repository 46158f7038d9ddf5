"""Turn detection of all legs: two models on two threads, shared, and what happens where they fail or are slow.

Chain: the tick's audio (`tap`) -> `LegTurns` -> one batch of windows of all legs on the hearing thread -> alignment
with the recogniser's words -> machine -> records. A question to Smart Turn goes to the judging thread. There is one
batch of windows under way, the rest waits with its leg; of questions `MAX_QUESTIONS` wait, and one more goes
unanswered.

Turns never hold up a call and never fail one. A model that raises is not used any more, and one that is too slow for a
leg is not used for that leg: it goes on with words alone, which is said once and counted.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.api import Hypothesis, Session
from pipeline.turns.alignment import ANSWER_S, Alignment
from pipeline.turns.config import TurnConfig, TurnModels, TurnSettings
from pipeline.turns.fusion import Fusion, shipped
from pipeline.turns.hearing import Frame, Vad, hear
from pipeline.turns.leg import AHEAD_S, JUDGED_S, LegTurns
from pipeline.turns.machine import Turn, TurnMachine
from pipeline.turns.overlap import Over
from supervision import one_line

logger = logging.getLogger(__name__)

SLOW_S = 3.0
"""Audio that waits longer to be heard, by the clock, is heard no more."""

STALLS_S = 0.25
"""Time between two looks for legs whose audio has stopped."""

ANSWER_TIMEOUT_S = 1.0
MAX_QUESTIONS = 8
_KEPT_S = JUDGED_S + AHEAD_S + ANSWER_S + 0.5

Judge = Callable[[NDArray[np.float32]], float]


@dataclass(slots=True)
class TurnStats:
    """Counters since the start. `windows`: of 32 ms, heard. `hearing_s`, `judging_s`: time that the models took.
    `questions`: to Smart Turn; `unanswered`: of those, too late or too many. `words_alone`: legs that lost the models
    on their way, or never had them. `faults`: errors of the models. `late_finals`: turns whose last words the
    recogniser had not confirmed in time; they ended with those known by then."""

    turns: int = 0
    windows: int = 0
    hearing_s: float = 0.0
    questions: int = 0
    unanswered: int = 0
    late_finals: int = 0
    judging_s: float = 0.0
    words_alone: int = 0
    faults: int = 0


class TurnDetector:
    """Of one process; all methods on the event loop's thread. `load_vad`, `load_judge`: make the models, on their
    threads, when the first leg needs them; None: there are none."""

    def __init__(
        self,
        config: TurnConfig,
        *,
        load_vad: Callable[[], Vad] | None = None,
        load_judge: Callable[[], Judge] | None = None,
        fusion: Fusion | None = None,
    ) -> None:
        self.config = config
        self.stats = TurnStats()
        self._fusion = fusion or shipped()
        self._hears = load_vad is not None
        self._asks = load_vad is not None and load_judge is not None
        self._vad = _Lazy(load_vad)
        self._judge = _Lazy(load_judge)
        self._legs: dict[Session, LegTurns] = {}
        self._due: dict[LegTurns, None] = {}
        self._asking: dict[LegTurns, None] = {}
        self._settled = asyncio.Event()
        self._hearing = ThreadPoolExecutor(1, "turns-hearing")
        self._judging = ThreadPoolExecutor(1, "turns-judging")
        self._is_hearing = False
        self._has_told_slow = False
        self._now = self._looked_at = time.monotonic()

    @classmethod
    def installed(cls, config: TurnConfig) -> "TurnDetector | None":
        """With the models that `config` asks for, as far as they are installed and the fusion goes by them; says in one
        line what is missing. None where turns are off."""
        if config.models is TurnModels.OFF:
            return None
        if config.models is TurnModels.WORDS:
            return cls(config)
        missing = [name for name in ("onnxruntime", "pipecat") if find_spec(name) is None]
        if missing:
            logger.warning(
                "turns go by words alone: %s is not installed (pip install 'trunkline[turns]')", " and ".join(missing)
            )
            return cls(config)
        return cls(config, load_vad=_load("SileroVad"), load_judge=_load("SmartTurn") if shipped().asks else None)

    def open(
        self,
        session: Session,
        settings: TurnSettings,
        publish: Callable[[Sequence[Turn]], None],
        over: Over = lambda _: None,
        on_stall: Callable[[], None] = lambda: None,
    ) -> None:
        """Detect the turns of a leg. `publish`: takes those that come of audio. `over`: who had the word at a time of
        this session. `on_stall`: called where a turn is open and no audio comes, by the clock, for as long as its
        longest pause: with no audio there is no media time that could end it."""
        has_words = self.config.models is not TurnModels.VAD or not self._hears
        machine = TurnMachine(settings, self._fusion, words=has_words, asks=self._asks and has_words, over=over)
        step_s = session.chunk_ms / 1000
        alignment = Alignment(machine, step_s if has_words else float("inf"), hears=self._hears)
        leg = LegTurns(alignment, publish, _KEPT_S + step_s if self._asks and has_words else 0.0)
        leg.on_stall, leg.patience_s, leg.pushed_at = on_stall, settings.max_turn_silence_ms / 1000, self._now
        if not self._hears:
            self.stats.words_alone += 1
        self._legs[session] = leg

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        """Audio that goes to the recogniser; float32 (T,), 16 kHz, not changed afterwards."""
        leg = self._legs.get(session)
        if leg is None:
            return
        leg.pushed_at = self._now
        if not leg.push(pcm):
            self._give_up(leg, "more audio waits than is kept")
        elif leg.hears and leg not in self._due and leg.is_due:
            self._wait_for(leg)

    def tick(self) -> None:
        """Once for each tick of audio: begin what is due, give up what is late."""
        self._now = now = time.monotonic()
        if now - self._looked_at > STALLS_S:
            self._looked_at = now
            for leg in [leg for leg in self._legs.values() if leg.has_stalled(now)]:
                leg.pushed_at = inf
                leg.on_stall()
        if self._due and now - (next(iter(self._due)).waiting_since or now) > SLOW_S:
            for leg in [leg for leg in self._due if now - (leg.waiting_since or now) > SLOW_S]:
                self._give_up(leg, "voice activity detection is too slow")
        for leg in [leg for leg in self._asking if now - (leg.asked_at or now) > ANSWER_TIMEOUT_S]:
            self._unanswered(leg)
        self._hear()

    def write(self, session: Session, progress_s: float | None, hypotheses: Sequence[Hypothesis]) -> list[Turn]:
        """What a step of the recogniser brought, in session time, and how far it has come; None: no further than it
        was. Returns the turns that follow from it."""
        leg = self._legs.get(session)
        if leg is None:
            return []
        turns = leg.step(progress_s, hypotheses)
        self._count(turns)
        if leg.hears and leg not in self._due and leg.is_due:
            self._wait_for(leg)
        self._ask(leg)
        return turns

    def has_the_word(self, session: Session, at_s: float) -> bool:
        """Whether this leg's speaker had begun before a time of its session, and went on after it."""
        leg = self._legs.get(session)
        return leg is not None and leg.alignment.machine.stretches.has_the_word(at_s)

    def interrupt(self, session: Session) -> list[Turn]:
        """The leg stands still, as on hold: no turn stays open."""
        leg = self._legs.get(session)
        turns = [] if leg is None else leg.interrupt()
        self._count(turns)
        return turns

    async def finish(self, session: Session, timeout_s: float) -> list[Turn]:
        """The leg's audio and words are complete: its last turns, once all of it was heard, or after `timeout_s`."""
        leg = self._legs.get(session)
        if leg is None:
            return []
        turns = leg.stop_writing()
        self._ask(leg)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not leg.settled:
                    if leg not in self._due and leg.is_due:
                        self._wait_for(leg)
                    self._hear()
                    self._settled.clear()
                    await self._settled.wait()
        self._forget(session, leg)
        turns += leg.close()
        self._count(turns)
        return turns

    def close(self) -> None:
        """End the threads; what they are at is let go."""
        self._hearing.shutdown(wait=False, cancel_futures=True)
        self._judging.shutdown(wait=False, cancel_futures=True)

    def _forget(self, session: Session, leg: LegTurns) -> None:
        self._legs.pop(session, None)
        self._due.pop(leg, None)
        self._asking.pop(leg, None)

    def _wait_for(self, leg: LegTurns) -> None:
        leg.waiting_since = time.monotonic()
        self._due[leg] = None

    def _hear(self) -> None:
        """Begin a batch of all that is due, unless one is under way."""
        if self._is_hearing or not self._due:
            return
        self._is_hearing = True
        legs = [(leg, leg.take()) for leg in self._due]
        self._due.clear()
        job = self._hearing.submit(self._run_hearing, legs)
        loop = asyncio.get_running_loop()
        job.add_done_callback(lambda done: _on_loop(loop, self._heard, legs, done))

    def _run_hearing(self, legs: list[tuple[LegTurns, NDArray[np.float32]]]) -> tuple[list[list[Frame]], float]:
        vad = self._vad.get()
        began = time.perf_counter()
        return hear(vad, [(leg.hearing, windows) for leg, windows in legs]), time.perf_counter() - began

    def _heard(self, legs: list[tuple[LegTurns, NDArray[np.float32]]], job: Any) -> None:
        self._is_hearing = False
        if job.cancelled():
            return
        if (error := job.exception()) is not None:
            self._lose_hearing(error)
        else:
            heard, seconds = job.result()
            self.stats.hearing_s += seconds
            for (leg, windows), frames in zip(legs, heard, strict=True):
                self.stats.windows += len(frames)
                leg.waiting_since = None
                if leg.hears and not leg.closed:
                    self._publish(leg, leg.heard(windows, frames))
                    if leg not in self._due and leg.is_due:
                        self._wait_for(leg)
                    self._ask(leg)
        self._settled.set()
        self._hear()

    def _ask(self, leg: LegTurns) -> None:
        """Pass the leg's question on, if it has a new one."""
        question_s = leg.alignment.question
        if question_s is None:
            self._asking.pop(leg, None)
            leg.asked_s = None
            return
        if question_s == leg.asked_s:
            return
        self.stats.questions += 1
        leg.asked_s, leg.asked_at = question_s, time.monotonic()
        if len(self._asking) >= MAX_QUESTIONS:
            self._unanswered(leg)
            return
        self._asking[leg] = None
        job = self._judging.submit(self._run_judge, leg.judged(question_s))
        loop = asyncio.get_running_loop()
        job.add_done_callback(lambda done: _on_loop(loop, self._judged, leg, question_s, done))

    def _run_judge(self, pcm: NDArray[np.float32]) -> tuple[float, float]:
        judge = self._judge.get()
        began = time.perf_counter()
        return judge(pcm), time.perf_counter() - began

    def _judged(self, leg: LegTurns, question_s: float, job: Any) -> None:
        if job.cancelled():
            return
        if (error := job.exception()) is not None:
            self._lose_judge(error)
        else:
            probability, seconds = job.result()
            self.stats.judging_s += seconds
            self._asking.pop(leg, None)
            if not leg.closed:
                self._publish(leg, leg.alignment.answer(question_s, probability))
                self._ask(leg)
        self._settled.set()

    def _unanswered(self, leg: LegTurns) -> None:
        self._asking.pop(leg, None)
        self.stats.unanswered += 1
        if leg.asked_s is not None:
            self._publish(leg, leg.alignment.answer(leg.asked_s, None))
        self._settled.set()

    def _give_up(self, leg: LegTurns, why: str) -> None:
        """On with words alone."""
        self._due.pop(leg, None)
        self._asking.pop(leg, None)
        if not self._has_told_slow:
            self._has_told_slow = True
            logger.warning("turns of a leg go by words alone: %s (said once; counted as words_alone)", why)
        self.stats.words_alone += 1
        self._publish(leg, leg.stop_hearing())

    def _lose_hearing(self, error: BaseException) -> None:
        self.stats.faults += 1
        self._hears = self._asks = False
        self._due.clear()
        self._asking.clear()
        logger.error("turns go by words alone from here on: voice activity detection failed: %s", one_line(error))
        for leg in self._legs.values():
            if leg.hears:
                self.stats.words_alone += 1
                self._publish(leg, leg.stop_hearing())

    def _lose_judge(self, error: BaseException) -> None:
        self.stats.faults += 1
        if not self._asks:
            return
        self._asks = False
        self._asking.clear()
        logger.error("turns go without Smart Turn from here on: it failed: %s", one_line(error))
        for leg in self._legs.values():
            self._publish(leg, leg.alignment.stop_asking())

    def _publish(self, leg: LegTurns, turns: Sequence[Turn]) -> None:
        if turns:
            self._count(turns)
            leg.publish(turns)

    def _count(self, turns: Sequence[Turn]) -> None:
        self.stats.turns += sum(turn.event == "EndOfTurn" for turn in turns)


class _Lazy:
    """Made on the thread that uses it, the first time."""

    def __init__(self, load: Callable[[], Any] | None) -> None:
        self._load = load
        self._made: Any = None

    def get(self) -> Any:
        if self._made is None and self._load is not None:
            self._made = self._load()
        return self._made


def _load(name: str) -> Callable[[], Any]:
    """A class of `models`, which imports ONNX Runtime, not before it is used."""

    def load() -> Any:
        return getattr(import_module("pipeline.turns.models"), name)()

    return load


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: there are no calls any more
        loop.call_soon_threadsafe(call, *arguments)
