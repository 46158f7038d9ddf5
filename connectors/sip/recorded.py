"""A dialog of a recording client (SIPREC) as part of a recorded call: a leg for each labelled stream, roles and names
from the metadata (RFC 7866, 7865).

Dialogs that record the same communication session share one call, which ends with the last of them.
"""

import logging
from dataclasses import dataclass, field

from connectors.media_lines import Direction
from connectors.recording import RsParticipant
from connectors.sip.config import SipConfig
from connectors.sip.invitation import SipCall
from connectors.sip.media import Background, MediaPlace
from connectors.sip.message import SipRequest
from connectors.sip.session import CallRegistry, PipelineCall, Refused, Session
from connectors.siprec import (
    LegAdded,
    LegRemoved,
    LegUpdated,
    MetadataChanged,
    Paused,
    RecordedCall,
    RecordedCalls,
    RecordingBody,
    RecordingSession,
    Resumed,
    SiprecEvent,
    Transferred,
)
from pipeline.call import LegOptions

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recordings:
    """The recorded calls of a server, and the pipeline's call of each."""

    known: RecordedCalls
    calls: dict[RecordedCall, PipelineCall] = field(default_factory=dict)


class RecordedDialog(Session):
    """`recording` keeps what the metadata says."""

    direction = Direction.RECVONLY
    connector = "siprec"

    def __init__(
        self,
        sip: SipCall,
        calls: CallRegistry,
        config: SipConfig,
        place: MediaPlace,
        background: Background,
        recordings: Recordings,
    ) -> None:
        super().__init__(sip, calls, config, place, background)
        self._recordings = recordings
        self._recording: RecordingSession | None = None
        self._ports: dict[str, int] = {}

    def start(self, body: RecordingBody) -> PipelineCall:
        """The call of the communication session that the metadata names, or a new one."""
        recordings = self._recordings
        self._recording = recording = recordings.known.open("/".join(self.sip.dialog.id), body.metadata)
        call = recordings.calls.get(recording.call)
        if call is None:
            from_, to = _parties(body, self.sip)
            call = recordings.calls[recording.call] = self.start_call(from_, to)
        return call

    def hand_over(self, request: SipRequest, successor: Session) -> PipelineCall:  # noqa: ARG002 - no such thing
        raise Refused(488, "a recording is not replaced")

    def join(self, body: RecordingBody) -> None:
        """Legs come and go as the description and the metadata say."""
        if self._recording is None:
            raise Refused(488, "the dialog began without a recording")
        agreed = {one.index: one for one in self.media.negotiation.streams}
        if body.metadata_error is not None:
            logger.warning("call %s: recording metadata left out: %s", self.call_id, body.metadata_error)
        events = self._recording.apply(body.sdp, body.metadata, accepted=agreed.keys())
        for event in events:
            if isinstance(event, LegAdded):
                port = agreed[event.index].local.port
                self._ports[event.leg] = port
                self.add_leg(port, LegOptions(event.leg, event.role, event.channel_index))
                self._tell(event.leg, event.participants)
            else:
                self._apply(event)
        for one in agreed.values():
            self.media.stream_of(one).endpoint.update(one)
        self.hold(self._recording.paused)

    def _apply(self, event: SiprecEvent) -> None:
        match event:
            case LegUpdated():
                self._tell(event.leg, event.participants)
            case Transferred():
                self._transfer(_described(event.leg, event.participants))
            case MetadataChanged():
                self._update(dict(event.metadata))
            case Paused() | Resumed():
                port = self._ports.get(event.leg)
                stream = self.media.streams.get(port) if port is not None else None
                if stream is not None:
                    stream.endpoint.pause() if isinstance(event, Paused) else stream.endpoint.resume()
            case LegRemoved():
                self._remove(event.leg)

    def _remove(self, name: str) -> None:
        """A leg is gone while its call goes on. Where its line stays, it is the next leg's."""
        port = self._ports.pop(name, None)
        stream = self.media.streams.get(port) if port is not None else None
        if stream is not None and stream.leg is not None:
            self._background(stream.leg.close())
            stream.give(None)

    def _tell(self, leg: str, participants: tuple[RsParticipant, ...]) -> None:
        """Who speaks on a leg, in the call's metadata."""
        self._update(_described(leg, participants))

    def _transfer(self, metadata: dict[str, str]) -> None:
        if self.call is not None and not self.call.handle.ended:
            self.call.handle.transfer(metadata)

    def _update(self, metadata: dict[str, str]) -> None:
        if metadata and self.call is not None and not self.call.handle.ended:
            self.call.handle.update(metadata)

    async def _end(self, call: PipelineCall | None, reason: str) -> None:
        """The legs of this dialog end; the call ends with its last dialog."""
        legs = [stream.leg for stream in self.media.streams.values() if stream.leg is not None]
        await self.media.close()
        recording, self._recording = self._recording, None
        if recording is None:
            return
        recording.close()
        if recording.call.sessions:
            for leg in legs:
                await leg.close()
            return
        started = self._recordings.calls.pop(recording.call, call)
        if started is not None:
            await started.handle.end(reason)


def _parties(body: RecordingBody, sip: SipCall) -> tuple[str, str]:
    """Who called whom by the metadata, or else whom the dialog names."""
    participants = body.metadata.participants if body.metadata is not None else ()
    numbers = [one.number or one.name for one in participants]
    request = sip.request
    fallback = [str(request.from_.uri), str(request.to.uri)]
    return (numbers + fallback[len(numbers) :])[0], (numbers[:2] + fallback[len(numbers[:2]) :])[1]


def _described(leg: str, participants: tuple[RsParticipant, ...]) -> dict[str, str]:
    """Names and numbers of who speaks on a leg, as metadata."""
    told: dict[str, str] = {}
    for name, value in (
        ("name", ", ".join(one.name for one in participants if one.name)),
        ("number", ", ".join(one.number for one in participants if one.number)),
    ):
        if value:
            told[f"leg.{leg}.{name}"] = value
    return told
