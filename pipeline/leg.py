"""One leg of a call: from its connector's frames to its transcript records.

Chain: connector -> `Leg.push` -> intake (queue, tick, 16 kHz) -> recogniser session -> `update` -> segmenter ->
records. Turn detection takes the audio beside the recogniser, and its words; `finals` puts turns and segments in one
order. Everything here runs on the event loop's thread.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from engine.api import FaultReason, Hypothesis, Recognizer, Session, SessionFault
from engine.errors import EngineError, EngineFull
from pipeline.clock import Clock
from pipeline.errors import CallEnded
from pipeline.finals import FINAL_TIMEOUT_S, Told, TurnFinals
from pipeline.frames import AudioFrame
from pipeline.ingest import Ingest
from pipeline.latency import LatencyHistogram
from pipeline.playback import AudioOutlet, LegPlayer
from pipeline.records import LegOptions, RecordMaker
from pipeline.segments import Segment, Segmenter
from pipeline.turns.config import TurnSettings
from pipeline.turns.detector import TurnDetector
from pipeline.turns.machine import Turn
from sinks.record import AnyRecord, TurnRecord
from supervision import one_line

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class LegStats:
    """Media packets of a leg, as its connector counts them."""

    packets: int = 0
    lost: int = 0
    late: int = 0


class Leg:
    """Created by `Call.add_leg`. `stats` belongs to the connector, which fills it in.

    `player`: what is said to who is on it. `fault`: why the leg ended, or what it lacks, for a reason of ours; None
    otherwise. `follows`: what the recogniser writes can still be understood: False once a hypothesis, which is a
    difference, was lost. `refused`: the engine never took it. `over`: which leg's speaker had the word when this leg's
    began, at a session time. `on_turn`: gets each turn event.
    """

    def __init__(
        self,
        options: LegOptions,
        session: Session,
        *,
        call_id: str,
        recognizer: Recognizer,
        ingest: Ingest,
        segmenter: Segmenter,
        records: RecordMaker,
        latencies: LatencyHistogram,
        clock: Clock,
        player: LegPlayer,
        flush_timeout_s: float,
        answer_timeout_s: float,
        abandon: "Callable[[Leg], None]",
        on_fault: "Callable[[Leg], None]",
        publish: Callable[[Sequence[AnyRecord]], None],
        detector: TurnDetector | None = None,
        turn_settings: TurnSettings | None = None,
        over: "Callable[[Leg, float], str | None] | None" = None,
        on_turn: Callable[[TurnRecord], None] | None = None,
    ) -> None:
        self.options = options
        self.session = session
        self.stats = LegStats()
        self.player = player
        self.call_id = call_id
        self.fault: str | None = None
        self.refused = False
        self.follows = True
        self.intake = ingest.open(session, call_id)
        self.intake.on_fault = self.fail
        self.flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._recognizer = recognizer
        self._ingest = ingest
        self._segmenter = segmenter
        self._records = records
        self._latencies = latencies
        self._clock = clock
        self._flush_timeout_s = flush_timeout_s
        self._abandon = abandon
        self._on_fault = on_fault
        self._engine_fault: SessionFault | None = None
        self._answered = asyncio.Event()
        self._answer_by = asyncio.get_running_loop().time() + answer_timeout_s
        if not recognizer.awaits_answer(session):
            self._answered.set()
        self._progress_s = 0.0
        self._asked_at = 0.0
        self._closing = False
        self._publish = publish
        self._first_turn = records.turns[options.leg]
        self._detector = detector
        settings = turn_settings or TurnSettings()
        self._finals = TurnFinals(
            segmenter,
            self.intake,
            finalize=self._ask_finals,
            pause_s=settings.max_turn_silence_ms / 1000 + segmenter.silence_s,
            interrupt=self._interrupt_turn,
        )
        self._on_turn = on_turn
        self._final_due: asyncio.TimerHandle | None = None
        if detector is not None:
            detector.open(session, settings, self._publish_turns, partial(over or _nobody, self), self.finalize)

    @property
    def words(self) -> int:
        """Words in finals so far."""
        return self._segmenter.final_words

    @property
    def ended(self) -> bool:
        """True once the last final was published."""
        return self.flushed.done()

    @property
    def awaits_answer(self) -> bool:
        """The engine has not said yet whether it takes this leg."""
        return not self._answered.is_set()

    async def admitted(self) -> None:
        """Wait until the engine has said that it takes this leg. Where it does not answer in time, as when it is being
        replaced, return all the same: the leg's audio is kept for the next engine, and if that refuses it, the end of
        the call says so. Raises `EngineFull` (retryable) or `EngineError` where the leg is refused, `CallEnded`."""
        patience_s = max(self._answer_by - asyncio.get_running_loop().time(), 0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._answered.wait()
        if self._engine_fault is not None:
            raise (EngineFull if self._engine_fault.retryable else EngineError)(self._engine_fault.detail)
        if self._closing:
            raise CallEnded(f"call {self.call_id} ended while leg {self.options.leg} was opened")

    def answer(self, fault: SessionFault | None) -> None:
        """What the engine says of the session: that it takes it, or why it has ended it."""
        self._engine_fault = fault
        self.refused = fault is not None and fault.reason is FaultReason.REFUSED
        self._answered.set()

    @property
    def closing(self) -> bool:
        """`close` was called."""
        return self._closing

    def call_time(self, session_s: float) -> float | None:
        """Monotonic time at which the audio at this session time would have come, had none of it been late. The media
        times of two legs are compared by it. None before the first audio."""
        began_at = self.intake.began_at
        return None if began_at is None else began_at + self.intake.timeline.leg_time(session_s)

    def has_the_word(self, call_s: float) -> bool:
        """Whether this leg's speaker had begun before `call_s` (`call_time`) and went on after it."""
        if self._detector is None or self.intake.began_at is None:
            return False
        session_s = self.intake.timeline.session_time(call_s - self.intake.began_at)
        return self._detector.has_the_word(self.session, session_s)

    def push(self, frame: AudioFrame) -> None:
        """Queue audio for the next tick; never blocks. A full queue drops its oldest frames and counts them."""
        self.intake.push(frame)

    def connect_outlet(self, outlet: AudioOutlet | None) -> None:
        """The way back to who is on this leg; None: there is none, or none any more."""
        if not self._closing:
            self.player.connect(outlet)

    def set_language(self, language: str) -> None:
        """Change the prompt from here on. Raises `UnknownLocale`, `SessionClosed`."""
        self._recognizer.set_language(self.session, language)

    def fail(self, error: Exception) -> None:
        """A fault of ours in what feeds this leg or in what comes of it: it ends with the words known so far, and its
        call says why. Idempotent: the first fault counts."""
        if self.fault is None:
            self.fault = str(error) if isinstance(error, EngineError) else one_line(error)
            self._on_fault(self)

    def detach(self) -> None:
        """The call is over, and no fault concerns it any more. Without the ways back to it, all of it is freed at once:
        the garbage collector, which would find the circle, comes to it once in hundreds of calls."""
        self._on_fault = _ignore
        self._on_turn = None
        self.intake.on_fault = None

    def session_ended(self) -> None:
        """The recogniser has flushed the session; where nobody asked for it, that is a fault."""
        self._answered.set()
        if self.fault is not None or (self._closing and self._engine_fault is None):
            return
        self._ingest.drop(self.intake)
        fault = self._engine_fault or SessionFault(FaultReason.LOST, "its session ended unasked")
        logger.warning("call %s: leg %s: %s (%s)", self.call_id, self.options.leg, fault.reason, fault.detail)
        self.fail(EngineError(str(fault.reason)))

    def finalize(self) -> None:
        """Ask for finals of everything pushed so far, with which the open turn ends, too; the leg goes on."""
        if not self._closing:
            self._ingest.flush(self.intake)
            self._publish_told(self._finals.hold())

    def _ask_finals(self) -> bool:
        """False where there is nobody to answer."""
        if self._closing:
            return False
        self._asked_at = self._clock.monotonic()
        try:
            self._recognizer.finalize(self.session)
        except Exception as error:  # noqa: BLE001 - the leg goes on, or its end says why
            logger.warning("call %s: leg %s cannot be finalised: %s", self.call_id, self.options.leg, error)
            return False
        return True

    def _interrupt_turn(self) -> Sequence[Turn]:
        return [] if self._detector is None else self._detector.interrupt(self.session)

    async def close(self) -> None:
        """End of the audio. Resolves after the leg's last final was published: that of the recogniser's flush, or,
        where it does not come in `flush_timeout_s`, one of the words known so far. Idempotent."""
        if not self._closing:
            self._closing = True
            self.player.close()
            self._ingest.close(self.intake)
            self._asked_at = self._clock.monotonic()
            if not self.ended:  # by the engine
                self._close_session()
        try:
            async with asyncio.timeout(self._flush_timeout_s):
                await asyncio.shield(self.flushed)
        except TimeoutError:
            self._abandon(self)
            self.fail(EngineError(str(FaultReason.SILENT)))
        if self._detector is not None:
            self._publish_turns(await self._detector.finish(self.session, self._flush_timeout_s))

    def _close_session(self) -> None:
        try:
            self._recognizer.close(self.session)
        except Exception as error:  # noqa: BLE001 - whatever it is, the leg ends
            if self.fault is None:
                logger.warning("call %s: leg %s cannot be flushed: %s", self.call_id, self.options.leg, error)
            self._abandon(self)
            self.fail(EngineError(str(FaultReason.LOST)) if isinstance(error, EngineError) else error)

    def update(
        self, hypotheses: Sequence[Hypothesis], progress_s: float | None, now: float, at: str
    ) -> list[AnyRecord]:
        """What one engine step brought: `progress_s` is session time, None where the session took no part in it."""
        if progress_s is not None:
            self._progress_s = progress_s
        timeline = self.intake.timeline
        told = self._finals.update(timeline.place(hypotheses), self._progress_s)
        if self._detector is not None:
            told += self._finals.tell(self._detector.write(self.session, progress_s, hypotheses))
        arrival = timeline.arrival_of(self._progress_s)
        if any(hypothesis.is_final for hypothesis in hypotheses):
            arrival = max(arrival, self._asked_at)
        self._follow_wait()
        return self._told_records(told, arrival, now, at) if told else []

    def finish(self, now: float, at: str) -> list[AnyRecord]:
        """The session is gone: the leg's last finals."""
        told = self._finals.close(had_audio=self.intake.stats.frames > 0)
        arrival = max(self.intake.timeline.arrival_of(self._progress_s), self._asked_at)
        self._records.segments[self.options.leg] = self._segmenter.next_number
        self._follow_wait()
        return self._told_records(told, arrival, now, at)

    def _publish_turns(self, turns: Sequence[Turn]) -> None:
        self._publish_told(self._finals.tell(turns))

    def _publish_told(self, told: Sequence[Told]) -> None:
        self._follow_wait()
        if told:
            now, at = self._clock.monotonic(), self._clock.stamp()
            self._publish(self._told_records(told, self.intake.timeline.arrival_of(self._progress_s), now, at))

    def _follow_wait(self) -> None:
        """An EndOfTurn waits for its last words, `FINAL_TIMEOUT_S` at most."""
        if not self._finals.waits:
            if self._final_due is not None:
                self._final_due.cancel()
                self._final_due = None
        elif self._final_due is None:
            loop = asyncio.get_running_loop()
            self._final_due = loop.call_later(FINAL_TIMEOUT_S, self._final_is_late)

    def _final_is_late(self) -> None:
        self._final_due = None
        if self._detector is not None:
            self._detector.stats.late_finals += 1
        self._publish_told(self._finals.give_up())

    def _told_records(self, told: Sequence[Told], arrival: float, now: float, at: str) -> list[AnyRecord]:
        name, records, timeline = self.options.leg, self._records, self.intake.timeline
        latency_ms = max(now - arrival, 0.0) * 1000
        made: list[AnyRecord] = []
        for one in told:
            if isinstance(one, Segment):
                self._latencies.add(latency_ms)
                made.append(records.transcript(self.options, one, at, latency_ms))
            else:
                index = self._first_turn + one.turn_index
                records.turns[name] = index + 1
                record = records.turn(name, one, index, timeline.leg_time(one.at_s), at)
                made.append(record)
                if self._on_turn is not None:
                    self._on_turn(record)
        return made


def _nobody(_leg: Leg, _session_s: float) -> None:
    """Has the word."""


def _ignore(_leg: Leg) -> None:
    """A fault after the end of the call."""
