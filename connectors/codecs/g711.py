"""G.711 (RFC 3551, section 4.5.14): codes pass through, because the pipeline decodes all legs of a tick at once."""

import numpy as np
from numpy.typing import NDArray

from connectors.codecs.codec import CodecStats, with_lost
from connectors.codecs.conceal import Concealer
from pipeline.frames import Encoding
from pipeline.g711 import ALAW_TO_INT16, MULAW_TO_INT16, encode_alaw, encode_mulaw

RATE_HZ = 8_000

_TABLES = {Encoding.PCMU: MULAW_TO_INT16, Encoding.PCMA: ALAW_TO_INT16}
_ENCODERS = {Encoding.PCMU: encode_mulaw, Encoding.PCMA: encode_alaw}


class G711Decoder:
    """`encoding`: PCMU or PCMA. Every byte is a code, so only an empty packet is damaged."""

    sample_rate_hz = RATE_HZ

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.stats = CodecStats()
        self._encode = _ENCODERS[encoding]
        self._concealer = Concealer(RATE_HZ, _TABLES[encoding])

    def decode(self, payload: bytes, fec_for_lost: int = 0) -> NDArray[np.uint8]:
        self.stats.packets += 1
        codes: NDArray[np.uint8] = np.frombuffer(payload, np.uint8)
        lost = self.conceal(fec_for_lost) if fec_for_lost else None
        if codes.size:
            self._concealer.add(codes)
        else:
            self.stats.damaged += 1
        return codes if lost is None else with_lost(lost, codes)

    def conceal(self, samples: int) -> NDArray[np.uint8]:
        self.stats.concealed += samples
        return self._encode(self._concealer.conceal(samples))


class G711Encoder:
    """`encoding`: PCMU or PCMA."""

    sample_rate_hz = RATE_HZ

    def __init__(self, encoding: Encoding) -> None:
        self._encode = _ENCODERS[encoding]

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        return self._encode(np.ascontiguousarray(pcm, np.int16)).tobytes()
