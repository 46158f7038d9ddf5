"""Keys pressed, by INFO: the bodies that gateways send, and the keys that come as RTP events, too.

| type | body |
|---|---|
| application/dtmf-relay | `Signal=5` and `Duration=160` (ms), a line each |
| application/dtmf | `5` |
| audio/telephone-event | either, or the payload of RFC 4733, section 2.3 |
| application/vnd.nortelnetworks.digits | `d=5` among other lines |
| text/plain | `Signal=5` |
| multipart of any kind | one of these |

Any of these types comes with the body of any other. Quotes, white space for `=`, `;` or `,` between the two fields, a
byte-order mark and trailing NULs change nothing. `10` to `15` are the events of RFC 4733; more digits are no key, as
`12` would be two keys or one.
"""

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from connectors.multipart import MultipartError, split_multipart
from connectors.rtp.dtmf import DIGITS, EventPayload

DTMF_TYPES = (
    "application/dtmf-relay",
    "application/dtmf",
    "audio/telephone-event",
    "application/telephone-event",
    "application/vnd.nortelnetworks.digits",
)

SAME_PRESS_S = 1.0
"""The same key by INFO and by RTP within this time was pressed once."""

_MAX_BYTES = 256
_EVENT_HZ = 8000
_KEY = r"[\"']?([0-9*#a-d]|1[0-5])[\"']?"
_BETWEEN = r"[ \t]*(?:[=:]|(?<=[ \t]))[ \t]*"
_SIGNAL = re.compile(rf"(?:^|[\s;,])(?:signal|d){_BETWEEN}{_KEY}(?=[\s;,]|$)", re.IGNORECASE)
_DURATION = re.compile(rf"(?:^|[\s;,])duration{_BETWEEN}[\"']?(\d{{1,6}})(?!\d)", re.IGNORECASE)
_BARE = re.compile(_KEY, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InfoDigit:
    """`duration_s` 0: the body does not say."""

    digit: str
    duration_s: float


def parse_dtmf(content_type: str, body: bytes) -> InfoDigit | None:
    """The key of an INFO, or None for what is no such body. `content_type`: in lower case, with the parameters of a
    multipart."""
    if content_type.startswith("multipart/"):
        return _first_key(content_type, body)
    if content_type not in DTMF_TYPES and content_type != "text/plain":
        return None
    if content_type.endswith("/telephone-event") and len(body) == 4 and body[0] < len(DIGITS):
        return _event(body)
    text = body[:_MAX_BYTES].decode("latin-1").removeprefix("\xef\xbb\xbf").strip(" \t\r\n\0")
    signal = _SIGNAL.search(text)
    if signal is None and content_type in DTMF_TYPES:
        signal = _BARE.fullmatch(text)
    if signal is None:
        return None
    code = signal[1].upper()
    duration = _DURATION.search(text)
    digit = code if len(code) == 1 else DIGITS[int(code)]
    return InfoDigit(digit, int(duration[1]) / 1000 if duration else 0.0)


def _event(body: bytes) -> InfoDigit | None:
    """Of the messages of one press the last one, which ends it."""
    payload = EventPayload.parse(body)
    return InfoDigit(DIGITS[payload.event], payload.duration / _EVENT_HZ) if payload.end else None


def _first_key(content_type: str, body: bytes) -> InfoDigit | None:
    try:
        parts = split_multipart(content_type, body)
    except MultipartError:
        return None
    keys = (
        parse_dtmf(part.content_type, part.body) for part in parts if not part.content_type.startswith("multipart/")
    )
    return next((key for key in keys if key is not None), None)


class DigitSource(Enum):
    INFO = auto()
    RTP = auto()


class DigitDeduplicator:
    """Distinguishes digits that one peer reports both by INFO and by RTP from those pressed twice. Bounded."""

    def __init__(self) -> None:
        self._recent: deque[tuple[str, float, DigitSource]] = deque(maxlen=16)

    def is_new(self, digit: str, now: float, source: DigitSource) -> bool:
        """False for the second report of a key press."""
        for press in self._recent:
            known, at, by = press
            if known == digit and by is not source and now - at <= SAME_PRESS_S:
                self._recent.remove(press)
                return False
        self._recent.append((digit, now, source))
        return True
