"""From the text of a message to its struct.

The typed decoder (`messages`) takes what Twilio sends; what it does not take is read by `lenient`, and counted.
"""

import msgspec

from connectors.errors import RemoteProtocolError
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio.lenient import LenientReader, NotAMessage, Unusable, read_fields
from connectors.media_ws.twilio.output import StreamOutput, StreamState


class MessageParser:
    """Of one stream, whose `output` notes what is counted."""

    def __init__(self, output: StreamOutput) -> None:
        self._output = output
        self._reader = LenientReader(output.tracks)

    @property
    def unannounced(self) -> bool:
        """The `start` named no tracks: others than the one it is taken for may come."""
        return self._reader.unannounced

    def parse(self, data: str | bytes) -> wire.TwilioMessage | None:
        """None: counted and left out. Raises `RemoteProtocolError`."""
        if isinstance(data, bytes):
            raise RemoteProtocolError(1003, "binary message")
        try:
            return wire.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return self._read(data)

    def _read(self, data: str) -> wire.TwilioMessage | None:
        """What the typed decoder did not take: taken, counted and left out, or a breach of the protocol."""
        output = self._output
        try:
            fields = read_fields(data)
        except NotAMessage as exc:
            raise RemoteProtocolError(1007, str(exc)) from None
        event = fields.event
        if event not in wire.KNOWN_EVENTS:
            output.stats.unknown_events += 1
            output.note("unknown event")
            return None
        if output.state is not StreamState.STREAMING and event not in ("connected", "start"):
            raise RemoteProtocolError(1002, f"{event} {output.state}")
        try:
            message, odd = self._reader.message(fields), self._reader.odd
        except Unusable as exc:
            if event == "start":
                raise RemoteProtocolError(1002, f"malformed {event} at {exc}") from None
            output.malformed(f"{event} at {exc}")
            return None
        output.irregular(odd or f"{event} in another form")
        return message
