"""From the engine's thread to the legs: one wake-up of the event loop and one `publish` for each engine step.

Hypotheses are differences, so none may be lost: what one leg cannot make of its own ends that leg, and the others of
the step get theirs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from engine.api import Hypothesis, Recognizer, Session, StepEvents
from pipeline.clock import Clock
from pipeline.leg import Leg
from sinks.record import AnyRecord
from supervision import Supervisor

logger = logging.getLogger(__name__)

Publish = Callable[[Sequence[AnyRecord]], None]


class Dispatch:
    """Knows the leg of every session. `abandoned` counts the legs whose flush never came."""

    def __init__(
        self, recognizer: Recognizer, publish: Publish, clock: Clock, supervisor: Supervisor | None = None
    ) -> None:
        self.abandoned = 0
        self._supervisor = supervisor or Supervisor()
        self._legs: dict[Session, Leg] = {}
        self._publish = publish
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        recognizer.subscribe(self._on_step)

    def add(self, leg: Leg) -> None:
        """Deliver the session's events to this leg, on the running loop, until it is flushed or abandoned."""
        self._loop = asyncio.get_running_loop()
        self._legs[leg.session] = leg

    def abandon(self, leg: Leg) -> None:
        """The recogniser does not flush this leg: publish its last finals from what is known. No-op once flushed."""
        if self._legs.pop(leg.session, None) is not None:
            self.abandoned += 1
            logger.warning("call %s: leg %s was not flushed: its end may be missing", leg.call_id, leg.options.leg)
            records = self._finish(leg, self._clock.monotonic(), self._clock.stamp())
            if records:
                self._publish(records)
            _resolve(leg.flushed)

    def _on_step(self, events: StepEvents) -> None:
        """On the engine's thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads the records
                self._loop.call_soon_threadsafe(self._deliver, events)

    def _deliver(self, events: StepEvents) -> None:
        """All records of the step, leg by leg in the order of their words, in one `publish`."""
        now, at = self._clock.monotonic(), self._clock.stamp()
        legs = self._legs
        for session in events.opened:
            if (leg := legs.get(session)) is not None:
                leg.answer(None)
        for session, fault in events.faults.items():
            if (leg := legs.get(session)) is not None:
                leg.answer(fault)
        records: list[AnyRecord] = []
        hypotheses: dict[Session, list[Hypothesis]] = {}
        for hypothesis in events.hypotheses:
            hypotheses.setdefault(hypothesis.session, []).append(hypothesis)
        for session, progress_s in events.progress.items():
            leg = legs.get(session)
            if leg is not None:
                records += self._update(leg, hypotheses.pop(session, ()), progress_s, now, at)
        for session, answers in hypotheses.items():
            leg = legs.get(session)
            if leg is not None:
                records += self._update(leg, answers, None, now, at)
        flushed = [leg for leg in (legs.pop(session, None) for session in events.closed) if leg is not None]
        for leg in flushed:
            records += self._finish(leg, now, at)
        if records:
            self._publish(records)
        for leg in flushed:
            _resolve(leg.flushed)
            leg.session_ended()

    def _update(
        self, leg: Leg, hypotheses: Sequence[Hypothesis], progress_s: float | None, now: float, at: str
    ) -> list[AnyRecord]:
        if not leg.follows:
            return []
        try:
            return leg.update(hypotheses, progress_s, now, at)
        except Exception as error:  # noqa: BLE001 - of this leg alone
            leg.follows = False
            self._fault(leg, error)
            return []

    def _finish(self, leg: Leg, now: float, at: str) -> list[AnyRecord]:
        try:
            return leg.finish(now, at)
        except Exception as error:  # noqa: BLE001 - of this leg alone
            self._fault(leg, error)
            return []

    def _fault(self, leg: Leg, error: Exception) -> None:
        if leg.fault is None:  # what follows of it is one fault with it
            what = f"call {leg.call_id}: leg {leg.options.leg} ends"
            self._supervisor.fault("dispatch", error, what, always=True)
            leg.fail(error)


def _resolve(flushed: "asyncio.Future[None]") -> None:
    if not flushed.done():
        flushed.set_result(None)
