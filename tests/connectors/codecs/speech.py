"""What the codec tests speak: eleven seconds of the demo call's agent, and a steady voice-like tone."""

from functools import cache
from importlib import resources

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from connectors.codecs import encoder_for
from connectors.sdp.rtp_codec import RtpCodec

PCMU, PCMA = RtpCodec(0, "PCMU", 8000), RtpCodec(8, "PCMA", 8000)
G722 = RtpCodec(9, "G722", 8000)
OPUS = RtpCodec(111, "OPUS", 48000, 2, {"useinbandfec": "1"})
L16 = RtpCodec(96, "L16", 16000)
ALL = (PCMU, PCMA, G722, OPUS, L16)


@cache
def speech(sample_rate_hz: int) -> NDArray[np.int16]:
    """int16 (11 s,)."""
    with resources.as_file(resources.files("trunkline.demo") / "call.wav") as path:
        agent = soundfile.read(path, dtype="float32")[0][:, 1]
    turns = [agent[first * 8000 : end * 8000] for first, end in ((10, 15), (25, 27), (41, 45))]
    pcm: NDArray[np.float32] = soxr.resample(np.concatenate(turns), 8000, sample_rate_hz)
    samples: NDArray[np.int16] = np.clip(np.rint(pcm * 32767), -32768, 32767).astype(np.int16)
    return samples


def voice(sample_rate_hz: int, seconds: float = 1.0, pitch_hz: float = 125.0) -> NDArray[np.int16]:
    """Harmonics of a pitch: int16 (T,)."""
    t = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 8))
    samples: NDArray[np.int16] = np.rint(6000 * np.asarray(tone)).astype(np.int16)
    return samples


def packets(codec: RtpCodec, pcm: NDArray[np.int16], ms: int = 20) -> list[bytes]:
    """`pcm` in packets of `ms`; what does not fill one is left out."""
    encoder = encoder_for(codec)
    size = encoder.sample_rate_hz * ms // 1000
    return [encoder.encode(pcm[at : at + size]) for at in range(0, pcm.size - size + 1, size)]


def snr_db(signal: NDArray[np.generic], copy: NDArray[np.generic], delay: int = 0) -> float:
    """How far below the signal the difference is; `copy` comes `delay` samples later."""
    size = min(signal.size, copy.size - delay)
    wanted, noise = signal[:size].astype(float), copy[delay : delay + size].astype(float) - signal[:size].astype(float)
    return float(10 * np.log10(np.sum(wanted**2) / max(np.sum(noise**2), 1e-9)))
