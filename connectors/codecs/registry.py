"""Which codec of a session description is which of ours."""

from connectors.codecs import g711, g722, opus
from connectors.codecs.codec import AudioDecoder, AudioEncoder
from connectors.codecs.errors import CodecUnavailable, UnsupportedCodec
from connectors.codecs.libopus import libopus
from connectors.codecs.linear import L16Decoder, L16Encoder
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.frames import Encoding

_RTP_CLOCKS = {"PCMU": 8_000, "PCMA": 8_000, "G722": 8_000, "OPUS": 48_000}


def decoder_for(codec: RtpCodec) -> AudioDecoder:
    """A fresh decoder for one stream. Raises `UnsupportedCodec`, `CodecUnavailable`."""
    match _checked(codec):
        case "PCMU" | "PCMA" as name:
            return g711.G711Decoder(Encoding(name))
        case "G722":
            return g722.G722Decoder()
        case "OPUS":
            return opus.OpusDecoder()
        case _:
            return L16Decoder(codec.clock_rate, codec.channels)


def encoder_for(codec: RtpCodec) -> AudioEncoder:
    """A fresh encoder for one stream; `codec.parameters` are the peer's wishes. Raises `UnsupportedCodec`,
    `CodecUnavailable`."""
    match _checked(codec):
        case "PCMU" | "PCMA" as name:
            return g711.G711Encoder(Encoding(name))
        case "G722":
            return g722.G722Encoder()
        case "OPUS":
            return opus.OpusEncoder(codec.parameters)
        case _:
            return L16Encoder(codec.clock_rate, codec.channels)


def sample_rate_hz(codec: RtpCodec) -> int:
    """The rate of the decoded audio, which is not the RTP clock with G.722 and Opus. Raises `UnsupportedCodec`."""
    match _checked(codec):
        case "G722":
            return g722.RATE_HZ
        case "OPUS":
            return opus.RATE_HZ
        case _:
            return codec.clock_rate


def usable(name: str) -> bool:
    """Whether a codec of this registered name is among ours and its library is installed: what may be offered."""
    if name != "OPUS":
        return name == "L16" or name in _RTP_CLOCKS
    try:
        libopus()
    except CodecUnavailable:
        return False
    return True


def _checked(codec: RtpCodec) -> str:
    """The name, where clock and channels are those that RTP has for it (RFC 3551, section 6; RFC 7587, section 7)."""
    name = codec.name
    if name == "L16":
        return name
    channels = 2 if name == "OPUS" else 1
    if _RTP_CLOCKS.get(name) != codec.clock_rate or codec.channels != channels:
        raise UnsupportedCodec(f"no codec {name}/{codec.clock_rate}/{codec.channels}")
    return name
