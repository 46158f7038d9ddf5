"""One media line agreed on: the rules of offer and answer for a single stream (RFC 3264, sections 5 and 6).

Sits below `connectors.sdp.offer_answer`, which keeps the lines of a dialog in their places.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from connectors.sdp.capabilities import SECURE_PROTOCOLS, Capabilities, SrtpPolicy, events_for
from connectors.sdp.media_lines import AudioMedia, Direction, MediaLine, OtherMedia
from connectors.sdp.rtp_codec import COMFORT_NOISE, DEFAULT_EVENT_CLOCK, TELEPHONE_EVENT, RtpCodec
from connectors.sdp.sdes import Crypto

PTIMES_MS = range(5, 201)
"""Packet lengths that are taken from a peer."""

_DYNAMIC = range(96, 128)


class MediaWarning(StrEnum):
    """What is wrong with a media line, as the `warn-code` of a Warning header (RFC 3261, section 20.43)."""

    ADDRESS_FORMAT = "301"
    TRANSPORT = "302"
    MEDIA_TYPE = "304"
    MEDIA_FORMAT = "305"


@dataclass(frozen=True, slots=True)
class Negotiated:
    """One audio stream that runs. `index`: place of its media line. `codec`: what to send, with the peer's number and
    parameters; `receive`: every payload type that may come, telephone events and comfort noise among them.
    `telephone_event`: for keys of ours, at the clock of `codec` or at 8000, which all have; None without either.
    `direction`: ours. `local_crypto`: the key of what we send; `remote_crypto`: of what comes."""

    index: int
    remote: AudioMedia
    local: AudioMedia
    codec: RtpCodec
    receive: tuple[RtpCodec, ...]
    telephone_event: RtpCodec | None
    direction: Direction
    local_crypto: Crypto | None
    remote_crypto: Crypto | None
    ptime_ms: int

    @property
    def label(self) -> str | None:
        return self.remote.label or self.local.label

    @property
    def rtcp_mux(self) -> bool:
        return self.remote.rtcp_mux and self.local.rtcp_mux

    @property
    def remote_rtcp_port(self) -> int:
        """Where our reports go: RFC 5761 with rtcp-mux, `a=rtcp` (RFC 3605), or the port after the one for RTP."""
        if self.rtcp_mux:
            return self.remote.port
        return self.remote.rtcp_port or min(self.remote.port + 1, 65_535)


def answer_line(
    mine: Capabilities, address: str, index: int, line: AudioMedia, before: Negotiated | None, port: Callable[[], int]
) -> Negotiated | MediaWarning:
    """Our answer to one audio line in use. `before`: the stream that has run in its place, whose port and key stay;
    `port` gives that of a new one, and is asked last."""
    remote_crypto = None if mine.srtp is SrtpPolicy.NEVER else mine.choose_crypto(line.crypto)
    needs_key = line.protocol in SECURE_PROTOCOLS or mine.srtp is SrtpPolicy.REQUIRED
    if not mine.takes_protocol(line) or (needs_key and remote_crypto is None):
        return MediaWarning.TRANSPORT
    if not _reachable(line, address):
        return MediaWarning.ADDRESS_FORMAT
    common = mine.common(line.codecs)
    if not common:
        return MediaWarning.MEDIA_FORMAT
    local_crypto = _answer_crypto(mine, before, remote_crypto)
    local = AudioMedia(
        address=address,
        port=before.local.port if before else port(),
        protocol=line.protocol,
        codecs=tuple(
            mine.described(codec) for codec in (common[:1] + _events(common) if mine.single_codec else common)
        ),
        direction=_direction(mine, line),
        ptime_ms=_ptime(mine, line),
        label=line.label,
        rtcp_mux=line.rtcp_mux and mine.rtcp_mux,
        crypto=(local_crypto,) if local_crypto else (),
    )
    return _negotiated(mine, index, line, local, common, common, (local_crypto, remote_crypto))


def accept_line(mine: Capabilities, index: int, line: AudioMedia, local: AudioMedia) -> Negotiated | MediaWarning:
    """The peer's answer `line`, in use, to our offer `local`."""
    offered = {codec.key for codec in local.codecs}
    events = any(codec.name == TELEPHONE_EVENT for codec in local.codecs)
    agreed = mine.common(
        codec for codec in _answered(line, local) if codec.key in offered or (events and codec.name == TELEPHONE_EVENT)
    )
    keys: tuple[Crypto | None, Crypto | None] = None, None
    remote_crypto = mine.choose_crypto(line.crypto)
    if remote_crypto is not None:
        local_crypto = next((crypto for crypto in local.crypto if crypto.suite == remote_crypto.suite), None)
        keys = (local_crypto, remote_crypto) if local_crypto else keys
    secure = local.protocol in SECURE_PROTOCOLS
    needs_key = secure or mine.srtp is SrtpPolicy.REQUIRED
    if secure != (line.protocol in SECURE_PROTOCOLS) or (needs_key and keys[0] is None):
        return MediaWarning.TRANSPORT
    if not agreed:
        return MediaWarning.MEDIA_FORMAT
    answered = {codec.key for codec in agreed}
    receive = [codec for codec in local.codecs if codec.key in answered]
    taken = {codec.payload_type for codec in receive}
    # A peer may send with the numbers of its answer although those of the offer are meant (RFC 3264, section 5.1).
    receive += [codec for codec in agreed if codec.payload_type not in taken]
    local = replace(local, direction=_direction(mine, line))
    return _negotiated(mine, index, line, local, agreed, receive, keys)


def offer_line(mine: Capabilities, address: str, stream: Negotiated | None, port: int) -> AudioMedia:
    """Our offer of a new stream, or of a running one: under its keys, and with the numbers that its codecs have
    (RFC 3264, section 8.3.2)."""
    secure = mine.srtp is SrtpPolicy.REQUIRED
    if stream is None:
        crypto = tuple(mine.new_crypto(tag, suite) for tag, suite in enumerate(mine.suites, 1)) if secure else ()
        protocol = "RTP/SAVP" if secure else "RTP/AVP"
    else:
        crypto = (stream.local_crypto,) if stream.local_crypto else ()
        protocol = stream.local.protocol
    return AudioMedia(
        address=address,
        port=port,
        protocol=protocol,
        codecs=_numbered(mine.codecs, stream.receive if stream else ()),
        direction=mine.direction,
        ptime_ms=mine.ptime_ms,
        label=stream.label if stream else None,
        rtcp_mux=stream.rtcp_mux if stream else mine.rtcp_mux,
        crypto=crypto,
    )


def rejected(line: MediaLine, address: str) -> MediaLine:
    """Port 0 with the formats of the line (RFC 3264, section 6)."""
    if isinstance(line, AudioMedia):
        return AudioMedia(
            address=address,
            port=0,
            protocol=line.protocol,
            codecs=line.codecs,
            direction=Direction.INACTIVE,
            unknown_formats=line.unknown_formats,
        )
    return OtherMedia(line.kind, 0, line.protocol, line.formats, address)


def _negotiated(
    mine: Capabilities,
    index: int,
    line: AudioMedia,
    local: AudioMedia,
    agreed: Sequence[RtpCodec],
    receive: Sequence[RtpCodec],
    keys: tuple[Crypto | None, Crypto | None],
) -> Negotiated:
    events = events_for(agreed, {agreed[0].clock_rate})
    clocks = (agreed[0].clock_rate, DEFAULT_EVENT_CLOCK)
    return Negotiated(
        index=index,
        remote=line,
        local=local,
        codec=agreed[0],
        receive=tuple(receive),
        telephone_event=next((codec for codec in events if codec.clock_rate in clocks), None),
        direction=local.direction,
        local_crypto=keys[0],
        remote_crypto=keys[1],
        ptime_ms=_ptime(mine, line),
    )


def _events(common: tuple[RtpCodec, ...]) -> tuple[RtpCodec, ...]:
    """What goes with the first codec: its telephone events, and comfort noise at its clock."""
    clock = common[0].clock_rate
    events = events_for(common, {clock})
    noise = [codec for codec in common if codec.name == COMFORT_NOISE and codec.clock_rate == clock]
    return tuple(codec for codec in common if codec in events or codec in noise)


def _answered(line: AudioMedia, local: AudioMedia) -> tuple[RtpCodec, ...]:
    """The codecs of the peer's answer. A dynamic number that it leaves without a name is one of our offer."""
    offered = {str(codec.payload_type): codec for codec in local.codecs}
    return (*line.codecs, *(offered[text] for text in line.unknown_formats if text in offered))


def _answer_crypto(mine: Capabilities, before: Negotiated | None, remote: Crypto | None) -> Crypto | None:
    """Our key stays while its suite does, so that a re-offer does not disturb what we send."""
    if remote is None:
        return None
    if before is not None and before.local_crypto is not None and before.local_crypto.suite == remote.suite:
        return replace(before.local_crypto, tag=remote.tag)
    return mine.new_crypto(remote.tag, remote.suite)


def _direction(mine: Capabilities, line: AudioMedia) -> Direction:
    """Ours, against the peer's (RFC 3264, section 6.1); nothing is sent to a peer that holds by null address."""
    return Direction.of(
        sends=mine.direction.sends and not line.on_hold,
        receives=mine.direction.receives and line.direction.sends,
    )


def _ptime(mine: Capabilities, line: AudioMedia) -> int:
    wanted = line.ptime_ms if line.ptime_ms in PTIMES_MS else None
    limit = line.maxptime_ms if line.maxptime_ms in PTIMES_MS else None
    return min(wanted or mine.ptime_ms, limit or PTIMES_MS[-1])


def _reachable(line: AudioMedia, address: str) -> bool:
    """False where the peer's address is of the other IP version; names and the null address are taken."""
    try:
        remote, local = ipaddress.ip_address(line.address or ""), ipaddress.ip_address(address)
    except ValueError:
        return True
    return line.null_address or remote.version == local.version


def _numbered(codecs: Sequence[RtpCodec], known: Sequence[RtpCodec]) -> tuple[RtpCodec, ...]:
    """`codecs` with the numbers that `known` ones have; the others keep theirs where it is free, or get a free one."""
    numbers = {codec.key: codec.payload_type for codec in reversed(known)}
    taken = {codec.payload_type for codec in known}
    numbered = []
    for codec in codecs:
        number = numbers.get(codec.key, codec.payload_type)
        if codec.key not in numbers and number in taken:
            free = next((unused for unused in _DYNAMIC if unused not in taken), None)
            if free is None:
                continue
            number = free
        taken.add(number)
        numbered.append(replace(codec, payload_type=number))
    return tuple(numbered)
