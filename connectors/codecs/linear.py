"""L16: 16-bit samples in network byte order (RFC 3551, section 4.5.11)."""

import numpy as np
from numpy.typing import NDArray

from connectors.codecs.codec import CodecStats, with_lost
from connectors.codecs.conceal import Concealer
from connectors.codecs.errors import UnsupportedCodec
from pipeline.frames import Encoding

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000

_NETWORK = np.dtype(">i2")


class L16Decoder:
    """`channels` 1 or 2, interleaved; two are averaged. The rate stays as it is: the pipeline resamples."""

    encoding = Encoding.L16

    def __init__(self, sample_rate_hz: int, channels: int = 1) -> None:
        _check(sample_rate_hz, channels)
        self.sample_rate_hz = sample_rate_hz
        self.stats = CodecStats()
        self._channels = channels
        self._concealer = Concealer(sample_rate_hz)

    def decode(self, payload: bytes, fec_for_lost: int = 0) -> NDArray[np.int16]:
        self.stats.packets += 1
        lost = self.conceal(fec_for_lost) if fec_for_lost else None
        size = 2 * self._channels
        count = len(payload) // size
        if not count or len(payload) % size:
            self.stats.damaged += 1
        pcm = np.frombuffer(payload, _NETWORK, count * self._channels).astype(np.int16)
        if self._channels == 2:
            wide = pcm.astype(np.int32)
            pcm = ((wide[0::2] + wide[1::2]) >> 1).astype(np.int16)
        if count:
            self._concealer.add(pcm)
        return pcm if lost is None else with_lost(lost, pcm)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        self.stats.concealed += samples
        return self._concealer.conceal(samples)


class L16Encoder:
    """Mono in; on two channels the same sample goes to both."""

    def __init__(self, sample_rate_hz: int, channels: int = 1) -> None:
        _check(sample_rate_hz, channels)
        self.sample_rate_hz = sample_rate_hz
        self._channels = channels

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        return np.repeat(pcm, self._channels).astype(_NETWORK).tobytes()


def _check(sample_rate_hz: int, channels: int) -> None:
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ or channels not in (1, 2):
        raise UnsupportedCodec(
            f"L16 at {sample_rate_hz} Hz with {channels} channels: rates from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz and "
            "one or two channels are supported"
        )
