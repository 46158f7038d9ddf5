"""Payload formats of RTP audio as SDP describes them: static numbers, `a=rtpmap` and `a=fmtp`.

Sits below `connectors.sdp.description`. Names are in upper case here and as registered on the wire; clock rates are
those of the RTP timestamp, which for G.722 is 8000 although the audio has 16 kHz (RFC 3551, section 4.5.2).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TELEPHONE_EVENT = "TELEPHONE-EVENT"
COMFORT_NOISE = "CN"

MAX_PARAMETERS = 64
"""Parameters of one payload type that are kept."""

DEFAULT_EVENT_CLOCK = 8000
"""Of telephone-event, where its `rtpmap` does not say (RFC 4733, section 7.1.1)."""

EVENTS = "events"
"""Name of the parameter that telephone-event writes without a name (RFC 4733, section 2.4.1)."""

_WRITTEN = {"OPUS": "opus", TELEPHONE_EVENT: "telephone-event"}


@dataclass(frozen=True, slots=True)
class RtpCodec:
    """One payload type of a media line. `parameters`: of `a=fmtp`, names in lower case; one without a value has ''.
    The events of telephone-event stand under `EVENTS`."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> tuple[str, int, int]:
        """What two descriptions of the same codec agree on, whatever number each gives it."""
        return self.name, self.clock_rate, self.channels

    @property
    def is_audio(self) -> bool:
        """False for telephone-event and comfort noise, which accompany a codec."""
        return self.name not in {TELEPHONE_EVENT, COMFORT_NOISE}


# RFC 3551, table 4; 19 is the number that comfort noise had before RFC 3389.
STATIC: Mapping[int, tuple[str, int, int]] = {
    0: ("PCMU", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    6: ("DVI4", 16000, 1),
    7: ("LPC", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    12: ("QCELP", 8000, 1),
    13: (COMFORT_NOISE, 8000, 1),
    14: ("MPA", 90000, 1),
    15: ("G728", 8000, 1),
    16: ("DVI4", 11025, 1),
    17: ("DVI4", 22050, 1),
    18: ("G729", 8000, 1),
    19: (COMFORT_NOISE, 8000, 1),
}

_FIXED: Mapping[str, tuple[int, int]] = {"G722": (8000, 1), "OPUS": (48000, 2)}
"""Clock and channels that the RFCs of these codecs fix, whatever is written: some peers write the sampling rate of
G.722, or leave out the channels of Opus (RFC 7587, section 4.1)."""

_NAMES: Mapping[str, str] = {
    "G711U": "PCMU",
    "G711MU": "PCMU",
    "G711ULAW": "PCMU",
    "ULAW": "PCMU",
    "MULAW": "PCMU",
    "G711A": "PCMA",
    "G711ALAW": "PCMA",
    "ALAW": "PCMA",
    "G722": "G722",
    "L16": "L16",
    "OPUS": "OPUS",
    "TELEPHONEEVENT": TELEPHONE_EVENT,
    "TELEPHONEEVENTS": TELEPHONE_EVENT,
}
"""Other ways to write the names of our codecs, without their hyphens, dots and underscores."""

_MAP = re.compile(r"([^/\s]+)(?:(?:\s*/\s*|\s+)(\d++)(?![\w.]*[A-Za-z])(?:(?:\s*/\s*|\s+)(\d++))?)?")
STRICT_MAP = re.compile(r"[^/\s]+/[0-9]+(/[0-9]+)?")
"""An `rtpmap` without its number, as the grammar has it (RFC 8866, section 6.6)."""


def number(text: str, highest: int) -> int | None:
    """A decimal number from 0 to `highest`, or None."""
    if not 0 < len(text) <= 20 or not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value <= highest else None


def codec(payload_type: int, rtpmap: str | None, fmtp: str | None) -> RtpCodec | None:
    """The codec of a payload type, None where its number is dynamic and `rtpmap` is missing or malformed.

    `rtpmap`: 'name/clock[/channels]', read with spaces in the place of the slashes or around them, and without what
    follows. A clock that is left out is that of a codec that has only one, or of a static number under its own name;
    such a number keeps its clock.
    """
    key = _read_map(payload_type, rtpmap or "") or STATIC.get(payload_type)
    return None if key is None else RtpCodec(payload_type, *key, _parameters(key[0], fmtp or ""))


def _read_map(payload_type: int, rtpmap: str) -> tuple[str, int, int] | None:
    found = _MAP.match(rtpmap.strip())
    if found is None:
        return None
    name = found[1].upper()
    name = _NAMES.get(re.sub(r"[-._]", "", name), name)
    static = STATIC.get(payload_type)
    if static is not None and static[0] == name:
        return static
    rate = number(found[2] or "", 1_000_000)
    if name in _FIXED:
        return name, *_FIXED[name]
    if not rate and name == TELEPHONE_EVENT:
        rate = DEFAULT_EVENT_CLOCK
    return (name, rate, number(found[3] or "", 255) or 1) if rate else None


def _parameters(name: str, fmtp: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for item in fmtp.split(";"):
        key, _, value = item.strip().partition("=")
        key = key.strip().lower()
        if not key or len(parameters) >= MAX_PARAMETERS:
            continue
        if name == TELEPHONE_EVENT and not value:
            key, value = EVENTS, key
        parameters.setdefault(key, value.strip())
    return parameters


def rtpmap_value(codec: RtpCodec) -> str:
    """'0 PCMU/8000': the value of its `a=rtpmap`."""
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    return f"{codec.payload_type} {_WRITTEN.get(codec.name, codec.name)}/{codec.clock_rate}{channels}"


def fmtp_value(codec: RtpCodec) -> str | None:
    """'101 0-15': the value of its `a=fmtp`, None where it has no parameters."""
    items = []
    for key, value in codec.parameters.items():
        if codec.name == TELEPHONE_EVENT and key == EVENTS:
            items.append(value)
        else:
            items.append(f"{key}={value}" if value else key)
    return f"{codec.payload_type} {';'.join(items)}" if items else None
