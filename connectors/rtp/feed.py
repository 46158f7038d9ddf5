"""From RTP events to the leg's queue in the pipeline: the codec's decoder, its concealment, media time.

G.711 passes as codes, to be decoded with all other legs at the tick; codecs with a state are decoded here, in the order
of the stream.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from connectors.calls import AudioLeg
from connectors.codecs import AudioDecoder, CodecError, decoder_for
from connectors.rtp.events import Audio, Bye, DtmfEvent, RtpEvent, Silence
from connectors.rtp.quality import RtpStats
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.call import LegStats
from pipeline.frames import AudioFrame, Encoding, Samples
from pipeline.intake import Intake

logger = logging.getLogger(__name__)

_CODES = {Encoding.PCMU: 0xFF, Encoding.PCMA: 0xD5}
"""The codes of a zero sample."""

OnDtmf = Callable[[DtmfEvent], None]
OnBye = Callable[[Bye], None]


class LegFeed:
    """Feeds one leg. `muted`: audio is thrown away, as on hold; media time goes on."""

    def __init__(self, leg: AudioLeg, on_dtmf: OnDtmf | None = None, on_bye: OnBye | None = None) -> None:
        self.muted = False
        self._leg = leg
        self._push = leg.push
        self._on_dtmf, self._on_bye = on_dtmf, on_bye
        self._codec: RtpCodec | None = None
        self._decoder: AudioDecoder | None = None

    def deliver(self, events: Sequence[RtpEvent]) -> None:
        """Events of the receiver, in order."""
        for event in events:
            if isinstance(event, Audio):
                if not self.muted:
                    self._push_audio(event)
            elif isinstance(event, Silence):
                if not self.muted:
                    self._push_silence(event)
            elif isinstance(event, DtmfEvent):
                if self._on_dtmf is not None:
                    self._on_dtmf(event)
            elif self._on_bye is not None:
                self._on_bye(event)

    @property
    def intake(self) -> Intake | None:
        """Where packets of this leg may be taken along with those of others; None where all are to come here."""
        return None if self.muted else self._leg.intake

    def prime(self, payloads: Sequence[bytes]) -> None:
        """Show the decoder packets that went to the intake and not through here, so that it can conceal a loss."""
        if self._decoder is not None:
            for payload in payloads:
                self._decoder.decode(payload)

    def fail(self, error: Exception) -> None:
        """Nothing can be handed to the leg any more: it ends, and its records say why."""
        self._leg.fail(error)

    def report(self, stats: RtpStats) -> None:
        """Copy the counters that the call's statistics show."""
        counted = self._leg.stats
        counted.packets, counted.lost, counted.late = stats.received, stats.lost, stats.late

    def detach(self) -> None:
        """The leg gets nothing more. Without the way back to it, leg and endpoint are freed at once."""
        self._leg = _Nobody()
        self._push, self._on_dtmf, self._on_bye = self._leg.push, None, None

    def _push_audio(self, audio: Audio) -> None:
        pts, payload, codec, arrival, lost = audio
        if codec is not self._codec:
            self._change(codec)
        decoder = self._decoder
        if decoder is not None:
            samples = decoder.decode(payload, lost)
            if samples.size:
                frame = AudioFrame(pts - lost, samples, decoder.encoding, decoder.sample_rate_hz, arrival)
                self._push(frame)

    def _push_silence(self, silence: Silence) -> None:
        decoder = self._decoder
        if decoder is not None:
            samples: Samples
            if decoder.encoding in _CODES:
                samples = np.full(silence.samples, _CODES[decoder.encoding], np.uint8)
            else:
                samples = np.zeros(silence.samples, np.int16)
            frame = AudioFrame(silence.pts, samples, decoder.encoding, decoder.sample_rate_hz, silence.arrival)
            self._push(frame)

    def _change(self, codec: RtpCodec) -> None:
        known, self._codec = self._codec, codec
        if known is not None and known.key == codec.key:
            return
        try:
            self._decoder = decoder_for(codec)
        except CodecError as error:  # a fault of the set-up: what cannot be decoded is not to be negotiated
            self._decoder = None
            logger.warning("audio of the codec %s is not heard: %s", codec.name, error)


class _Nobody:
    """In the place of a leg that is over."""

    intake: Intake | None = None

    def __init__(self) -> None:
        self.stats = LegStats()

    def push(self, frame: AudioFrame, /) -> None: ...

    def fail(self, error: Exception, /) -> None: ...
