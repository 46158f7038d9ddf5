"""What a `uas.SipUas` is made with."""

from dataclasses import dataclass, field

from connectors.sip.session_timer import SessionTimerOptions
from connectors.sip.transaction import TimerValues


@dataclass(frozen=True, slots=True)
class UasOptions:
    """`refer_status`: 603 or 405. `retry_after_s`: with every 503. `user`: of our Contact. A peer is an address."""

    timers: TimerValues = field(default_factory=TimerValues)
    session_timers: SessionTimerOptions = field(default_factory=SessionTimerOptions)
    refer_status: int = 603
    retry_after_s: int = 5
    server_name: str = "trunkline"
    user: str = "trunkline"
    max_calls: int = 5_000
    max_calls_per_peer: int = 5_000
    max_transactions: int = 50_000
    max_transactions_per_peer: int = 50_000
