"""The JSON messages of Twilio Media Streams, both ways, as typed structs.

Source: Twilio's "Media Streams - WebSocket Messages". Numbers travel as strings. Unknown fields are ignored, so that
new ones do no harm; base64 is strict. What else copies of the protocol send is for `lenient`. Twilio's side is
decoded by the server and encoded by the player, ours the reverse.
"""

from typing import Literal

import msgspec

from connectors.media_ws.track import Track

ENCODING = "audio/x-mulaw"
SAMPLE_RATE_HZ = 8000

ENCODINGS = frozenset(
    f"{prefix}{name}" for prefix in ("", "audio/", "audio/x-") for name in ("mulaw", "mu-law", "ulaw", "pcmu", "g711u")
)
"""Names under which copies of the protocol send `ENCODING`, in lower case."""


class _Body(msgspec.Struct, frozen=True, rename="camel", gc=False):
    pass


class _Message(msgspec.Struct, frozen=True, rename="camel", tag_field="event"):
    pass


class ConnectedMessage(_Message, tag="connected", frozen=True):
    protocol: str = "Call"
    version: str = "1.0.0"


class MediaFormatBody(_Body, frozen=True):
    encoding: str
    sample_rate: int
    channels: int


class StartBody(msgspec.Struct, frozen=True, rename="camel"):
    stream_sid: str
    account_sid: str
    call_sid: str
    tracks: tuple[str, ...]
    media_format: MediaFormatBody
    custom_parameters: dict[str, str] = {}


class StartMessage(_Message, tag="start", frozen=True):
    sequence_number: str
    stream_sid: str
    start: StartBody


class MediaBody(_Body, frozen=True, kw_only=True):
    """`timestamp`: ms since the stream began. `chunk` is not used for order: captures of one-track streams number it
    per track, Twilio's example of a two-track stream numbers it across both."""

    track: Track
    chunk: str = ""
    timestamp: str
    payload: bytes


class MediaMessage(_Message, tag="media", frozen=True, gc=False):
    sequence_number: str
    stream_sid: str
    media: MediaBody


Digit = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D"]


class DtmfBody(_Body, frozen=True):
    track: Literal["inbound_track", "outbound_track", "inbound", "outbound"]
    digit: Digit


class DtmfMessage(_Message, tag="dtmf", frozen=True):
    sequence_number: str
    stream_sid: str
    dtmf: DtmfBody


class MarkBody(_Body, frozen=True):
    name: str


class MarkMessage(_Message, tag="mark", frozen=True):
    sequence_number: str
    stream_sid: str
    mark: MarkBody


class StopBody(_Body, frozen=True):
    account_sid: str
    call_sid: str


class StopMessage(_Message, tag="stop", frozen=True):
    sequence_number: str
    stream_sid: str
    stop: StopBody


TwilioMessage = ConnectedMessage | StartMessage | MediaMessage | DtmfMessage | MarkMessage | StopMessage
KNOWN_EVENTS = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})


class PlayBody(_Body, frozen=True):
    payload: bytes


class PlayMessage(_Message, tag="media", frozen=True):
    """Ours to Twilio: audio to play into the call, mu-law at 8 kHz without a header."""

    stream_sid: str
    media: PlayBody


class PlayMarkMessage(_Message, tag="mark", frozen=True):
    """Ours to Twilio: comes back as `mark` when what was sent before it has been played."""

    stream_sid: str
    mark: MarkBody


class ClearMessage(_Message, tag="clear", frozen=True):
    """Ours to Twilio: drop what was sent and not yet played; its marks come back."""

    stream_sid: str


ServerMessage = PlayMessage | PlayMarkMessage | ClearMessage

_twilio_decoder: msgspec.json.Decoder[TwilioMessage] = msgspec.json.Decoder(TwilioMessage)
_media_decoder: msgspec.json.Decoder[MediaMessage] = msgspec.json.Decoder(MediaMessage)
_server_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()


def decode(data: str) -> TwilioMessage:
    """A message of Twilio's side. Raises `msgspec.DecodeError` (also for a message of another shape)."""
    return _twilio_decoder.decode(data)


def decode_media(data: bytes | bytearray) -> MediaMessage:
    """A message of Twilio's side that is expected to be `media`. Raises `msgspec.DecodeError` for any other."""
    return _media_decoder.decode(data)


def decode_server(data: str) -> ServerMessage:
    """A message of the server's side, as the player reads it."""
    return _server_decoder.decode(data)


def encode(message: TwilioMessage | ServerMessage) -> str:
    return _encoder.encode(message).decode()


def number(text: str) -> int | None:
    """A non-negative decimal number as Twilio writes it, or None."""
    return int(text) if len(text) <= 15 and text.isascii() and text.isdigit() else None
