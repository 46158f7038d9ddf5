"""The next `media` message of a track, as Twilio numbers them (`connectors.media_ws.foreseen`).

`sequenceNumber` counts the messages of all tracks, so it steps by the number of tracks that take turns. `chunk` counts
those of one track or of all, as the sender likes. `timestamp` steps by the audio of a message.
"""

import re

from connectors.media_ws.foreseen import AUDIO, PACKET_MS, Foreseen, MessageTemplate
from connectors.media_ws.track import Track

_MEDIA = MessageTemplate(
    re.compile(
        rb'(.*"sequenceNumber" ?: ?")([1-9][0-9]*)(".*"chunk" ?: ?")([1-9][0-9]*)(".*"timestamp" ?: ?")([0-9]+)'
        rb'(".*"payload" ?: ?")(' + AUDIO + rb')(".*)',
        re.DOTALL,
    ),
    keys=(b'"sequenceNumber"', b'"chunk"', b'"timestamp"', b'"payload"'),
)


def next_media(message: bytes, before: bytes, track: Track, tracks: int, pts: int) -> Foreseen | None:
    """`message`, `before`: the last two of this track, of a stream with so many `tracks`. None where they do not say
    what the next one is like."""
    foreseen = _MEDIA.foresee(message, before, track, pts)
    if foreseen is None:
        return None
    sequence, chunk, timestamp = foreseen.steps
    return foreseen if sequence == tracks and 0 <= chunk <= tracks and timestamp == PACKET_MS else None
