"""What a `start` of Twilio's protocol must be for its stream to be taken. Each refusal is a `RemoteProtocolError`."""

import re

from connectors.errors import RemoteProtocolError
from connectors.media_ws.config import MediaLimits
from connectors.media_ws.track import Track
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio.lenient import track_name

_SID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def stream_sid_of(message: wire.StartMessage) -> str:
    """The stream's SID, which stands in a start twice. 1002: it is missing, it is two, or the call's is unusable."""
    body, stream_sid = message.start, message.stream_sid or message.start.stream_sid
    if body.stream_sid and body.stream_sid != stream_sid:
        raise RemoteProtocolError(1002, "malformed start: two stream SIDs")
    if not (_SID.fullmatch(body.call_sid) and _SID.fullmatch(stream_sid)):
        raise RemoteProtocolError(1002, "malformed start: callSid or streamSid")
    return stream_sid


def tracks_of(body: wire.StartBody) -> tuple[Track, ...]:
    """The tracks that are announced. 1003: a format or a track that Twilio does not have."""
    media = body.media_format
    encoding = media.encoding.partition(";")[0].strip().lower()
    if encoding not in wire.ENCODINGS or (media.sample_rate, media.channels) != (wire.SAMPLE_RATE_HZ, 1):
        raise RemoteProtocolError(1003, "media format is not audio/x-mulaw, 8000 Hz, 1 channel")
    names = [track_name(name) for name in body.tracks]
    if names in (["both"], ["both_tracks"]):
        names = list(Track)
    tracks = tuple(Track(name) for name in names if name in tuple(Track))
    if not tracks or len(set(tracks)) != len(names):
        raise RemoteProtocolError(1003, "tracks are not inbound, outbound or both")
    return tracks


def check_parameters(body: wire.StartBody, limits: MediaLimits) -> None:
    """1008: too many or too long ones."""
    parameters = body.custom_parameters
    if len(parameters) > limits.max_parameters:
        raise RemoteProtocolError(1008, "too many custom parameters")
    if any(len(name) + len(value) > limits.max_parameter_chars for name, value in parameters.items()):
        raise RemoteProtocolError(1008, "custom parameter too long")
