"""One dialog as a call: its descriptions to media, its media to legs, its hold and end to the pipeline.

Sits between `connector.SipConnector`, which has the messages, and `pipeline.Call`. A plain call has a leg for each
audio line; that of a recording client is a `recording_dialog.RecordedDialog`. What cannot be had is a
`SipRefused`, which says how the peer is answered.
"""

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from connectors.calls import CallHandle, CallRegistry, LegHandle
from connectors.codecs import CodecError
from connectors.errors import ConnectorError
from connectors.multipart import MultipartError
from connectors.rtp.errors import UnsupportedSuite
from connectors.rtp.events import DtmfEvent
from connectors.sdp.body import SDP_TYPE, read_description
from connectors.sdp.description import SdpError, SessionDescription, encode
from connectors.sdp.media_lines import Direction
from connectors.sdp.offer_answer import Negotiated, NoCommonCodec
from connectors.sip.call import Answer, Info, SipCall
from connectors.sip.call_info import call_metadata, number_of
from connectors.sip.config import SipConfig
from connectors.sip.dtmf_info import DigitDeduplicator, DigitSource, parse_dtmf
from connectors.sip.media import Background, DialogMedia, DialogStream, MediaPlace, capabilities
from connectors.sip.message.message import SipRequest
from connectors.sip.stats import SipStats
from pipeline.call import CallInfo, LegOptions
from pipeline.errors import CallEnded, CallError, EngineError
from pipeline.records import SpeakerRole

logger = logging.getLogger(__name__)


class SipRefused(ConnectorError):
    """The peer is answered `status` with `headers`."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers
        self.retryable = status == 503


_STATUS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int], ...] = (
    ((MultipartError, SdpError), 400),
    ((UnsupportedSuite, CodecError), 488),
    (CallEnded, 481),
)


def refusal_of(error: Exception) -> SipRefused:
    """How an error of ours or of the peer's is answered: 503 for what may pass, 500 for what nobody foresaw."""
    if isinstance(error, SipRefused):
        return error
    if isinstance(error, NoCommonCodec):
        return SipRefused(488, str(error), (("Warning", f'{error.warning.value} trunkline "{error}"'),))
    if getattr(error, "retryable", False):
        return SipRefused(503, str(error))
    status = next((status for kinds, status in _STATUS if isinstance(error, kinds)), 500)
    return SipRefused(status, str(error))


@dataclass(slots=True)
class PipelineCall:
    """A call of the pipeline, which dialogs may hand on or share. `started_at`: when its media time began. `legs`: how
    many it had so far. `held`: whether each of its dialogs is on hold."""

    handle: CallHandle
    started_at: float
    digits: DigitDeduplicator = field(default_factory=DigitDeduplicator)
    legs: int = 0
    held: dict["DialogCall", bool] = field(default_factory=dict)

    def hold(self, dialog: "DialogCall", held: bool | None) -> None:
        """The call is on hold while all its dialogs are; None: this one has no say."""
        before = self.is_held
        if held is None:
            self.held.pop(dialog, None)
        else:
            self.held[dialog] = held
        if self.is_held is not before and not self.handle.ended:
            self.handle.resume() if before else self.handle.hold()

    @property
    def is_held(self) -> bool:
        return bool(self.held) and all(self.held.values())


@dataclass(slots=True)
class Shared:
    """What all dialogs of a server share."""

    calls: CallRegistry
    config: SipConfig
    stats: SipStats
    background: Background


class DialogCall:
    """One dialog. `question`: why the peer is to be asked for its metadata, to be taken by who asks it."""

    def __init__(self, sip: SipCall, shared: Shared, place: MediaPlace) -> None:
        self.sip = sip
        self.call: PipelineCall | None = None
        self.media = DialogMedia(place, capabilities(shared.config, self.direction), shared.background)
        self.question: str | None = None
        self._shared, self._config = shared, shared.config
        self._running = False
        self._held = False
        self._listened = False
        self._logged_unread = False
        self._silent_since = time.monotonic()

    direction = Direction.SENDRECV
    connector = "sip"

    @property
    def call_id(self) -> str:
        """For the log."""
        return self.sip.dialog.call_id

    # -- descriptions

    def begin(self, replaced: "DialogCall | None" = None) -> Answer:
        """Answer the INVITE: start the call, or take over that of `replaced`. Where `awaits_answer`, the answer is not
        to be sent before `admitted`. Raises what `refusal_of` knows; nothing is left behind then, and nothing was
        published of the call."""
        request = self.sip.request
        try:
            offer = self.read(request)
            description = self.describe(offer)
            if replaced is None:
                self.call = self.start()
            else:
                self.call = replaced.hand_over(request, self)
                self._running = True
            description = self._join_answered(offer, description)
            if not self.awaits_answer:
                self.call.handle.announce()
        except BaseException:
            call, self.call = self.call, None
            self._shared.background(self._end(call, "refused"))
            raise
        self._running = True
        return Answer(encode(description), is_offer=offer is None)

    @property
    def awaits_answer(self) -> bool:
        """The engine has not said yet of every leg whether it takes it."""
        return bool(self.media.unanswered)

    async def admitted(self) -> None:
        """The call that `begin` has prepared, once the engine takes all its legs. Raises what `refusal_of` knows; the
        session is then to be ended."""
        with contextlib.suppress(CallEnded):
            for leg in [stream.leg for stream in self.media.streams.values() if stream.leg is not None]:
                await leg.admitted()
        if self.call is None or self.call.handle.ended:
            raise SipRefused(503, "the call was ended before it began")
        self.call.handle.announce()

    async def settled(self, answer: Answer, added: Sequence[DialogStream]) -> Answer:
        """The answer that `reoffer` has prepared, once the engine has said of the legs that it adds whether it takes
        them: the lines of those that it does not are refused."""
        refused = []
        for stream in added:
            leg = stream.leg
            try:
                if leg is not None:
                    await leg.admitted()
            except CallEnded:
                return answer
            except (CallError, EngineError) as error:
                self._shared.stats.refused_lines += 1
                logger.warning("call %s: no room for leg %s: %s", self.call_id, leg and leg.options.leg, error)
                refused += self._refuse_stream(stream)
        if not refused or answer.is_offer or not answer.body:
            return answer
        return replace(answer, body=encode(self.media.negotiation.refuse(refused)))

    def _refuse_stream(self, stream: DialogStream) -> list[int]:
        """The stream gets no leg after all; the places of its line."""
        stream.bind(None)
        return [one.index for one in self.media.negotiation.streams if self.media.streams.get(one.local.port) is stream]

    def reoffer(self, request: SipRequest) -> Answer:
        """Answer a re-INVITE or UPDATE; lines that it adds and that get no leg are refused in the answer, those of
        legs that await the engine's word by `settled`. Raises what `refusal_of` knows; nothing is changed then."""
        offer = self.read(request)
        if offer is None and request.method == "UPDATE":
            self.join(None)
            return Answer()
        description = self._join_answered(offer, self.describe(offer))
        return Answer(encode(description), is_offer=offer is None)

    def acknowledge(self, request: SipRequest | None) -> None:
        """The answer to our offer came, or None: an ACK without one. Raises what `refusal_of` knows; the call is to be
        ended then. A session that ran before the offer goes on as it was where the ACK has no answer that can be
        read."""
        negotiation = self.media.negotiation
        if request is None:
            negotiation.withdraw()
            return
        answer = self._read_answer(request)
        if answer is None:
            if not negotiation.streams:
                raise SipRefused(488, "no description in the ACK")
            logger.warning(
                "call %s: the ACK has no answer that can be read: the session goes on as it was", self.call_id
            )
            self._shared.stats.requests.unanswered_offers += 1
            negotiation.withdraw()
            return
        agreed = negotiation.accept(answer)
        if len(self.join(answer)) == len(agreed) > 0:
            raise SipRefused(503, "no room for a leg")

    def _read_answer(self, request: SipRequest) -> SessionDescription | None:
        """None: there is none, or it cannot be read, and there is a session to go on with."""
        try:
            return self.read(request)
        except (SdpError, MultipartError):
            if not self.media.negotiation.streams:
                raise
            return None

    def read(self, request: SipRequest) -> SessionDescription | None:
        """The description in a request's body. Raises `MultipartError`, `SdpError`."""
        sdp = self.read_body(str(request.content_type or SDP_TYPE), request.body) if request.body else None
        if sdp is not None:
            self._shared.stats.sdp_mended += sdp.mended
            self._shared.stats.sdp_ignored += sdp.ignored
        return sdp

    def read_body(self, content_type: str, body: bytes) -> SessionDescription | None:
        return read_description(content_type, body)

    def describe(self, offer: SessionDescription | None) -> SessionDescription:
        """Our answer, or our offer where there is none."""
        negotiation = self.media.negotiation
        return negotiation.offer() if offer is None else negotiation.answer(offer)[0]

    def _join_answered(self, offer: SessionDescription | None, description: SessionDescription) -> SessionDescription:
        """The description anew, where our answer is to refuse lines that get no leg."""
        refused = self.join(offer)
        return self.media.negotiation.refuse(refused) if refused and offer is not None else description

    # -- the call

    def start(self) -> PipelineCall:
        """Begin the pipeline's call. Raises `CallError`."""
        request = self.sip.request
        return self.start_call(number_of(request.from_.uri), number_of(request.to.uri))

    def start_call(self, from_: str, to: str) -> PipelineCall:
        """The Call-ID is the call's id, with our tag where a dialog of the same one is running."""
        dialog = self.sip.dialog
        calls = self._shared.calls
        call_id = dialog.call_id if calls.get(dialog.call_id) is None else f"{dialog.call_id};{dialog.local_tag}"
        metadata = call_metadata(self.sip.request, self._config.metadata_headers)
        info = CallInfo(call_id, self.connector, from_=from_, to=to, metadata=metadata)
        return PipelineCall(calls.start(info, announce=False), time.monotonic())

    def join(self, sdp: SessionDescription | None) -> list[int]:  # noqa: ARG002 - a recording is joined to it
        """Bring the legs in line with what was agreed; the places of the lines that get no leg. Raises `CallError`,
        `EngineError` where the call does not run yet."""
        negotiation, streams = self.media.negotiation, self.media.streams
        agreed, refused = negotiation.streams, []
        if not agreed and negotiation.offering:
            for port, stream in streams.items():
                if stream.leg is None:
                    self.add_leg(port, self._next_leg())
        for negotiated in agreed:
            port = negotiated.local.port
            if streams[port].leg is not None or self.add_leg(port, self._next_leg()):
                streams[port].update(negotiated)
            else:
                refused.append(negotiated.index)
        self._update_hold([one for one in agreed if one.index not in refused])
        return refused

    def add_leg(self, port: int, options: LegOptions) -> bool:
        """Open a leg for the stream of this port; False where a running call cannot have another."""
        assert self.call is not None
        try:
            leg = self.call.handle.add_leg(options)
        except (CallError, EngineError) as error:
            if not self._running:
                raise
            self._shared.stats.refused_lines += 1
            logger.warning("call %s: no room for leg %s: %s", self.call_id, options.leg, error)
            return False
        self.call.legs += 1
        self.feed(port, leg)
        return True

    def feed(self, port: int, leg: LegHandle) -> None:
        """The stream of this port feeds this leg."""
        assert self.call is not None
        self.media.attach(self.media.streams[port], leg, self._on_rtp_dtmf, self.call.started_at)

    def _next_leg(self) -> LegOptions:
        number = 0 if self.call is None else self.call.legs
        name = "caller" if number == 0 else f"caller-{number + 1}"
        return LegOptions(name, SpeakerRole(self._config.role), number)

    def hand_over(self, request: SipRequest, successor: "DialogCall") -> PipelineCall:
        """Another dialog replaces this one (RFC 3891): it goes on with the call and its legs, in the order of the
        lines; legs that it has no line for are closed."""
        assert self.call is not None
        call, legs = self.call, self.media.let_go()
        self.call = None
        ports = list(successor.media.streams)
        successor.call = call
        for leg, port in zip(legs, ports, strict=False):
            successor.feed(port, leg)
        for leg in legs[len(ports) :]:
            self._shared.background(leg.close())
        call.held[successor] = call.held.pop(self, False)
        metadata = call_metadata(request, self._config.metadata_headers)
        call.handle.transfer({**metadata, "from": number_of(request.from_.uri)})
        return call

    # -- while it runs

    def receive_info(self, info: Info) -> None:
        """A digit by INFO, where it did not come by RTP already."""
        if self.call is None or self.call.handle.ended:
            return
        key, leg = parse_dtmf(info.content_type, info.body), self._first_leg()
        if key is None or leg is None:
            self._shared.stats.unread_infos += 1
            if not self._logged_unread:
                self._logged_unread = True
                kind = info.content_type.partition(";")[0]
                logger.warning("call %s: no key can be read of an INFO with %s: left out", self.call_id, kind)
            return
        now = time.monotonic()
        if self.call.digits.is_new(key.digit, now, DigitSource.INFO):
            at = max(now - self.call.started_at - key.duration_s, 0.0)
            self.call.handle.dtmf(leg.options.leg, key.digit, at, key.duration_s)

    def is_silent(self, now: float) -> bool:
        """Neither RTP nor RTCP came for as long as a call may be without; a hold does not count. The reports of a peer
        that is muted, or sends while somebody speaks only, say that it is there."""
        if self._held:
            self._silent_since = now
        return now - max(self._silent_since, self.media.alive_at) >= self._config.rtp.inactivity_s

    async def end(self, reason: str) -> None:
        """The dialog is over: the last audio goes to the legs, the last words out, and the call ends with the reason,
        unless another dialog has it. Returns when its records are out."""
        call, self.call = self.call, None
        await self._end(call, reason)

    async def _end(self, call: PipelineCall | None, reason: str) -> None:
        try:
            await self.media.close()
        finally:
            if call is not None:
                await call.handle.end(reason)

    def hold(self, held: bool) -> None:
        """What comes on hold is music, and nobody's words."""
        if held is not self._held:
            self._held = held
            for stream in self.media.streams.values():
                stream.endpoint.pause() if held else stream.endpoint.resume()
        if self.call is not None:
            self.call.hold(self, held)

    def _update_hold(self, agreed: list[Negotiated]) -> None:
        """`inactive` and the null address are a hold; so is `sendonly` from a peer that has listened to us some
        time: one that never has only hands its audio on. So is a running call whose peer has taken all its lines away:
        it sends nothing until one is back, and that is no silence to end it for."""
        if not agreed:
            if self._has_no_line():
                self.hold(True)
            return
        self._listened = self._listened or any(not one.remote.on_hold for one in agreed)
        silent = all(not one.remote.direction.sends or one.remote.null_address for one in agreed)
        self.hold(silent or (self._listened and all(one.remote.on_hold for one in agreed)))

    def _has_no_line(self) -> bool:
        """The peer has taken all lines of a running session away."""
        negotiation = self.media.negotiation
        return self._running and not negotiation.streams and not negotiation.offering

    def _on_rtp_dtmf(self, leg: LegHandle, event: DtmfEvent) -> None:
        call = self.call
        if call is None or call.handle.ended:
            return
        if call.digits.is_new(event.digit, time.monotonic(), DigitSource.RTP):
            call.handle.dtmf(leg.options.leg, event.digit, event.start_s, event.duration_s)

    def _first_leg(self) -> LegHandle | None:
        return next((stream.leg for stream in self.media.streams.values() if stream.leg is not None), None)
