"""Opus (RFC 6716, RTP payload of RFC 7587), decoded straight to the recogniser's 16 kHz mono.

A lost packet is restored from the redundancy (in-band FEC, a coarser copy of the speech) that the packet after it may
carry; where there is none, or more is missing, the decoder extrapolates, and past `EXTRAPOLATED_MS` it is silent.
"""

from collections.abc import Mapping
from ctypes import byref, c_int, c_int16, c_int32, c_ubyte, create_string_buffer

import numpy as np
from numpy.typing import NDArray

from connectors.codecs.codec import CodecStats, with_lost
from connectors.codecs.libopus import libopus
from connectors.sdp.rtp_codec import number
from pipeline.frames import Encoding

RATE_HZ = 16_000
EXTRAPOLATED_MS = 120

_STEP = RATE_HZ // 400  # 2.5 ms, the unit of all durations
_MAX_PACKET = 120 * RATE_HZ // 1000
_MAX_PAYLOAD = 4_000
_EXTRAPOLATED = EXTRAPOLATED_MS * RATE_HZ // 1000
_FIRST_CELT_CONFIG = 16  # configurations from here on have no SILK layer, hence no FEC (RFC 6716, section 3.1)

_VOIP = 2048
_SET_BITRATE, _SET_COMPLEXITY, _SET_INBAND_FEC, _SET_PACKET_LOSS_PERC, _SET_DTX = 4002, 4010, 4012, 4014, 4016
_DEFAULT_BITRATE, _MIN_BITRATE, _MAX_BITRATE = 24_000, 6_000, 64_000
_ASSUMED_LOSS_PERCENT = 10
_COMPLEXITY = 5  # a third of the library's default in time, and hardly audible in speech
_ENCODED_MS = (5, 10, 20, 40, 60)


class OpusDecoder:
    """Mono, whatever the peer sends. Raises `CodecUnavailable` where libopus is missing."""

    encoding = Encoding.L16
    sample_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.stats = CodecStats()
        self._library = libopus()
        self._state = create_string_buffer(self._library.opus_decoder_get_size(1))
        self._library.opus_decoder_init(self._state, RATE_HZ, 1)
        self._pcm = np.empty(_MAX_PACKET, np.int16)
        self._address = self._pcm.ctypes.data
        self._last = 20 * RATE_HZ // 1000
        self._started = False
        self._extrapolated = 0

    def decode(self, payload: bytes, fec_for_lost: int = 0) -> NDArray[np.int16]:
        self.stats.packets += 1
        duration = self._library.opus_packet_get_nb_samples(payload, len(payload), RATE_HZ) if payload else 0
        if not 0 < duration <= _MAX_PACKET or len(payload) > _MAX_PAYLOAD:
            return self._damaged(fec_for_lost)
        lost = self._restore(payload, duration, fec_for_lost) if fec_for_lost else None
        count = self._library.opus_decode(self._state, payload, len(payload), self._address, _MAX_PACKET, 0)
        if count < 0:
            pcm = self._damaged(0)
        else:
            self._last, self._started, self._extrapolated = count, True, 0
            pcm = self._pcm[:count].copy()
        return pcm if lost is None else with_lost(lost, pcm)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        self.stats.concealed += samples
        pcm = np.zeros(samples, np.int16)
        left = _EXTRAPOLATED - self._extrapolated if self._started else 0
        wanted = min(samples, left) // _STEP * _STEP
        done = 0
        while done < wanted:  # in frames of the stream, as the decoder would have got them
            count = self._library.opus_decode(self._state, None, 0, self._address, min(self._last, wanted - done), 0)
            if count <= 0:
                break
            pcm[done : done + count] = self._pcm[:count]
            done += count
        self._extrapolated += done
        return pcm

    def _restore(self, payload: bytes, duration: int, lost: int) -> NDArray[np.int16]:
        """The packet's redundancy covers the one right before it, which was as long; what is missing before that can
        only be extrapolated."""
        if lost < duration or not self._has_redundancy(payload):
            return self.conceal(lost)
        before = self.conceal(lost - duration) if lost > duration else np.empty(0, np.int16)
        count = self._library.opus_decode(self._state, payload, len(payload), self._address, duration, 1)
        if count != duration:
            return with_lost(before, self.conceal(duration))
        self.stats.recovered += duration
        return with_lost(before, self._pcm[:count])

    def _has_redundancy(self, payload: bytes) -> bool:
        """Whether the first frame says so: its first bits are one of voice activity for each 20 ms, then this one
        (RFC 6716, section 4.2.3)."""
        config = payload[0] >> 3
        if config >= _FIRST_CELT_CONFIG:
            return False
        offset = c_int()
        sizes = (c_int16 * 48)()
        frames = self._library.opus_packet_parse(payload, len(payload), None, None, sizes, byref(offset))
        if frames <= 0 or not sizes[0]:
            return False
        # 10, 20, 40, 60 ms in turn for SILK alone, 10, 20 ms for the hybrid (RFC 6716, table 2)
        silk_frames = (1, 1, 2, 3)[config & 3] if config < 12 else 1
        return bool(payload[offset.value] >> (7 - silk_frames) & 1)

    def _damaged(self, fec_for_lost: int) -> NDArray[np.int16]:
        """Its length is not known: that of the packet before it is assumed."""
        self.stats.damaged += 1
        return self.conceal(fec_for_lost + (self._last if self._started else 0))


class OpusEncoder:
    """`parameters`: the peer's `fmtp`, which limits the rate and asks for FEC and DTX (RFC 7587, section 6.1). Raises
    `CodecUnavailable` where libopus is missing."""

    sample_rate_hz = RATE_HZ

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._library = libopus()
        self._state = create_string_buffer(self._library.opus_encoder_get_size(1))
        self._library.opus_encoder_init(self._state, RATE_HZ, 1, _VOIP)
        self._payload = (c_ubyte * _MAX_PAYLOAD)()
        bitrate = number(parameters.get("maxaveragebitrate", ""), 510_000) or _DEFAULT_BITRATE
        self._set(_SET_BITRATE, min(max(bitrate, _MIN_BITRATE), _MAX_BITRATE))
        self._set(_SET_COMPLEXITY, _COMPLEXITY)
        if parameters.get("useinbandfec") == "1":
            self._set(_SET_INBAND_FEC, 1)
            self._set(_SET_PACKET_LOSS_PERC, _ASSUMED_LOSS_PERCENT)
        if parameters.get("usedtx") == "1":
            self._set(_SET_DTX, 1)

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """Raises `ValueError` where `pcm` is not 5, 10, 20, 40 or 60 ms."""
        if pcm.size * 1000 not in [ms * RATE_HZ for ms in _ENCODED_MS]:
            raise ValueError(f"an Opus packet of ours has {_ENCODED_MS} ms, got {pcm.size} samples")
        pcm = np.ascontiguousarray(pcm, np.int16)
        count = self._library.opus_encode(self._state, pcm.ctypes.data, pcm.size, self._payload, _MAX_PAYLOAD)
        return bytes(self._payload[:count])

    def _set(self, setting: int, value: int) -> None:
        self._library.opus_encoder_ctl(self._state, setting, c_int32(value))
