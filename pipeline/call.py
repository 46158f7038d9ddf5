"""Calls: what connectors hold. A connector starts a call, adds its legs, pushes frames and ends it.

Order of a call's records: START first; every transcript of a leg before END; END last, with statistics. A call that
was refused before it was announced has none. A call's trouble stays its own: refusals are errors raised to its
connector, a leg that cannot be flushed is counted. A leg that a fault of ours ends is named by `leg.NAME.fault` in the
call's metadata; where no leg is left, or the engine refuses one of the legs that the call began with, the
call ends, and the reason of its END says why. So it does where a call has no words for a fault of ours.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from engine.api import FaultReason, Recognizer, Session, SessionOptions
from pipeline.clock import Clock, next_tick
from pipeline.config import PipelineConfig
from pipeline.dispatch import Dispatch, Publish
from pipeline.errors import CallEnded, CallError, CallsFull, Draining, DuplicateCall, DuplicateLeg
from pipeline.ingest import Ingest
from pipeline.intake import IntakeStats
from pipeline.latency import LatencyHistogram
from pipeline.leg import Leg, LegStats
from pipeline.records import CallInfo, LegOptions, RecordMaker
from pipeline.segments import Segmenter
from pipeline.turns.detector import TurnDetector
from pipeline.turns.tap import Tap
from sinks.record import AnyRecord, CallAction, CallStatistics, LegInfo, SpeakerRole
from supervision import Supervisor

__all__ = ["Call", "CallInfo", "Calls", "Leg", "LegOptions", "LegStats", "PipelineStats"]

logger = logging.getLogger(__name__)

FAULT = "internal error"
"""With this the reason of an END begins that a fault of ours brought about."""

_NO_ROLES: Mapping[str, SpeakerRole] = {}


@dataclass(slots=True)
class PipelineStats:
    """Counters since the start. `skipped_ticks`: left out because the loop was busy. `unflushed_legs`: the recogniser
    did not flush them in time. `failed_legs`: ended by a fault of ours, or lacking something for one. `audio`: summed
    over the legs of ended calls."""

    calls_started: int = 0
    calls_refused: int = 0
    calls_ended: int = 0
    unflushed_legs: int = 0
    failed_legs: int = 0
    skipped_ticks: int = 0
    audio: IntakeStats = field(default_factory=IntakeStats)


class Call:
    """A running call. Created by `Calls.start`; all methods on the event loop's thread."""

    def __init__(self, calls: "Calls", info: CallInfo, records: RecordMaker) -> None:
        self.info = info
        self.legs: dict[str, Leg] = {}
        self._calls = calls
        self._records = records
        self._latencies = LatencyHistogram()
        self.all_legs: list[Leg] = []
        self._ending: asyncio.Task[None] | None = None
        self._started = calls.clock.monotonic()
        self._over = asyncio.Event()
        self._announced = False
        self._opening: list[Leg] = []
        self._fault: str | None = None
        self._held = False
        self._limit = asyncio.get_running_loop().call_later(
            calls.config.max_call_s, self._begin_end, "longest duration reached"
        )

    @property
    def announced(self) -> bool:
        """START was published."""
        return self._announced

    @property
    def ended(self) -> bool:
        """True from the first `end` on."""
        return self._ending is not None

    @property
    def fault(self) -> str | None:
        """The fault of ours that has ended the call; None where it runs, or ended otherwise."""
        return self._fault

    def announce(self) -> None:
        """Publish START, with the legs and the metadata that are there by now, and HOLD where the call begins so.
        Idempotent. Raises `CallEnded`."""
        self._check_running()
        if not self._announced:
            self._announced = True
            self._calls.stats.calls_started += 1
            info = self.info
            logger.info(
                "call %s started by %s",
                info.call_id,
                info.connector,
                extra={"call_id": info.call_id, "pii.from": info.from_, "pii.to": info.to},
            )
            self._publish_action(CallAction.START)
            if self._held:
                self._publish_action(CallAction.HOLD)
            self._opening = list(self.all_legs)
            for leg in self._opening:
                if leg.fault is not None:
                    self._leg_failed(leg)

    async def wait_ended(self) -> None:
        """Resolves after END was published, whoever ended the call: the connector, a limit or a drain."""
        await self._over.wait()

    def add_leg(self, options: LegOptions) -> Leg:
        """Open a leg; an UPDATE record follows. A name is free again once its leg was closed.

        Raises `DuplicateLeg`, `CallEnded`, and the engine's `EngineFull` (retryable) and `UnknownLocale`.
        """
        self._check_running()
        calls, name = self._calls, options.leg
        if name in self.legs and not self.legs[name].ended:
            raise DuplicateLeg(f"call {self.info.call_id} has a leg {name!r}")
        config = calls.config
        session = calls.recognizer.open(
            SessionOptions(config.chunk_ms, options.language or config.language, config.language_lock)
        )
        try:
            leg = self._leg(options, session)
        except BaseException:
            calls.recognizer.close(session)
            raise
        calls.dispatch.add(leg)
        calls.wake()
        self.legs[name] = leg
        self.all_legs.append(leg)
        if f"leg.{name}.fault" in self._records.metadata:
            self._records.metadata[f"leg.{name}.fault"] = ""  # of the one before it
        self._records.legs = [known for known in self._records.legs if known.leg != name]
        self._records.legs.append(LegInfo(leg=name, speaker_role=options.role, channel_index=options.channel_index))
        self._publish_action(CallAction.UPDATE)
        return leg

    def _leg(self, options: LegOptions, session: Session) -> Leg:
        calls, config, name = self._calls, self._calls.config, options.leg
        return Leg(
            options,
            session,
            call_id=self.info.call_id,
            recognizer=calls.recognizer,
            ingest=calls.ingest,
            segmenter=Segmenter(
                self._records.segment_prefix(name),
                silence_s=config.silence_ms / 1000,
                max_segment_s=config.max_segment_s,
                first_number=self._records.segments[name],
            ),
            records=self._records,
            latencies=self._latencies,
            clock=calls.clock,
            flush_timeout_s=config.flush_timeout_s,
            answer_timeout_s=config.answer_timeout_s,
            abandon=calls.dispatch.abandon,
            on_fault=self._leg_failed,
            publish=calls.publish,
            detector=calls.turns,
            turn_settings=config.turns.settings(self.info.connector, options.turns),
        )

    def update(self, metadata: Mapping[str, str], roles: Mapping[str, SpeakerRole] = _NO_ROLES) -> None:
        """Add to the call's metadata. `roles`: by leg, where it turned out who speaks on it; records from here on have
        them. Raises `CallEnded`."""
        self._learn(metadata, roles)
        self._publish_action(CallAction.UPDATE)

    def transfer(self, metadata: Mapping[str, str], roles: Mapping[str, SpeakerRole] = _NO_ROLES) -> None:
        """Another party speaks from here on; `metadata` and `roles` say who. Raises `CallEnded`."""
        self._learn(metadata, roles)
        self._publish_action(CallAction.TRANSFER)

    def hold(self) -> None:
        """The call is on hold: what was said so far becomes final. Raises `CallEnded`."""
        self._check_running()
        self._held = True
        for leg in self.legs.values():
            leg.finalize()
        self._publish_action(CallAction.HOLD)

    def resume(self) -> None:
        """The hold is over. Raises `CallEnded`."""
        self._check_running()
        self._held = False
        self._publish_action(CallAction.RESUME)

    def dtmf(self, leg: str | Leg, digit: str, start: float, duration: float) -> None:
        """A key press on a leg; `start`, `duration`: seconds of its media time. Raises `CallEnded`."""
        self._check_running()
        name = leg if isinstance(leg, str) else leg.options.leg
        self._calls.publish([self._records.dtmf(name, digit, start, duration, self._calls.clock.stamp())])

    async def end(self, reason: str) -> None:
        """Close all legs, publish their last finals, then END. Idempotent: the first reason counts, and every caller
        waits for END. Goes on even where the waiting task is cancelled."""
        self._begin_end(reason)
        if self._ending is not None:
            await asyncio.shield(self._ending)

    def _begin_end(self, reason: str) -> None:
        if self._ending is None:
            self._ending = self._calls.supervisor.spawn(self._finish(reason), "end of a call")

    async def _finish(self, reason: str) -> None:
        """Whatever fails on the way, the call is over in the end."""
        self._limit.cancel()
        statistics = None
        try:
            outcomes = await asyncio.gather(*(leg.close() for leg in self.all_legs), return_exceptions=True)
            for leg, outcome in zip(self.all_legs, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    self._calls.supervisor.fault("leg", outcome, f"call {self.info.call_id}: closed", always=True)
                    leg.fail(outcome)
            statistics = self._statistics()
            reason = self._full_reason(reason, statistics)
        except Exception as error:  # noqa: BLE001 - END is published all the same
            self._calls.supervisor.fault("end of a call", error, f"call {self.info.call_id}", always=True)
        try:
            self._publish_action(CallAction.END, reason=reason, statistics=statistics)
        finally:
            self._calls.forget(self)
            self._over.set()
            for leg in self.all_legs:
                leg.detach()
        if self._announced and statistics is not None:
            self._log_end(reason, statistics)

    def _log_end(self, reason: str, statistics: CallStatistics) -> None:
        logger.info(
            "call %s ended after %.1f s (%s): %d packets, %d lost, %d late, %d words, latency p50 %s p95 %s ms",
            self.info.call_id,
            self._calls.clock.monotonic() - self._started,
            reason,
            statistics.packets,
            statistics.lost,
            statistics.late,
            statistics.words,
            statistics.p50_latency_ms,
            statistics.p95_latency_ms,
            extra={"call_id": self.info.call_id},
        )

    def _leg_failed(self, leg: Leg) -> None:
        """A fault of ours ended a leg, or keeps its last words. The others go on, unless the engine refuses one that
        the call began with: a call is transcribed whole or not at all."""
        name = leg.options.leg
        if not leg.refused:
            self._calls.stats.failed_legs += 1
        self._records.metadata[f"leg.{name}.fault"] = str(leg.fault)
        if leg.refused and leg not in self._opening:
            self._records.legs = [known for known in self._records.legs if known.leg != name]
        if self._ending is not None or not self._announced:
            return
        is_deaf = not leg.closing and all(one.fault is not None or one.ended for one in self.legs.values())
        if is_deaf or (leg.refused and leg in self._opening):
            self._fault = _because(leg)
            self._begin_end(self._fault)
            return
        if not leg.closing:
            self._calls.supervisor.spawn(leg.close(), "end of a leg")
        self._publish_action(CallAction.UPDATE)

    def _full_reason(self, reason: str, statistics: CallStatistics) -> str:
        """For END: what is our fault, where that left nothing of the call."""
        faults = [_because(leg) for leg in self.all_legs if leg.fault is not None]
        return faults[0] if faults and not statistics.words else reason

    def _statistics(self) -> CallStatistics:
        legs = self.all_legs
        return CallStatistics(
            packets=sum(leg.stats.packets for leg in legs),
            lost=sum(leg.stats.lost for leg in legs),
            late=sum(leg.stats.late for leg in legs),
            words=sum(leg.words for leg in legs),
            p50_latency_ms=self._latencies.percentile(50),
            p95_latency_ms=self._latencies.percentile(95),
        )

    def _learn(self, metadata: Mapping[str, str], roles: Mapping[str, SpeakerRole]) -> None:
        self._check_running()
        self._records.metadata.update(metadata)
        for name, role in roles.items():
            if name in self.legs:
                self.legs[name].options = replace(self.legs[name].options, role=role)
        legs = self._records.legs
        legs[:] = [msgspec.structs.replace(leg, speaker_role=roles.get(leg.leg, leg.speaker_role)) for leg in legs]

    def _publish_action(
        self, action: CallAction, *, reason: str | None = None, statistics: CallStatistics | None = None
    ) -> None:
        if self._announced:
            at = self._calls.clock.stamp()
            self._calls.publish([self._records.call(action, at, reason=reason, statistics=statistics)])

    def _check_running(self) -> None:
        if self._ending is not None:
            raise CallEnded(f"call {self.info.call_id} has ended")


def _because(leg: Leg) -> str:
    """The reason of an END: in the engine's words, or that of a fault in this process."""
    fault = str(leg.fault)
    return fault if fault in set(FaultReason) else f"{FAULT}: leg {leg.options.leg}: {fault}"


class Calls:
    """All running calls of the process, and the tick that feeds their audio to the recogniser. `turns`: detects those
    of all legs; None: there are no turn records."""

    def __init__(
        self,
        recognizer: Recognizer,
        publish: Publish,
        config: PipelineConfig | None = None,
        *,
        clock: Clock | None = None,
        turns: TurnDetector | None = None,
    ) -> None:
        self.turns = turns
        self.config = config or PipelineConfig()
        self.recognizer = recognizer
        self.clock = clock or Clock()
        self.supervisor = Supervisor()
        self.ingest = Ingest(
            recognizer if turns is None else Tap(recognizer, turns),
            queue_s=self.config.queue_ms / 1000,
            max_gap_s=self.config.max_gap_ms / 1000,
            supervisor=self.supervisor,
        )
        self.dispatch = Dispatch(recognizer, self.publish, self.clock, self.supervisor)
        self._publish = publish
        self._stats = PipelineStats()
        self._calls: dict[str, Call] = {}
        self._draining = False
        self._awake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()

    @property
    def active(self) -> int:
        """Calls started whose END is not published yet."""
        return len(self._calls)

    @property
    def stats(self) -> PipelineStats:
        """Counters for the metrics."""
        self._stats.unflushed_legs = self.dispatch.abandoned
        return self._stats

    def publish(self, records: Sequence[AnyRecord]) -> None:
        """To the sinks. Raises nothing: where they are broken, calls go on."""
        try:
            self._publish(records)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no call's
            self.supervisor.fault("publish", error, f"{len(records)} records are lost")

    def get(self, call_id: str) -> Call | None:
        """The running call of this id."""
        return self._calls.get(call_id)

    def start(self, info: CallInfo, *, announce: bool = True) -> Call:
        """Begin a call and publish its START. `announce` False: nothing is published of it before `Call.announce`, and
        where it ends before, as one that the engine refuses, nothing at all.

        Raises `DuplicateCall`, `CallsFull` (retryable), `Draining` (retryable).
        """
        try:
            if self._draining:
                raise Draining("the server is shutting down and takes no new calls")
            if info.call_id in self._calls:
                raise DuplicateCall(f"call {info.call_id} is running")
            if len(self._calls) >= self.config.max_calls:
                raise CallsFull(f"{self.config.max_calls} calls are running, the most that max_calls allows")
        except CallError:
            self._stats.calls_refused += 1
            raise
        call = self._calls[info.call_id] = Call(self, info, RecordMaker(info))
        self._idle.clear()
        if announce:
            call.announce()
        return call

    async def run(self) -> None:
        """Tick until cancelled. Ticks keep to a grid of `tick_ms`: one that takes long makes the next come at the
        next point of the grid, and those in between are left out and counted. Sleeps while there are no legs."""
        loop = asyncio.get_running_loop()
        tick_s = self.config.tick_ms / 1000
        due = loop.time()
        while True:
            if not self.ingest.legs:
                self._awake.clear()
                await self._awake.wait()
                due = loop.time()
            due, skipped = next_tick(due, loop.time(), tick_s)
            self._stats.skipped_ticks += skipped
            await asyncio.sleep(max(due - loop.time(), 0.0))
            try:
                self.ingest.tick()
            except Exception as error:  # noqa: BLE001 - the next tick is another one
                self.supervisor.fault("tick", error)

    async def drain(self, timeout_s: float) -> None:
        """Refuse new calls, wait for the running ones, end those left after `timeout_s`. `run` must go on meanwhile."""
        self._draining = True
        waits = [asyncio.ensure_future(event.wait()) for event in (self._idle, self._hurry)]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._calls:
            ends = (call.end("server shutting down") for call in list(self._calls.values()))
            await asyncio.gather(*ends, return_exceptions=True)  # what failed was reported by its task

    def hurry(self) -> None:
        """A `drain`, running or to come, ends the calls at once."""
        self._hurry.set()

    def wake(self) -> None:
        """There is a leg: tick."""
        self._awake.set()

    def forget(self, call: Call) -> None:
        """A call is over."""
        del self._calls[call.info.call_id]
        if call.announced:
            self._stats.calls_ended += 1
        else:
            self._stats.calls_refused += 1
        for leg in call.all_legs:
            self._stats.audio.add(leg.intake.stats)
        if not self._calls:
            self._idle.set()
