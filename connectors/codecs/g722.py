"""G.722 at 64 kbit/s: 16 kHz audio, one byte for two samples. RFC 3551, section 4.5.2, keeps an RTP clock of 8 kHz.

The predictors and step sizes of both sub-bands adapt from sample to sample, so one decoder serves a whole stream. After
a loss they find back by themselves.
"""

import numpy as np
from G722 import G722
from numpy.typing import NDArray

from connectors.codecs.codec import CodecStats, with_lost
from connectors.codecs.conceal import Concealer
from pipeline.frames import Encoding

RATE_HZ = 16_000

_BIT_RATE = 64_000


class G722Decoder:
    """Every byte is a pair of codes, so only an empty packet is damaged."""

    encoding = Encoding.L16
    sample_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.stats = CodecStats()
        self._codec = G722(RATE_HZ, _BIT_RATE)
        self._concealer = Concealer(RATE_HZ)

    def decode(self, payload: bytes, fec_for_lost: int = 0) -> NDArray[np.int16]:
        self.stats.packets += 1
        lost = self.conceal(fec_for_lost) if fec_for_lost else None
        pcm: NDArray[np.int16] = np.frombuffer(self._codec.decode(payload), np.int16)
        if pcm.size:
            self._concealer.add(pcm)
        else:
            self.stats.damaged += 1
        return pcm if lost is None else with_lost(lost, pcm)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        self.stats.concealed += samples
        return self._concealer.conceal(samples)


class G722Encoder:
    sample_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self._codec = G722(RATE_HZ, _BIT_RATE)

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """Two samples become one byte. Raises `ValueError` for an odd number of them."""
        if pcm.size % 2:
            raise ValueError(f"G.722 takes pairs of samples, got {pcm.size}")
        codes: bytes = self._codec.encode(np.ascontiguousarray(pcm, np.int16))
        return codes
