"""When who calls: a ramp of new calls per second up to N at once, held there, then everybody hangs up. Pure."""

from dataclasses import dataclass

DEFAULT_HTTP_PORT = 8080
"""Of the server whose records are read, where the target does not say."""

MAX_CALLS = 10_000
MAX_RATE = 1_000.0
MAX_HOLD_S = 7 * 86_400.0
MIN_CALL_S = 1.0
"""A line does not begin another call with less than this left."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`calls`: lines that are busy at once. `rate`: lines that begin per second. `hold_s`: how long all are kept busy
    once the last has begun. `call_s`: length of a whole call; a line whose call is over places another.

    Raises `ValueError` for what cannot be.
    """

    calls: int
    rate: float
    hold_s: float
    call_s: float

    def __post_init__(self) -> None:
        if not 1 <= self.calls <= MAX_CALLS:
            raise ValueError(f"calls must be 1 to {MAX_CALLS}")
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"rate must be above 0 and at most {MAX_RATE:g} calls per second")
        if not MIN_CALL_S <= self.hold_s <= MAX_HOLD_S:
            raise ValueError(f"hold must be {MIN_CALL_S:g} to {MAX_HOLD_S:g} seconds")
        if self.call_s < MIN_CALL_S:
            raise ValueError(f"the call is shorter than {MIN_CALL_S:g} s")

    @property
    def ramp_s(self) -> float:
        """From the first line's beginning to the last one's."""
        return (self.calls - 1) / self.rate

    @property
    def end_s(self) -> float:
        """When everybody hangs up."""
        return self.ramp_s + self.hold_s

    def begins_at(self, line: int) -> float:
        """Seconds from the start of the test; `line`: 0 to `calls` - 1."""
        return line / self.rate

    def next_call_s(self, at: float) -> float | None:
        """How long a call that begins at `at` may play; None where no more is to begin."""
        left = self.end_s - at
        return min(self.call_s, left) if left >= MIN_CALL_S else None
