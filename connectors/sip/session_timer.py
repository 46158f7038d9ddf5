"""Session timers (RFC 4028): a call whose peer is gone without a word ends all the same.

`negotiate` answers what a request asks for, `SessionTimer` keeps the time that was agreed. Both parts of a dialog may
be the refresher; who refreshes sends an UPDATE or re-INVITE at half of the interval, who does not ends the call a
little before the interval is over.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

LEAST_S = 90
"""Section 5: no session interval is shorter."""

LONGEST_S = 86_400

LAST_TRY_S = 2.0
"""So long before a session ends is its refresh tried for the last time."""

Refresher = Literal["uac", "uas"]

_SESSION_EXPIRES = re.compile(r"\s*(\d{1,10})\s*((?:;.*)?)$", re.DOTALL)
_REFRESHER = re.compile(r";\s*refresher\s*=\s*\"?(uac|uas)\"?\s*(?:;|$)", re.IGNORECASE)
_SECONDS = re.compile(r"\s*([0-9]{1,10})(?![0-9])")


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """The header of this name: `interval_s`, and who refreshes, where the sender says so."""

    interval_s: int
    refresher: Refresher | None = None

    @classmethod
    def parse(cls, value: str) -> "SessionExpires | None":
        """None where the value does not follow the grammar of section 4."""
        match = _SESSION_EXPIRES.match(value.rstrip(" \t,;"))
        if match is None:
            return None
        refresher = _REFRESHER.search(match[2])
        who: Refresher | None = None
        if refresher is not None:
            who = "uac" if refresher[1].lower() == "uac" else "uas"
        return cls(min(int(match[1]), 2**31), who)

    def __str__(self) -> str:
        return f"{self.interval_s};refresher={self.refresher}" if self.refresher else str(self.interval_s)


def seconds(value: str | None) -> int | None:
    """`Min-SE` and `Retry-After`, whatever follows the number; None where there is none."""
    match = None if value is None else _SECONDS.match(value)
    return None if match is None else int(match[1])


@dataclass(frozen=True, slots=True)
class SessionTimerOptions:
    """`interval_s`: asked for where the peer can do session timers and names none; 0: only where the peer asks.
    `min_se_s`: shorter ones are refused with 422."""

    interval_s: int = 1800
    min_se_s: int = LEAST_S


@dataclass(frozen=True, slots=True)
class TooSmall:
    """Answer 422 with this Min-SE."""

    min_se_s: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What the 2xx says. `require`: it bears `Require: timer`, as it has to where the peer refreshes."""

    expires: SessionExpires
    require: bool


def negotiate(
    asked: SessionExpires | None, peer_min_se_s: int | None, *, supported: bool, options: SessionTimerOptions
) -> Terms | TooSmall | None:
    """The answer to a request's Session-Expires and Min-SE (section 9); None: no session timer.

    `supported`: the peer lists `timer`. Where it does not, we are the refresher, whoever the request may name
    (table 2): a proxy on the way has asked.
    """
    if asked is None:
        if not supported or not options.interval_s:
            return None
        interval = max(options.interval_s, peer_min_se_s or 0, LEAST_S)
        return Terms(SessionExpires(interval, "uas"), require=False)
    if asked.interval_s < options.min_se_s and supported:
        return TooSmall(options.min_se_s)
    # A peer without session timers cannot raise its interval: it gets the least we take (section 9).
    interval = min(max(asked.interval_s, options.min_se_s), LONGEST_S)
    refresher: Refresher = (asked.refresher or "uas") if supported else "uas"
    return Terms(SessionExpires(interval, refresher), require=refresher == "uac")


class Due(Enum):
    REFRESH = auto()
    EXPIRED = auto()


class SessionTimer:
    """A running one. `we_refresh` follows from the terms and from who sent the request they answer."""

    def __init__(self, interval_s: int, *, we_refresh: bool, now: float) -> None:
        self.interval_s = interval_s
        self.we_refresh = we_refresh
        self._refresh_at: float | None = None
        self._expires_at = 0.0
        self._peer_ends_at = 0.0
        self._refusals = 0
        self.refreshed(now)

    def refreshed(self, now: float) -> None:
        """A refresh was answered with a 2xx, or an answer to one was sent."""
        self._refresh_at = now + self.interval_s / 2 if self.we_refresh else None
        # Section 10: the other side ends the session the minimum of 32 s and a third of the interval before its end.
        self._peer_ends_at = now + self.interval_s - min(32.0, self.interval_s / 3)
        self._expires_at = now + self.interval_s if self.we_refresh else self._peer_ends_at
        self._refusals = 0

    def retry_at(self, at: float) -> None:
        """The refresh could not be had; try it once more then."""
        self._refresh_at = at

    def refused(self, now: float, retry_after_s: int | None) -> None:
        """The refresh was refused, which does not end the session (section 10): try it again when the peer asks for
        that, with growing pauses, and in any case once more before the peer ends the session, and before we do."""
        self._refusals += 1
        pause = max(retry_after_s or 0, 2 ** min(self._refusals - 1, 6))
        for end in (self._peer_ends_at, self._expires_at):
            if now < end - LAST_TRY_S:
                self._refresh_at = min(now + pause, end - LAST_TRY_S)
                return

    def next_timer(self) -> float:
        """When `due` has something to say."""
        return self._expires_at if self._refresh_at is None else min(self._refresh_at, self._expires_at)

    def due(self, now: float) -> Due | None:
        """`REFRESH` comes once, until it is `refreshed` or `retry_at` is set."""
        if now >= self._expires_at:
            return Due.EXPIRED
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh_at = None
            return Due.REFRESH
        return None
