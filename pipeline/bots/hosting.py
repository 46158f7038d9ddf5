"""Which bot attends which call, and that no bot harms another call.

A bot's task belongs to one call: it begins when the call is announced and is cancelled `GRACE_S` after the call's END.
What a bot does not read is bounded (`inbox`), what it raises is a fault that ends its call alone.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.api import Session
from pipeline.bots.attended import AttendedCall, Audio
from pipeline.bots.bot import Bot
from pipeline.call import Call
from sinks.record import AnyRecord
from supervision import Supervisor, cancel_and_wait

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""A bot may go on for so long after its call has ended."""

FAULT = "the bot failed"
"""With this the reason of an END begins that a bot's fault brought about."""


@dataclass(slots=True)
class BotStats:
    """`active`: that attend a call now. `attended`: calls, since the start. `faults`: calls that a bot's fault ended.
    `late_records`, `late_audio_s`: left out because a bot did not read them in time."""

    active: int = 0
    attended: int = 0
    faults: int = 0
    late_records: int = 0
    late_audio_s: float = 0.0


@dataclass(slots=True)
class _Attendance:
    attended: AttendedCall
    task: "asyncio.Task[None]"
    sessions: list[Session] = field(default_factory=list)
    is_late: bool = False


class Bots:
    """Of one process; all methods on the event loop's thread. A call is attended by the first of `bots` that wants it.

    Is a `pipeline.tap.Listener`.
    """

    def __init__(self, bots: Sequence[Bot], supervisor: Supervisor) -> None:
        self.stats = BotStats()
        self._bots = tuple(bots)
        self._supervisor = supervisor
        self._attended: dict[str, _Attendance] = {}  # by call id
        self._leaving: set[asyncio.Task[None]] = set()
        self._audio: dict[Session, list[Audio]] = {}

    def announced(self, call: Call) -> None:
        """A call begins, before its START is published."""
        for bot in self._bots:
            try:
                wanted = bot.attends(call.info)
            except Exception as error:  # noqa: BLE001 - code of the user's own
                self._supervisor.fault("bot", error, f"{bot.name}: call {call.info.call_id} is not attended")
                continue
            if wanted:
                self._begin(bot, call)
                return

    def publish(self, records: Sequence[AnyRecord]) -> None:
        """Of any calls, in order."""
        if self._attended:
            for record in records:
                if (one := self._attended.get(record.call_id)) is not None:
                    one.attended.records.put(record)

    def over(self, call: Call) -> None:
        """The call's END was published."""
        one = self._attended.pop(call.info.call_id, None)
        if one is None:
            return
        one.attended.close()
        for session in one.sessions:
            self._audio.pop(session, None)
        if not one.task.done():
            self._leaving.add(one.task)
            late = asyncio.get_running_loop().call_later(GRACE_S, one.task.cancel)
            one.task.add_done_callback(lambda _: late.cancel())
            one.task.add_done_callback(self._leaving.discard)

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        """Audio of a leg. float32 (T,), 16 kHz."""
        for audio in self._audio.get(session, ()):
            audio.put(pcm)

    def tick(self) -> None:
        """Nothing waits for it."""

    async def close(self) -> None:
        """The calls are over, and so is the time of their bots."""
        await asyncio.gather(*map(cancel_and_wait, list(self._leaving)))

    def _begin(self, bot: Bot, call: Call) -> None:
        def listen(session: Session, audio: Audio) -> None:
            self._audio.setdefault(session, []).append(audio)
            self._attended[call.info.call_id].sessions.append(session)

        def left_out(records: int, audio_s: float) -> None:
            self.stats.late_records += records
            self.stats.late_audio_s += audio_s
            one = self._attended.get(call.info.call_id)
            if one is not None and not one.is_late:
                one.is_late = True
                logger.warning("call %s: bot %s is too slow: it misses some of the call", call.info.call_id, bot.name)

        attended = AttendedCall(call, listen, left_out)
        task = self._supervisor.spawn(self._attend(bot, attended), "bot")
        self._attended[call.info.call_id] = _Attendance(attended, task)

    async def _attend(self, bot: Bot, attended: AttendedCall) -> None:
        call = attended.call
        self.stats.attended += 1
        self.stats.active += 1
        try:
            await bot.attend(attended)
        except Exception as error:  # noqa: BLE001 - code of the user's own
            self.stats.faults += 1
            what = f"{bot.name}: call {call.info.call_id} ends"
            self._supervisor.fault("bot", error, what, always=True)
            await call.end(f"{FAULT}: {type(error).__name__}")
        finally:
            self.stats.active -= 1
