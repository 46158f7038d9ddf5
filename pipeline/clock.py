"""The clocks of the pipeline, as an object so that tests run on a time of their own."""

import time
from datetime import UTC, datetime


class Clock:
    """`monotonic` is the clock of `AudioFrame.arrival`."""

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()

    def stamp(self) -> str:
        """RFC 3339 in UTC with milliseconds."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def next_tick(last: float, now: float, tick_s: float) -> tuple[float, int]:
    """When the tick after the one due at `last` is due, and how many before it are left out: the grid stays where it
    is, and a tick that is late by less than one interval is made up at once."""
    due = last + tick_s
    skipped = max(int((now - due) / tick_s), 0)
    return due + skipped * tick_s, skipped
