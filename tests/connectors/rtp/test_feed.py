"""From RTP events to frames of the pipeline."""

import itertools

import numpy as np
import pytest

from connectors.codecs import encoder_for
from connectors.rtp.events import Audio, Bye, DtmfEvent, Silence
from connectors.rtp.feed import LegFeed
from connectors.rtp.quality import RtpStats
from connectors.rtp.receiver import RtpReceiver
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.call import LegStats
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import decode_alaw, decode_mulaw
from tests.connectors.rtp.legs import FakeLeg
from tests.connectors.rtp.network import CODECS, G722, PCMA, PCMU, Sender, play


def contiguous(frames: list[AudioFrame]) -> None:
    for before, after in itertools.pairwise(frames):
        assert after.pts == before.pts + before.samples.size


@pytest.mark.parametrize(("codec", "encoding"), [(PCMU, Encoding.PCMU), (PCMA, Encoding.PCMA)])
def test_g711_passes_as_codes(codec: RtpCodec, encoding: Encoding) -> None:
    leg = FakeLeg()
    payload = bytes(range(160))
    LegFeed(leg).deliver([Audio(320, payload, codec, 5.0)])
    (frame,) = leg.frames
    assert (frame.pts, frame.encoding, frame.sample_rate_hz, frame.arrival) == (320, encoding, 8000, 5.0)
    assert frame.samples.tobytes() == payload


@pytest.mark.parametrize(("codec", "decode"), [(PCMU, decode_mulaw), (PCMA, decode_alaw)])
def test_silence_is_digital_silence_of_the_codec(codec: RtpCodec, decode: object) -> None:
    leg = FakeLeg()
    LegFeed(leg).deliver([Audio(0, bytes(160), codec, 5.0), Silence(160, 800, codec, 5.1)])
    contiguous(leg.frames)
    assert leg.frames[1].samples.size == 800
    assert np.all(np.abs(decode(leg.frames[1].samples)) <= 8)  # type: ignore[operator]


def test_a_loss_is_concealed_in_its_place() -> None:
    leg = FakeLeg()
    core, sender = RtpReceiver(CODECS), Sender()
    tone = 8000 * np.sin(np.arange(160 * 20) * 2 * np.pi * 200 / 8000)
    octets = encoder_for(PCMU).encode(tone.astype(np.int16))
    sent = [sender.packet(octets[at : at + 160]) for at in range(0, len(octets), 160)]
    LegFeed(leg).deliver([event for _, event in play(core, sent[:10] + sent[11:], until=sender.at).events])
    contiguous(leg.frames)
    played = decode_mulaw(np.concatenate([frame.samples for frame in leg.frames]))
    assert played.size == tone.size
    concealed = played[1600:1760].astype(float)
    assert np.corrcoef(concealed, tone[1600:1760])[0, 1] > 0.95
    np.testing.assert_array_equal(
        np.delete(played, np.s_[1600:1760]), np.delete(decode_mulaw(np.frombuffer(octets, np.uint8)), np.s_[1600:1760])
    )


def test_g722_is_decoded_to_16_khz_with_its_state() -> None:
    leg = FakeLeg()
    core, sender = RtpReceiver(CODECS), Sender(codec=G722)
    tone = (8000 * np.sin(np.arange(320 * 20) * 2 * np.pi * 1000 / 16_000)).astype(np.int16)
    encoder = encoder_for(G722)
    sent = [sender.packet(encoder.encode(tone[at : at + 320])) for at in range(0, tone.size, 320)]
    LegFeed(leg).deliver([event for _, event in play(core, sent).events])
    contiguous(leg.frames)
    assert {frame.sample_rate_hz for frame in leg.frames} == {16_000}
    played = np.concatenate([frame.samples for frame in leg.frames]).astype(float)
    assert played.size == tone.size
    assert max(np.corrcoef(played[1000 + lag : 5000 + lag], tone[1000:5000])[0, 1] for lag in range(30)) > 0.98


def test_a_muted_leg_hears_nothing_and_its_time_goes_on() -> None:
    leg = FakeLeg()
    feed = LegFeed(leg)
    core, sender = RtpReceiver(CODECS), Sender()
    feed.deliver([event for _, event in play(core, sender.packets(10)).events])
    feed.muted = True
    feed.deliver([event for _, event in play(core, sender.packets(50), until=sender.at + 0.31).events])
    assert len(leg.frames) == 10
    feed.muted = False
    sender.pause(1.0)
    feed.deliver([event for _, event in play(core, sender.packets(10)).events])
    assert leg.frames[-10].pts == 60 * 160 + 8000


def test_keys_and_goodbye_go_to_their_callbacks_even_when_muted() -> None:
    keys: list[DtmfEvent] = []
    byes: list[Bye] = []
    feed = LegFeed(FakeLeg(), keys.append, byes.append)
    feed.muted = True
    feed.deliver([DtmfEvent("1", 0.0, 0.1), Bye("over")])
    assert (keys, byes) == ([DtmfEvent("1", 0.0, 0.1)], [Bye("over")])
    LegFeed(FakeLeg()).deliver([DtmfEvent("1", 0.0, 0.1), Bye("over")])


def test_a_codec_that_is_none_of_ours_is_not_received() -> None:
    leg = FakeLeg()
    LegFeed(leg).deliver([Audio(0, bytes(20), RtpCodec(18, "G729", 8000), 0.0), Silence(0, 80, PCMU, 0.0)])
    assert not leg.frames


def test_counters_are_copied_for_the_statistics_of_the_call() -> None:
    leg = FakeLeg()
    LegFeed(leg).report(RtpStats(received=10, lost=3, late=1))
    assert leg.stats == LegStats(10, 3, 1)
