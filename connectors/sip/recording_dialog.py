"""A dialog of a recording client (SIPREC) as part of a recorded call: a leg for each labelled stream, roles and names
from the metadata (RFC 7866, 7865).

Dialogs that record the same communication session share one call, which ends with the last of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connectors.calls import LegHandle
from connectors.sdp.description import SessionDescription
from connectors.sdp.media_lines import Direction
from connectors.sdp.offer_answer import Negotiated
from connectors.sip.call import SipCall
from connectors.sip.dialog_call import DialogCall, PipelineCall, Shared, SipRefused
from connectors.sip.media import DialogStream, MediaPlace
from connectors.sip.message.message import SipRequest
from connectors.siprec.metadata import RsMetadata, RsParticipant
from connectors.siprec.recording_session import (
    LegAdded,
    LegRefused,
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
    read_body,
)
from pipeline.call import LegOptions
from pipeline.records import SpeakerRole

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recordings:
    """The recorded calls of a server: the pipeline's call of each, and the dialog of each recording session."""

    known: RecordedCalls
    calls: dict[RecordedCall, PipelineCall] = field(default_factory=dict)
    dialogs: dict[RecordingSession, "RecordedDialog"] = field(default_factory=dict)

    def reapply(self, call: RecordedCall) -> None:
        """A dialog has given up streams that another one of the call may carry, too."""
        for session in list(call.sessions):
            self.dialogs[session].reapply()


class RecordedDialog(DialogCall):
    """A dialog with a recording client."""

    direction = Direction.RECVONLY
    connector = "siprec"

    def __init__(self, sip: SipCall, shared: Shared, place: MediaPlace, recordings: Recordings) -> None:
        super().__init__(sip, shared, place)
        self._recordings = recordings
        self._recording: RecordingSession | None = None
        self._body = RecordingBody()
        self._ports: dict[str, int] = {}
        self._asked = False
        self._doubts: tuple[str, ...] = ()
        self.media.on_gone = self._reapply_others

    def read(self, request: SipRequest) -> SessionDescription | None:
        """The description in a request's body; the metadata in it are kept until `join` takes them."""
        self._body = RecordingBody()
        return super().read(request)

    def read_body(self, content_type: str, body: bytes) -> SessionDescription | None:
        self._body = read_body(content_type, body)
        return self._body.sdp

    def start(self) -> PipelineCall:
        """The call of the communication session that the metadata names, or a new one."""
        recordings, body = self._recordings, self._body
        self._recording = recording = recordings.known.open("/".join(self.sip.dialog.id), body.metadata)
        recordings.dialogs[recording] = self
        call = recordings.calls.get(recording.call)
        if call is None:
            request, parties = self.sip.request, recordings.known.parties(body.metadata or RsMetadata())
            named = [one.number or one.name or one.aor for one in parties]
            from_, to, *_ = [*named, *(str(request.from_.uri), str(request.to.uri))[len(named) :]]
            call = recordings.calls[recording.call] = self.start_call(from_, to)
        return call

    def hand_over(self, request: SipRequest, successor: DialogCall) -> PipelineCall:  # noqa: ARG002 - no such thing
        raise SipRefused(488, "a recording is not replaced")

    def join(self, sdp: SessionDescription | None) -> list[int]:
        """Legs come and go as the description and the metadata say; the places of the lines that get no leg."""
        if self._recording is None:
            raise SipRefused(488, "the dialog began without a recording")
        body, self._body = self._body, RecordingBody()
        if body.metadata_error is not None:
            self._shared.stats.recording.bad_documents += 1
            logger.warning("call %s: recording metadata left out: %s", self.call_id, body.metadata_error)
        agreed = self._agreed()
        refused = self._carry_out(self._recording.apply(sdp, body.metadata, accepted=agreed))
        self._check_metadata(body, self._recording)
        self._log_doubts(self._recording)
        for index, one in agreed.items():
            if index not in refused:
                self.media.stream_of(one).endpoint.update(one)
        self._update_pause(self._recording)
        return refused

    def _update_pause(self, recording: RecordingSession) -> None:
        gone = self._has_no_line()
        self._held = recording.paused or gone
        if self.call is not None:
            self.call.hold(self, self._held if recording.has_legs or gone else None)

    def _log_doubts(self, recording: RecordingSession) -> None:
        if recording.doubts and recording.doubts != self._doubts:
            reasons = ", ".join(recording.doubts)
            logger.warning("call %s: who speaks on a leg is guessed or not known: %s", self.call_id, reasons)
        self._doubts = recording.doubts

    def _check_metadata(self, body: RecordingBody, recording: RecordingSession) -> None:
        """Whether the client is to send all metadata anew, after what a request brought; once, until it did."""
        reason = None
        if body.metadata_error is not None:
            reason = "the metadata cannot be read"
        elif recording.is_incomplete:
            reason = "the metadata refer to objects that were not described"
        elif body.metadata is not None:
            self._asked = False
        if reason is not None and not self._asked:
            self._asked, self.question = True, reason

    def reapply(self) -> None:
        """Take streams that another dialog of the call has given up."""
        if self._recording is not None and self.call is not None and not self.call.handle.ended:
            self._carry_out(self._recording.apply(None, None, accepted=self._agreed()))
            self._update_pause(self._recording)

    def _agreed(self) -> dict[int, Negotiated]:
        return {one.index: one for one in self.media.negotiation.streams}

    def _carry_out(self, events: Sequence[SiprecEvent]) -> list[int]:
        """Do what the recording says; the places of the lines that get no leg."""
        places: list[int] = []
        refused: list[str] = []
        for event in events:
            match event:
                case LegAdded():
                    if not self._add(event):
                        refused.append(event.leg)
                        places.append(event.index)
                case LegRefused():
                    places.append(event.index)
                case MetadataChanged():
                    self._update(event.metadata, {})
                case LegRemoved():
                    self._remove(event.leg)
                case _ if event.leg in refused:
                    pass
                case LegUpdated():
                    self._update(_described(event.leg, event.participants), {event.leg: event.role})
                case Transferred():
                    self._transfer(event)
                case Paused() | Resumed():
                    self._pause(event)
        if self._recording is not None:
            for leg in reversed(refused):
                self._recording.refuse_leg(leg)
        return places

    def _add(self, event: LegAdded) -> bool:
        """Open a leg and publish who speaks on it; False where the call cannot have it."""
        port = self._agreed()[event.index].local.port
        if not self.add_leg(port, LegOptions(event.leg, event.role, event.channel_index)):
            return False
        self._ports[event.leg] = port
        if described := _described(event.leg, event.participants):
            self._update(described, {})
        return True

    def _refuse_stream(self, stream: DialogStream) -> list[int]:
        name = "" if stream.leg is None else stream.leg.options.leg
        places = super()._refuse_stream(stream)
        self._ports.pop(name, None)
        if self._recording is not None:
            self._recording.refuse_leg(name)
        return places

    def _pause(self, event: Paused | Resumed) -> None:
        stream = self.media.streams.get(self._ports[event.leg])
        if stream is not None:
            stream.endpoint.pause() if isinstance(event, Paused) else stream.endpoint.resume()

    def _remove(self, name: str) -> None:
        """A leg is gone while its call goes on. Where its line stays, it is the next leg's; where the line is gone, the
        leg goes with it."""
        stream = self.media.streams.get(self._ports.pop(name))
        if stream is not None and stream.leg is not None:
            self._shared.background(self._close(stream.leg))
            stream.bind(None)
            stream.endpoint.resume()

    async def _close(self, leg: LegHandle) -> None:
        await leg.close()
        self._reapply_others()

    def _reapply_others(self) -> None:
        if self._recording is not None:
            self._recordings.reapply(self._recording.call)

    def _update(self, metadata: Mapping[str, str], roles: Mapping[str, SpeakerRole]) -> None:
        if self.call is not None and not self.call.handle.ended:
            self.call.handle.update(metadata, roles)

    def _transfer(self, event: Transferred) -> None:
        if self.call is not None and not self.call.handle.ended:
            self.call.handle.transfer(_described(event.leg, event.participants), {event.leg: event.role})

    async def _end(self, call: PipelineCall | None, reason: str) -> None:
        """The legs of this dialog end; the call ends with its last dialog."""
        legs = [stream.leg for stream in self.media.streams.values() if stream.leg is not None]
        recording, self._recording = self._recording, None
        try:
            await self.media.close()
        finally:
            if recording is not None:
                await self._end_recording(recording, call, legs, reason)

    async def _end_recording(
        self, recording: RecordingSession, call: PipelineCall | None, legs: Sequence[LegHandle], reason: str
    ) -> None:
        recording.close()
        del self._recordings.dialogs[recording]
        if recording.call.sessions:
            if call is not None:
                call.hold(self, None)
            for leg in legs:
                await leg.close()
            self._recordings.reapply(recording.call)
            return
        started = self._recordings.calls.pop(recording.call, call)
        if started is not None:
            await started.handle.end(reason)


def _described(leg: str, participants: tuple[RsParticipant, ...]) -> dict[str, str]:
    """Names and numbers of who speaks on a leg, as metadata."""
    described: dict[str, str] = {}
    for name, value in (
        ("name", ", ".join(one.name for one in participants if one.name)),
        ("number", ", ".join(one.number for one in participants if one.number)),
    ):
        if value:
            described[f"leg.{leg}.{name}"] = value
    return described
