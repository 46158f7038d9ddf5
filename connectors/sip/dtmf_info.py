"""Keys pressed, by INFO: the bodies that gateways send, and the keys that come as RTP events, too.

| type | body |
|---|---|
| application/dtmf-relay | `Signal=5` and `Duration=160` (ms), a line each |
| application/dtmf | `5` |
"""

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

SAME_PRESS_S = 1.0
"""The same key by INFO and by RTP within this time was pressed once."""

_SIGNAL = re.compile(rb"^\s*signal\s*[=:]\s*([0-9*#a-d]|1[0-5])\s*$", re.IGNORECASE | re.MULTILINE)
_DURATION = re.compile(rb"^\s*duration\s*[=:]\s*(\d{1,6})\s*$", re.IGNORECASE | re.MULTILINE)
_BARE = re.compile(rb"\s*([0-9*#a-d]|1[0-5])\s*", re.IGNORECASE)
_EVENTS = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}


@dataclass(frozen=True, slots=True)
class KeyPress:
    """`duration_s` 0: the body does not say."""

    digit: str
    duration_s: float


def parse_dtmf(content_type: str, body: bytes) -> KeyPress | None:
    """The key of an INFO, or None for what is no such body. `content_type`: without parameters, in lower case."""
    body = body[:256]
    if content_type == "application/dtmf-relay":
        signal, duration = _SIGNAL.search(body.replace(b"\r", b"\n")), _DURATION.search(body.replace(b"\r", b"\n"))
    elif content_type == "application/dtmf":
        signal, duration = _SIGNAL.search(body.replace(b"\r", b"\n")) or _BARE.fullmatch(body), None
    else:
        return None
    if signal is None:
        return None
    digit = signal[1].decode().upper()
    return KeyPress(_EVENTS.get(digit, digit), int(duration[1]) / 1000 if duration else 0.0)


class Source(Enum):
    INFO = auto()
    RTP = auto()


class KeyPresses:
    """Tells the keys that one peer reports on both ways from those pressed twice. Bounded."""

    def __init__(self) -> None:
        self._recent: deque[tuple[str, float, Source]] = deque(maxlen=16)

    def is_new(self, digit: str, now: float, source: Source) -> bool:
        """False for the second report of a key press."""
        for press in self._recent:
            known, at, by = press
            if known == digit and by is not source and now - at <= SAME_PRESS_S:
                self._recent.remove(press)
                return False
        self._recent.append((digit, now, source))
        return True
