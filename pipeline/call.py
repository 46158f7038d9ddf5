"""A call: what connectors hold. A connector starts it, adds its legs, pushes frames and ends it.

Order of a call's records: START first; every transcript of a leg before END; END last, with statistics. A call that
was refused before it was announced has none. A call's trouble stays its own: refusals are errors raised to its
connector, a leg that cannot be flushed is counted. A leg that a fault of ours ends is named by `leg.NAME.fault` in the
call's metadata; where no leg is left, or the engine refuses one of the legs that the call began with, the
call ends, and the reason of its END says why. So it does where a call has no words for a fault of ours.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.api import FaultReason, Recognizer, Session, SessionOptions
from pipeline.clock import Clock
from pipeline.config import PipelineConfig
from pipeline.dispatch import Dispatch
from pipeline.errors import CallEnded, DuplicateLeg
from pipeline.ingest import Ingest
from pipeline.latency import LatencyHistogram
from pipeline.leg import Leg, LegStats
from pipeline.playback import Heard, LegPlayer, Pacer, Utterance
from pipeline.records import CallInfo, LegOptions, RecordMaker
from pipeline.segments import Segmenter
from pipeline.stats import PipelineStats, log_end
from pipeline.turns.config import TurnChanges, changes_in
from pipeline.turns.detector import TurnDetector
from sinks.record import AnyRecord, CallAction, CallStatistics, LegInfo, SpeakerRole, TurnRecord
from supervision import Supervisor

__all__ = ["Call", "CallInfo", "Leg", "LegOptions", "LegStats", "PipelineStats"]

logger = logging.getLogger(__name__)

FAULT = "internal error"
"""With this the reason of an END begins that a fault of ours brought about."""

_NO_ROLES: Mapping[str, SpeakerRole] = {}


class CallHost(Protocol):
    """What a call needs of who holds it, `pipeline.calls.Calls`."""

    config: PipelineConfig
    recognizer: Recognizer
    clock: Clock
    supervisor: Supervisor
    ingest: Ingest
    dispatch: Dispatch
    pacer: Pacer
    turns: TurnDetector | None

    @property
    def stats(self) -> PipelineStats: ...
    def publish(self, records: Sequence[AnyRecord]) -> None: ...
    def wake(self) -> None: ...
    def announced(self, call: "Call") -> None: ...
    def forget(self, call: "Call") -> None: ...


class Call:
    """A running call. Created by `Calls.start`; all methods on the event loop's thread."""

    def __init__(self, calls: CallHost, info: CallInfo, records: RecordMaker) -> None:
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
        self._listeners: list[Callable[[TurnRecord], object]] = []
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
            self._calls.announced(self)
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
            player=LegPlayer(f"call {self.info.call_id}: leg {name}", calls.pacer, calls.stats.playback, self._mute),
            flush_timeout_s=config.flush_timeout_s,
            answer_timeout_s=config.answer_timeout_s,
            abandon=calls.dispatch.abandon,
            on_fault=self._leg_failed,
            publish=calls.publish,
            detector=calls.turns,
            turn_settings=config.turns.settings(self.info.connector, self._turn_changes(), options.turns),
            over=self._had_the_word,
            on_turn=self._on_turn,
        )

    def _turn_changes(self) -> TurnChanges | None:
        """Those that the call's metadata ask for."""
        try:
            return changes_in(self._records.metadata)
        except msgspec.ValidationError as error:
            logger.warning(
                "call %s: turns go by the configuration: what was asked for is wrong: %s", self.info.call_id, error
            )
            return None

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

    def speak(self, leg: str, sample_rate_hz: int, *, mute: Collection[str] = ()) -> Utterance:
        """Begin to say something on a leg, after what is being said there; its audio is then written to it. `mute`:
        legs, this or others, that would carry our voice back: what comes on them meanwhile is not transcribed.

        Raises `NoWayBack` where the leg's connector only listens, `PlaybackFull` (retryable), `CallEnded`, `ValueError`
        for a rate outside 8 to 48 kHz.
        """
        self._check_running()
        if leg not in self.legs:
            raise CallEnded(f"call {self.info.call_id} has no leg {leg!r}")
        return self.legs[leg].player.speak(sample_rate_hz, mute)

    def play(self, leg: str, pcm: NDArray[np.generic], sample_rate_hz: int, *, mute: Collection[str] = ()) -> Utterance:
        """Say this on a leg. `pcm`: int16 or float32 (T,), two minutes at most. Otherwise as `speak`."""
        utterance = self.speak(leg, sample_rate_hz, mute=mute)
        try:
            utterance.put(pcm)
        except BaseException:
            utterance.stop()
            raise
        utterance.close()
        return utterance

    def stop(self, leg: str) -> list[Heard]:
        """Interrupt what is said on a leg, and all that waits to be: not one packet more goes out. Returns what was
        heard of each."""
        return self.legs[leg].player.stop_all() if leg in self.legs else []

    def on_turn(self, listener: Callable[[TurnRecord], object]) -> None:
        """Call `listener` with each turn event of the call from here on, on the event loop, right after it was told. A
        bot that is to be quiet when the caller interrupts it:

            call.on_turn(lambda turn: turn.event == "Interruption" and turn.over == turn.leg and call.stop(turn.leg))
        """
        self._listeners.append(listener)

    def _on_turn(self, record: TurnRecord) -> None:
        for listener in self._listeners:
            asyncio.get_running_loop().call_soon(self._tell, listener, record)

    def _tell(self, listener: Callable[[TurnRecord], object], record: TurnRecord) -> None:
        try:
            listener(record)
        except Exception as error:  # noqa: BLE001 - of whoever listens
            self._calls.supervisor.fault("turn listener", error, f"call {self.info.call_id}", always=True)

    def _had_the_word(self, leg: Leg, session_s: float) -> str | None:
        """Over whom the speaker of a leg began to speak at this session time: what is played to him, or another leg."""
        if leg.player.is_playing:
            return leg.options.leg
        at_s = leg.call_time(session_s)
        others = () if at_s is None else (one for one in self.legs.values() if one is not leg and not one.ended)
        return next((one.options.leg for one in others if at_s is not None and one.has_the_word(at_s)), None)

    def _mute(self, leg: str, until: float) -> None:
        if leg in self.legs:
            self.legs[leg].intake.mute_until(until)

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
            log_end(self.info.call_id, self._calls.clock.monotonic() - self._started, reason, statistics)

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
