"""Key presses at another clock than the audio's, under another SSRC, and of a type that nobody agreed on."""

from dataclasses import replace

import pytest

from connectors.rtp.dtmf import DIGITS, EventPayload
from connectors.rtp.events import DtmfEvent
from connectors.rtp.packet import RtpPacket
from connectors.rtp.receiver import RtpReceiver
from connectors.sdp.rtp_codec import RtpCodec
from tests.connectors.rtp.keys import keys, press
from tests.connectors.rtp.network import CODECS, G722, OPUS, PCMU, Arrival, Sender, play


def beside(audio: RtpCodec, clock: int, *, counted: int | None = None, lost_start: int = 0) -> DtmfEvent:
    """The key that is received beside 1 s of this audio: 0.2 s long, in updates of 20 ms. `counted`: units a second of
    its durations."""
    events = RtpCodec(120, "TELEPHONE-EVENT", clock)
    core = RtpReceiver([audio, events])
    sender = Sender(codec=audio, clock=audio.clock_rate)
    speech = bytes([1 << 3]) + bytes(30) if audio is OPUS else None
    sent = [sender.packet(speech) for _ in range(50)]
    base = sender.timestamp
    for index in range(13):
        duration = min(index + 1, 10) * (counted or clock) // 50
        timestamp = sender.timestamp
        sender.timestamp = base
        packet = sender.packet(EventPayload(5, index >= 10, 10, duration).encode(), payload_type=120, marker=index == 0)
        sent += [packet] if index >= lost_start else []
        sender.timestamp = timestamp + audio.clock_rate // 50
    sent += [sender.packet(speech) for _ in range(20)]
    played = play(core, sent, until=sender.at + 1)
    (event,) = keys(played.events)
    rate = {"OPUS": 16_000, "G722": 16_000}.get(audio.name, audio.clock_rate)
    assert played.audio[50].pts / rate == pytest.approx(1.26, abs=0.001)
    return event


@pytest.mark.parametrize("audio", [OPUS, PCMU, G722], ids=lambda codec: codec.name)
@pytest.mark.parametrize("clock", [8000, 16_000, 32_000, 48_000])
@pytest.mark.parametrize("lost_start", [0, 4], ids=["whole", "start lost"])
def test_keys_at_any_clock_are_received_with_their_time_and_length(
    audio: RtpCodec, clock: int, lost_start: int
) -> None:
    event = beside(audio, clock, lost_start=lost_start)
    assert event.digit == "5"
    assert event.duration_s == pytest.approx(0.2)
    assert event.start_s == pytest.approx(1.0, abs=0.021)


def test_durations_that_run_at_the_clock_of_the_audio_are_read_so() -> None:
    assert beside(OPUS, 8000, counted=48_000).duration_s == pytest.approx(0.2)
    assert beside(PCMU, 48_000, counted=8000).duration_s == pytest.approx(0.2)


def apart(sender: Sender, digit: str, *, first: int = 5, ends: int = 3) -> list[Arrival]:
    """A key under another SSRC than the audio that goes on meanwhile, with numbers and timestamps of its own."""
    packets: list[Arrival] = []
    own = Sender(ssrc=99, sequence=first, timestamp=3_000_000_000)
    for index in range(4 + ends):
        own.timestamp, own.at = 3_000_000_000 + first * 800, sender.at + 0.001
        payload = EventPayload(DIGITS.index(digit), index >= 4, 10, 160 * min(index + 1, 5)).encode()
        packets += [own.packet(payload, payload_type=101, marker=index == 0), *sender.packets(1)]
    return packets


def test_keys_under_an_ssrc_of_their_own_are_received_and_the_audio_goes_on() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(50)
    for first, digit in ((5, "6"), (400, "7"), (9000, "7")):
        sent += apart(sender, digit, first=first) + sender.packets(10)
    played = play(core, sent, until=sender.at + 1)
    assert [event.digit for event in keys(played.events)] == ["6", "7", "7"]
    assert [event.duration_s for event in keys(played.events)] == pytest.approx([0.1] * 3)
    assert [event.start_s for event in keys(played.events)] == pytest.approx([1.0, 1.34, 1.68], abs=0.03)
    assert len(played.audio) == 50 + 3 * 17
    assert (core.stats.ssrc_changes, core.stats.lost, core.stats.foreign) == (0, 0, 0)
    assert core.stats.events_beside == 21


def test_a_key_under_an_ssrc_of_its_own_without_an_end_is_made_up_for() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent = sender.packets(50) + apart(sender, "6", ends=0) + sender.packets(30)
    assert [event.digit for event in keys(play(core, sent).events)] == ["6"]


def test_packets_of_a_key_under_an_ssrc_of_its_own_may_overtake_and_come_twice() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    sent, packets = sender.packets(50), apart(sender, "6")
    events = packets[::2]
    shuffled = [events[0], events[2], events[1], events[2], events[4], events[3], *events[4:], events[0]]
    sent += [replace(one, at=sender.at + index / 1000) for index, one in enumerate(shuffled)]
    assert [event.digit for event in keys(play(core, sent, until=sender.at + 1).events)] == ["6"]


def test_keys_under_an_ssrc_of_their_own_are_the_peers_alone() -> None:
    core, sender = RtpReceiver(CODECS), Sender()
    packets = apart(sender, "6")
    sent = [replace(one, address=("198.51.100.7", 4000)) for one in packets[::2]]
    played = play(core, sorted([*Sender().packets(60), *sent], key=lambda one: one.at), until=sender.at + 1)
    assert keys(played.events) == []
    assert core.stats.events_beside == 0


@pytest.mark.parametrize("payload_type", [96, 100, 103, 127])
def test_a_key_of_a_type_that_nobody_agreed_on_is_a_key(payload_type: int) -> None:
    core, sender = RtpReceiver((PCMU,)), Sender()
    sent = sender.packets(10)
    for digit in "377":
        packets = press(sender, digit, 2)
        numbered = [RtpPacket.parse(one.data) for one in packets]
        renumbered = [replace(one, payload_type=payload_type).encode() for one in numbered]
        sent += [replace(one, data=data) for one, data in zip(packets, renumbered, strict=True)]
        sent += sender.packets(5)
    played = play(core, sent)
    assert [event.digit for event in keys(played.events)] == ["3", "7", "7"]
    assert (core.stats.unagreed_events, core.stats.unknown_payload) == (15, 0)


@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (18, bytes([3, 0x8A, 0, 160])),
        (96, bytes([3, 0xCA, 0, 160])),
        (96, bytes([77, 0x8A, 0, 160])),
        (96, bytes([3, 0x8A, 0, 160, 0])),
        (96, bytes([3, 0x8A, 0])),
    ],
)
def test_what_else_has_a_type_that_nobody_agreed_on_is_no_key(payload_type: int, payload: bytes) -> None:
    core, sender = RtpReceiver((PCMU,)), Sender()
    sent = [*sender.packets(10), sender.packet(payload, payload_type=payload_type), *sender.packets(5)]
    assert keys(play(core, sent, until=sender.at + 1).events) == []
    assert (core.stats.unagreed_events, core.stats.unknown_payload) == (0, 1)
