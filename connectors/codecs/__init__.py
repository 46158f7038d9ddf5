"""Codecs of telephone audio: one decoder for each stream received, one encoder for each that is sent.

| name | decodes to | library |
|---|---|---|
| PCMU, PCMA | its codes, 8 kHz | - |
| G722 | int16, 16 kHz | `G722` wheel |
| OPUS | int16, 16 kHz mono | libopus |
| L16 | int16, its own rate, mono | - |
"""

from connectors.codecs.codec import AudioDecoder, AudioEncoder, CodecStats
from connectors.codecs.errors import CodecError, CodecUnavailable, UnsupportedCodec
from connectors.codecs.registry import decoder_for, encoder_for, sample_rate_hz, usable

__all__ = [
    "AudioDecoder",
    "AudioEncoder",
    "CodecError",
    "CodecStats",
    "CodecUnavailable",
    "UnsupportedCodec",
    "decoder_for",
    "encoder_for",
    "sample_rate_hz",
    "usable",
]
