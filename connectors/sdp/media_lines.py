"""The media lines of a session description: read by `sdp.description`, answered by `sdp.offer_answer`."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from connectors.sdp.rtp_codec import RtpCodec
from connectors.sdp.sdes import Crypto


class Direction(StrEnum):
    """As the one who wrote the description sees it (RFC 8866, section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        return self in {Direction.SENDRECV, Direction.SENDONLY}

    @property
    def receives(self) -> bool:
        return self in {Direction.SENDRECV, Direction.RECVONLY}

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> "Direction":
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE


@dataclass(frozen=True, slots=True)
class Attribute:
    """`a=name` or `a=name:value`."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class AudioMedia:
    """One `m=audio` line. `address`: its own or the session's; None where neither is given. `port` 0: the line is
    rejected or gone. `codecs`: in the writer's order of preference; `unknown_formats`: the payload types that name no
    codec. `rtcp_port`: of `a=rtcp`, None where it is the odd neighbour of `port`. `attributes`: all the others."""

    address: str | None
    port: int
    protocol: str = "RTP/AVP"
    codecs: tuple[RtpCodec, ...] = ()
    direction: Direction = Direction.SENDRECV
    ptime_ms: int | None = None
    maxptime_ms: int | None = None
    label: str | None = None
    rtcp_port: int | None = None
    rtcp_address: str | None = None
    rtcp_mux: bool = False
    crypto: tuple[Crypto, ...] = ()
    unknown_formats: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()

    @property
    def kind(self) -> str:
        return "audio"

    @property
    def formats(self) -> tuple[str, ...]:
        return (*(str(codec.payload_type) for codec in self.codecs), *self.unknown_formats)

    @property
    def null_address(self) -> bool:
        """The hold of RFC 2543, still read today (RFC 3264, section 8.4): nothing may be sent to this address."""
        try:
            return ipaddress.ip_address(self.address or "").is_unspecified
        except ValueError:
            return False

    @property
    def on_hold(self) -> bool:
        """The peer that wrote this does not listen to us. It may still send: music, or in a recording what is said."""
        return not self.direction.receives or self.null_address


@dataclass(frozen=True, slots=True)
class OtherMedia:
    """A media line that is no audio: kept so that its place in the answer is."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str | None = None
    attributes: tuple[Attribute, ...] = ()


MediaLine = AudioMedia | OtherMedia
