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
