"""What this side can take in a session: codecs, directions, and its rule for SRTP.

Sits below `connectors.sdp.offer_answer`, which matches it against what the peer wrote.
"""

import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from connectors.sdp.media_lines import AudioMedia, Direction
from connectors.sdp.rtp_codec import COMFORT_NOISE, EVENTS, TELEPHONE_EVENT, RtpCodec
from connectors.sdp.sdes import (
    AEAD_AES_128_GCM,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    KEY_SALT_BYTES,
    Crypto,
)

PLAIN_PROTOCOLS = frozenset({"RTP/AVP", "RTP/AVPF"})
SECURE_PROTOCOLS = frozenset({"RTP/SAVP", "RTP/SAVPF"})

_EVENTS = {EVENTS: "0-15"}

DEFAULT_CODECS = (
    RtpCodec(0, "PCMU", 8000),
    RtpCodec(8, "PCMA", 8000),
    RtpCodec(9, "G722", 8000),
    RtpCodec(96, "OPUS", 48000, 2, {"maxplaybackrate": "16000", "stereo": "0", "useinbandfec": "1"}),
    RtpCodec(97, "L16", 16000),
    RtpCodec(98, "L16", 8000),
    RtpCodec(13, COMFORT_NOISE, 8000),
    RtpCodec(101, TELEPHONE_EVENT, 8000, 1, _EVENTS),
    RtpCodec(102, TELEPHONE_EVENT, 16000, 1, _EVENTS),
    RtpCodec(103, TELEPHONE_EVENT, 48000, 1, _EVENTS),
)


class SrtpPolicy(StrEnum):
    """`OPTIONAL` takes what the peer offers, keys on a plain line too (RFC 8643), and itself offers plain RTP."""

    NEVER = "never"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`codecs`: in order of preference, with the payload types of an own offer and the parameters that we write.

    `direction`: what this side is willing to do: RECVONLY for a recorder. `prefer_own_order`: an answer lists codecs in
    our order; the peer's order is what RFC 3264, section 6.1, recommends. `single_codec`: an answer names one codec,
    for peers that cannot take packets of another than they send. `max_streams`: audio lines accepted; the others are
    rejected. `ptime_ms`: what we ask for where the peer asks for nothing.
    """

    codecs: tuple[RtpCodec, ...] = DEFAULT_CODECS
    direction: Direction = Direction.SENDRECV
    prefer_own_order: bool = False
    single_codec: bool = False
    srtp: SrtpPolicy = SrtpPolicy.OPTIONAL
    suites: tuple[str, ...] = (AES_CM_128_HMAC_SHA1_80, AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_32)
    rtcp_mux: bool = True
    max_streams: int = 16
    ptime_ms: int = 20
    make_key: Callable[[int], bytes] = secrets.token_bytes

    def common(self, offered: Iterable[RtpCodec]) -> tuple[RtpCodec, ...]:
        """The codecs both sides have, with the peer's numbers and parameters, in the order of the answer.

        Empty where no audio codec is among them. Telephone events are taken as `events_for` has it, comfort noise at
        the clock of a codec that was taken.
        """
        rank = {codec.key: place for place, codec in reversed(list(enumerate(self.codecs)))}
        events = any(codec.name == TELEPHONE_EVENT for codec in self.codecs)
        matching = [codec for codec in offered if codec.key in rank or (events and codec.name == TELEPHONE_EVENT)]
        audio = [codec for codec in matching if codec.is_audio]
        if self.prefer_own_order:
            audio.sort(key=lambda codec: rank[codec.key])
        if not audio:
            return ()
        clocks = {codec.clock_rate for codec in audio}
        wanted = events_for(matching, clocks)
        taken = {codec.payload_type for codec in audio}
        others = []
        for codec in matching:
            if (codec in wanted or _is_noise(codec, clocks)) and codec.payload_type not in taken:
                taken.add(codec.payload_type)
                others.append(codec)
        return (*audio, *others)

    def described(self, codec: RtpCodec) -> RtpCodec:
        """A codec of the peer's as we write it: its number, our parameters."""
        same = [known for known in self.codecs if known.name == codec.name]
        own = next((known for known in same if known.key == codec.key), same[0])
        return RtpCodec(codec.payload_type, codec.name, codec.clock_rate, codec.channels, own.parameters)

    def choose_crypto(self, offered: Iterable[Crypto]) -> Crypto | None:
        """The first line that we can use, in the peer's order of preference (RFC 4568, section 5.1.2); one without a
        key identifier goes before one with it."""
        usable = [crypto for crypto in offered if crypto.usable and crypto.suite in self.suites]
        return min(usable, key=lambda crypto: crypto.mki_length > 0, default=None)

    def new_crypto(self, tag: int, suite: str) -> Crypto:
        """A line of ours with a fresh key."""
        return Crypto(tag, suite, self.make_key(KEY_SALT_BYTES[suite]))

    def takes_protocol(self, line: AudioMedia) -> bool:
        """Whether a line's transport fits the rule for SRTP, its keys apart."""
        if line.protocol in SECURE_PROTOCOLS:
            return self.srtp is not SrtpPolicy.NEVER
        return line.protocol in PLAIN_PROTOCOLS and (self.srtp is not SrtpPolicy.REQUIRED or bool(line.crypto))


def events_for(codecs: Iterable[RtpCodec], clocks: Collection[int]) -> list[RtpCodec]:
    """The telephone events among `codecs` that go with audio of these clocks.

    Those at one of the clocks, as events are to share it (RFC 4733, section 2.1); where there are none, all of them:
    many offer theirs at 8000 alone, beside whatever codec, and an event says its duration in its own clock.
    """
    events = [codec for codec in codecs if codec.name == TELEPHONE_EVENT]
    return [codec for codec in events if codec.clock_rate in clocks] or events


def _is_noise(codec: RtpCodec, clocks: Collection[int]) -> bool:
    return codec.name == COMFORT_NOISE and codec.clock_rate in clocks
