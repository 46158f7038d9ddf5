"""Payload formats of RTP audio as SDP describes them: static numbers, `a=rtpmap` and `a=fmtp`.

Sits below `connectors.sdp`. Names are in upper case here and as registered on the wire; clock rates are those of the
RTP timestamp, which for G.722 is 8000 although the audio has 16 kHz (RFC 3551, section 4.5.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

TELEPHONE_EVENT = "TELEPHONE-EVENT"
COMFORT_NOISE = "CN"

MAX_PARAMETERS = 64
"""Parameters of one payload type that are kept."""

EVENTS = "events"
"""Name of the parameter that telephone-event writes without a name (RFC 4733, section 2.4.1)."""

_WRITTEN = {"OPUS": "opus", TELEPHONE_EVENT: "telephone-event"}


@dataclass(frozen=True, slots=True)
class Codec:
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


def number(text: str, highest: int) -> int | None:
    """A decimal number from 0 to `highest`, or None."""
    if not 0 < len(text) <= 20 or not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value <= highest else None


def codec(payload_type: int, rtpmap: str | None, fmtp: str | None) -> Codec | None:
    """The codec of a payload type, None where its number is dynamic and `rtpmap` is missing or malformed.

    `rtpmap`: 'name/clock[/channels]'. G.722 and Opus get the clock and channels that their RFCs fix, whatever is
    written: some peers write the sampling rate of G.722, or leave out the channels of Opus (RFC 7587, section 4.1).
    """
    name, clock_rate, channels = STATIC.get(payload_type, ("", 0, 1))
    parts = (rtpmap or "").strip().split("/")
    rate = number(parts[1].strip(), 1_000_000) if len(parts) > 1 else None
    if parts[0].strip() and rate:
        name, clock_rate = parts[0].strip().upper(), rate
        channels = (number(parts[2].strip(), 255) if len(parts) > 2 else 1) or 1
    if not name:
        return None
    if name == "G722":
        clock_rate, channels = 8000, 1
    elif name == "OPUS":
        clock_rate, channels = 48000, 2
    return Codec(payload_type, name, clock_rate, channels, _parameters(name, fmtp or ""))


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


def rtpmap_value(codec: Codec) -> str:
    """'0 PCMU/8000': the value of its `a=rtpmap`."""
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    return f"{codec.payload_type} {_WRITTEN.get(codec.name, codec.name)}/{codec.clock_rate}{channels}"


def fmtp_value(codec: Codec) -> str | None:
    """'101 0-15': the value of its `a=fmtp`, None where it has no parameters."""
    items = []
    for key, value in codec.parameters.items():
        if codec.name == TELEPHONE_EVENT and key == EVENTS:
            items.append(value)
        else:
            items.append(f"{key}={value}" if value else key)
    return f"{codec.payload_type} {';'.join(items)}" if items else None
