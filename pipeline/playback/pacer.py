"""The clock of everything that is played: one timer for all legs.

Time is a grid of `SLOT_MS`. A leg that speaks has an entry in one slot; when its time comes the leg does its step and
says in how many slots it wants the next one. Slots are counted from the beginning, so that nothing drifts, and a leg
that begins takes the emptiest of the next ones, so that the legs do not all send at once. With packets of 20 ms the
loop is woken 200 times a second at most, however many legs speak, and not at all while none does.
"""

import asyncio
import math
import time
from typing import Protocol

from supervision import Supervisor

SLOT_MS = 5
BEGIN_WITHIN = 4
"""Slots: a leg that begins to speak waits 20 ms at most."""

LATE_SLOTS = 20
"""A step that is later by more than this is not made up for: its time has passed."""


class Paced(Protocol):
    """Who has a place in the grid."""

    def step(self, at: float, late: int) -> int | None:
        """Do what is due at `at`. `late`: slots left out before it. Returns the slots until the next step; None: there
        is nothing more to do. What it raises ends its steps."""


class Pacer:
    """All methods on the event loop's thread."""

    def __init__(self, supervisor: Supervisor | None = None) -> None:
        self._supervisor = supervisor or Supervisor()
        self._origin = time.monotonic()
        self._slots: dict[int, list[Paced]] = {}
        self._next = 0  # slot of the timer
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, paced: Paced) -> None:
        """Step it from one of the next slots on. It must not have a place yet."""
        first = self._now() + 1
        soon = range(first, first + BEGIN_WITHIN)
        self._put(min(soon, key=lambda slot: len(self._slots.get(slot, ()))), paced)
        self._arm()

    def _now(self) -> int:
        return int((time.monotonic() - self._origin) * 1000 / SLOT_MS)

    def _put(self, slot: int, paced: Paced) -> None:
        self._slots.setdefault(slot, []).append(paced)

    def _arm(self) -> None:
        """In whole milliseconds: a loop whose timers have no finer ones would fire early, again and again."""
        if not self._slots:
            return
        slot = min(self._slots)
        if self._timer is not None:
            if slot >= self._next:
                return
            self._timer.cancel()
        self._next = slot
        delay_ms = math.ceil((self._at(slot) - time.monotonic()) * 1000)
        self._timer = asyncio.get_running_loop().call_later(max(delay_ms, 1) / 1000, self._fire)

    def _at(self, slot: int) -> float:
        return self._origin + slot * SLOT_MS / 1000

    def _fire(self) -> None:
        self._timer = None
        now = self._now()
        for slot in sorted(slot for slot in self._slots if slot <= now):
            for paced in self._slots.pop(slot, ()):
                self._step(paced, slot, now)
        self._arm()

    def _step(self, paced: Paced, slot: int, now: int) -> None:
        """Every step of this one up to now."""
        late = now - slot if now - slot > LATE_SLOTS else 0
        slot += late
        while slot <= now:
            try:
                wait = paced.step(self._at(slot), late)
            except Exception as error:  # noqa: BLE001 - of this leg alone
                self._supervisor.fault("playback", error, "a leg is played nothing more")
                return
            if wait is None:
                return
            slot, late = slot + wait, 0
        self._put(slot, paced)
