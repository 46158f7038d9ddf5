from dataclasses import replace

import pytest

from connectors.rtp.errors import SrtpReplayed, SrtpUnauthentic, UnsupportedSuite
from connectors.rtp.events import Bye
from connectors.rtp.receiver import RtpReceiver
from connectors.rtp.rtcp import Goodbye, ReceiverReport, encode_compound
from connectors.rtp.srtp import SrtpReceiver, SrtpSender
from connectors.sdp.sdes import KEY_SALT_BYTES, Crypto
from tests.connectors.rtp.network import CODECS, PEER, Arrival, Sender, damage, play

SUITES = sorted(KEY_SALT_BYTES)


def line(suite: str, fill: int = 7, **fields: int) -> Crypto:
    key = bytes((fill + index) & 0xFF for index in range(KEY_SALT_BYTES[suite]))
    return Crypto(1, suite, key, **fields)  # type: ignore[arg-type]


def sealed(packets: list[Arrival], crypto: Crypto) -> list[Arrival]:
    sender = SrtpSender(crypto)
    return [replace(packet, data=sender.seal(packet.data)) for packet in packets]


def test_the_suites_are_those_of_sdp() -> None:
    assert SUITES == ["AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80"]


@pytest.mark.parametrize("suite", SUITES)
def test_packets_of_each_suite_are_opened(suite: str) -> None:
    sent = Sender().packets(20)
    protected = sealed(sent, line(suite))
    assert all(plain.data[12:] != packet.data[12:172] for plain, packet in zip(sent, protected, strict=True))
    core = RtpReceiver(CODECS, srtp=SrtpReceiver(line(suite)))
    played = play(core, protected)
    assert [event.payload for event in played.audio] == [packet.data[12:] for packet in sent]
    assert core.stats.received == 20


@pytest.mark.parametrize("suite", SUITES)
def test_rtcp_of_each_suite_is_opened(suite: str) -> None:
    core = RtpReceiver(CODECS, srtp=SrtpReceiver(line(suite)))
    play(core, sealed(Sender().packets(2), line(suite)))
    bye = SrtpSender(line(suite)).seal_rtcp(encode_compound([ReceiverReport(7), Goodbye((7,))]))
    core.receive_rtcp(bye[:-1] + bytes([bye[-1] ^ 1]), PEER, 1000.1)
    assert core.take(1000.1) == []
    assert core.stats.unauthentic == 1
    core.receive_rtcp(bye, PEER, 1000.1)
    assert core.take(1000.1) == [Bye()]


@pytest.mark.parametrize("suite", SUITES)
def test_a_packet_that_fails_authentication_is_counted_and_never_decoded(suite: str) -> None:
    core = RtpReceiver(CODECS, srtp=SrtpReceiver(line(suite)))
    forged = [
        replace(packet, data=packet.data[:40] + bytes([packet.data[40] ^ 1]) + packet.data[41:])
        for packet in sealed(Sender().packets(5), line(suite))
    ]
    wrong_key = sealed(Sender().packets(5), line(suite, fill=9))
    played = play(core, [*forged, *wrong_key, *Sender().packets(5), Arrival(1001.0, b"\x80\0ab")])
    assert not played.events
    assert core.peer is None
    assert core.stats.unauthentic == 16
    assert core.stats.received == core.stats.malformed == 0


def test_duplicates_of_the_network_are_told_from_forgeries() -> None:
    core = RtpReceiver(CODECS, srtp=SrtpReceiver(line(SUITES[2])))
    sent = Sender(sequence=65_000).packets(1000)
    done = damage(sent, loss=0.05, jitter_s=0.04, duplicates=0.05)
    sender = SrtpSender(line(SUITES[2]))
    by_data = {packet.data: sender.seal(packet.data) for packet in sent}
    play(core, [replace(packet, data=by_data[packet.data]) for packet in done.delivered], until=sent[-1].at + 1)
    stats = core.stats
    assert stats.replayed == done.duplicated
    assert stats.unauthentic == 0
    assert stats.received + stats.lost == 1000
    assert stats.lost - stats.late == done.lost


@pytest.mark.parametrize("suite", SUITES)
def test_a_key_identifier_is_put_aside(suite: str) -> None:
    crypto = line(suite, mki=1, mki_length=4)
    tag = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4, "AEAD_AES_128_GCM": 0}[suite]
    sent = Sender().packets(5)
    protected = [
        packet.data[: len(packet.data) - tag] + b"\0\0\0\x01" + packet.data[len(packet.data) - tag :]
        for packet in sealed(sent, line(suite))
    ]
    receiver = SrtpReceiver(crypto)
    assert [receiver.open(data) for data in protected] == [packet.data for packet in sent]
    with pytest.raises(SrtpUnauthentic):
        receiver.open(b"\x80")


def test_refusals_say_which_it_is() -> None:
    receiver = SrtpReceiver(line(SUITES[1]))
    (packet,) = sealed(Sender().packets(1), line(SUITES[1]))
    receiver.open(packet.data)
    with pytest.raises(SrtpReplayed):
        receiver.open(packet.data)
    for junk in (b"", bytes(11), bytes(400), bytes(2000), b"\x80" + bytes(30)):
        with pytest.raises(SrtpUnauthentic):
            receiver.open(junk)
        with pytest.raises(SrtpUnauthentic):
            receiver.open_rtcp(junk)


def test_suites_and_keys_that_are_none_are_refused() -> None:
    with pytest.raises(UnsupportedSuite, match="no SRTP with F8_128_HMAC_SHA1_80"):
        SrtpReceiver(Crypto(1, "F8_128_HMAC_SHA1_80", bytes(30)))
    with pytest.raises(UnsupportedSuite, match="29 octets are no key"):
        SrtpSender(Crypto(1, SUITES[1], bytes(29)))
