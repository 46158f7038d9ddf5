"""Whose packets are received, and what is reported to the peer."""

from dataclasses import replace

import pytest

from connectors.rtp.events import Audio, Bye
from connectors.rtp.packet import RtpPacket
from connectors.rtp.receiver import RtpReceiver
from connectors.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    encode_compound,
    parse_compound,
)
from connectors.rtp.srtp import SrtpReceiver, SrtpSender
from connectors.sdp.sdes import Crypto
from tests.connectors.rtp.network import CODECS, PCMU, PEER, START, Arrival, Sender, damage, play

ELSEWHERE = ("198.51.100.7", 31000)
THIRD = ("203.0.113.9", 5004)


def moved(packets: list[Arrival], address: tuple[str, int]) -> list[Arrival]:
    return [replace(packet, address=address) for packet in packets]


def test_the_signalled_address_is_believed_at_once() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    played = play(core, Sender().packets(1))
    assert len(played.audio) == 1
    assert core.peer == PEER


def test_a_peer_behind_nat_is_found_by_its_packets_and_loses_none() -> None:
    core = RtpReceiver(CODECS, signalled=("10.0.0.5", 4000))
    played = play(core, Sender().packets(10))
    assert len(played.audio) == 10
    assert played.longest_wait_s <= 0.041
    assert core.peer == PEER
    assert core.stats.foreign == 0


def test_without_symmetric_rtp_only_the_signalled_address_is_received() -> None:
    core = RtpReceiver(CODECS, signalled=("10.0.0.5", 4000), symmetric=False)
    assert not play(core, Sender().packets(10)).audio
    assert core.stats.foreign == 10
    assert core.peer is None


def test_nobody_takes_over_from_a_peer_that_sends() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sent = Sender().packets(100)
    attack = moved(Sender(ssrc=666, at=START + 0.005).packets(100), ELSEWHERE)
    played = play(core, sorted([*sent, *attack], key=lambda packet: packet.at))
    assert core.peer == PEER
    assert len(played.audio) == 100
    assert core.stats.foreign == 100
    assert core.stats.ssrc_changes == 0


def test_nobody_takes_over_by_the_peers_ssrc() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sent = Sender().packets(100)
    attack = moved([replace(packet, at=packet.at - 0.001) for packet in sent[2:]], ELSEWHERE)
    play(core, sorted([*sent, *attack], key=lambda packet: packet.at))
    assert (core.peer, core.stats.foreign, core.stats.duplicate) == (PEER, 98, 0)


def test_a_peer_whose_nat_binding_moved_is_found_again() -> None:
    core = RtpReceiver(CODECS, signalled=("10.0.0.5", 4000))
    sender = Sender()
    sent = sender.packets(50)
    sender.at += 1.5
    sender.timestamp += 12_000
    sent += moved(sender.packets(50), ELSEWHERE)
    played = play(core, sent)
    assert core.peer == ELSEWHERE
    assert len(played.audio) == 100
    assert (core.stats.lost, core.stats.ssrc_changes) == (0, 0)


OTHER_PORT = (PEER[0], 4711)


def test_a_port_that_changes_in_the_middle_costs_nothing() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    played = play(core, [*sender.packets(50), *moved(sender.packets(50), OTHER_PORT)])
    assert core.peer == OTHER_PORT
    assert [event.pts for event in played.audio] == list(range(0, 16_000, 160))
    assert played.longest_wait_s <= 0.041
    assert (core.stats.moves, core.stats.foreign, core.stats.lost, core.stats.ssrc_changes) == (1, 0, 0, 0)


@pytest.mark.parametrize("address", [OTHER_PORT, ELSEWHERE], ids=["another port", "another host"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_peer_that_moves_on_a_bad_network_loses_what_the_network_loses(address: tuple[str, int], seed: int) -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    sent = [*sender.packets(100), *moved(sender.packets(100), address)]
    done = damage(sent, seed=seed, loss=0.05, jitter_s=0.015, duplicates=0.03)
    played = play(core, done.delivered, until=sender.at + 0.3)
    assert core.peer == address
    assert core.stats.received + core.stats.lost == 200
    assert len(played.audio) >= 200 - done.lost - 3
    assert core.stats.moves == 1


def test_another_host_that_goes_on_with_the_stream_takes_over_without_a_second_of_silence() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    played = play(core, [*sender.packets(50), *moved(sender.packets(50), ELSEWHERE)])
    assert core.peer == ELSEWHERE
    assert [int.from_bytes(event.payload[:4], "big") for event in played.audio] == list(range(100))
    assert played.longest_wait_s <= 0.15
    assert core.stats.foreign == 0


def test_a_port_that_changes_with_a_gap_in_the_numbers_is_followed() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    sent = sender.packets(50)
    sender.packets(20)
    played = play(core, sent + moved(sender.packets(30), OTHER_PORT), until=sender.at + 0.2)
    assert core.peer == OTHER_PORT
    assert (len(played.audio), core.stats.lost) == (80, 20)


def test_a_port_that_changes_and_changes_back_is_followed() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    sent = [*sender.packets(20), *moved(sender.packets(20), OTHER_PORT), *sender.packets(20)]
    assert len(play(core, sent).audio) == 60
    assert core.peer == PEER


@pytest.mark.parametrize(
    "change", [{"ssrc": 99}, {"sequence": 40_000}, {"payload_type": 77}], ids=["SSRC", "numbers", "payload type"]
)
def test_a_new_port_with_another_stream_waits_for_the_pause(change: dict[str, int]) -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    play(core, sender.packets(50))
    other = [
        replace(one, data=replace(RtpPacket.parse(one.data), **change).encode(), address=OTHER_PORT)  # type: ignore[arg-type]
        for one in sender.packets(20)
    ]
    assert not play(core, other).audio
    assert core.peer == PEER
    assert core.stats.moves == 0


def test_a_copy_of_the_stream_from_another_port_does_not_take_over() -> None:
    """As a mirror or a recorder in the network sends it: the peer goes on from its own."""
    core = RtpReceiver(CODECS, signalled=PEER)
    sent = Sender().packets(200)
    for delay_s in (-0.001, 0.001, 0.3):
        copies = [replace(one, at=one.at + delay_s, address=OTHER_PORT) for one in sent[2:]]
        core = RtpReceiver(CODECS, signalled=PEER)
        played = play(core, sorted([*sent, *copies], key=lambda one: one.at))
        assert core.peer == PEER
        assert (len(played.audio), core.stats.moves) == (200, 0)


def test_a_protected_stream_goes_on_from_another_port() -> None:
    key = Crypto(1, "AEAD_AES_128_GCM", bytes(28))
    core, sealer, sender = RtpReceiver(CODECS, signalled=PEER, srtp=SrtpReceiver(key)), SrtpSender(key), Sender()
    sent = [*sender.packets(20), *moved(sender.packets(20), OTHER_PORT)]
    played = play(core, [replace(one, data=sealer.seal(one.data)) for one in sent])
    assert (len(played.audio), core.peer, core.stats.moves) == (40, OTHER_PORT, 1)


def test_without_symmetric_rtp_no_port_moves() -> None:
    core = RtpReceiver(CODECS, signalled=PEER, symmetric=False)
    sender = Sender()
    played = play(core, [*sender.packets(20), *moved(sender.packets(20), OTHER_PORT)])
    assert (len(played.audio), core.peer, core.stats.foreign) == (20, PEER, 20)


def test_a_new_agreement_moves_the_peer_at_once() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    play(core, sender.packets(50))
    core.update(CODECS, THIRD, None)
    assert core.peer is None
    played = play(core, moved(sender.packets(50), THIRD))
    assert core.peer == THIRD
    assert len(played.audio) == 50
    assert core.stats.ssrc_changes == 0


def test_the_new_address_wins_although_the_old_one_still_sends() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    old = Sender()
    play(core, old.packets(50))
    core.update(CODECS, THIRD, None)
    new = Sender(ssrc=99, at=old.at + 0.21)
    rest = [*old.packets(40), *moved(new.packets(50), THIRD)]
    play(core, sorted(rest, key=lambda packet: packet.at))
    assert core.peer == THIRD
    assert core.state.ssrc == 99


@pytest.mark.parametrize("signalled", [PEER, None], ids=["the same address", "a hold by no address"])
def test_an_agreement_that_moves_nobody_changes_nothing(signalled: tuple[str, int] | None) -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    sender = Sender()
    play(core, sender.packets(10))
    core.update(CODECS, signalled, None)
    assert core.peer == PEER
    assert len(play(core, sender.packets(10)).audio) == 10


def test_payload_types_that_were_not_agreed_on_do_not_make_a_peer() -> None:
    core = RtpReceiver([PCMU])
    assert not play(core, Sender(codec=CODECS[1]).packets(5)).audio
    assert core.peer is None
    assert core.stats.foreign == 5


def test_payload_types_that_were_not_agreed_on_are_counted_within_a_stream() -> None:
    core = RtpReceiver([PCMU])
    sender = Sender()
    sent = [*sender.packets(10), sender.packet(payload_type=77), *sender.packets(10)]
    played = play(core, sent)
    assert len(played.audio) == 20
    assert played.audio[10].pts == 11 * 160
    assert (core.stats.received, core.stats.lost, core.stats.unknown_payload) == (21, 0, 1)


def test_extensions_padding_and_contributors_are_put_aside() -> None:
    core = RtpReceiver(CODECS)
    sent = Sender().packets(10)
    changed = []
    for index, arrival in enumerate(sent):
        packet = replace(RtpPacket.parse(arrival.data), csrc=(5, 6) * (index % 2), padding=4 * (index % 3))
        changed.append(replace(arrival, data=packet.encode()))
    played = play(core, changed)
    assert [event.payload for event in played.audio] == [arrival.data[12:] for arrival in sent]
    assert [event.pts for event in played.audio] == list(range(0, 1600, 160))


def test_empty_packets_keep_a_binding_open_and_are_no_audio() -> None:
    core = RtpReceiver(CODECS)
    sender = Sender()
    sent = [*sender.packets(10), sender.packet(b""), *sender.packets(10)]
    assert len(play(core, sent).audio) == 20
    assert core.stats.lost == 0


def test_what_is_no_rtp_is_counted() -> None:
    core = RtpReceiver(CODECS)
    play(core, [Arrival(START, b""), Arrival(START, b"hello"), Arrival(START, bytes(40))])
    assert core.stats.malformed == 3


# RTCP


def test_a_report_tells_what_was_received() -> None:
    core = RtpReceiver(CODECS, ssrc=4711, cname="leg@example")
    sent = Sender(sequence=65_500).packets(200)
    done = damage(sent, loss=0.1)
    play(core, done.delivered, until=sent[-1].at + 0.2)
    sender_report = SenderReport(7, 0x1122334455667788, 0, 200, 32_000)
    core.receive_rtcp(encode_compound([sender_report]), PEER, sent[-1].at + 0.5)
    packets, error = parse_compound(core.report(sent[-1].at + 2.5))
    assert error is None
    report, description = packets
    assert isinstance(report, ReceiverReport)
    assert (report.ssrc, description) == (4711, SourceDescription(((4711, ((1, b"leg@example"),)),)))
    (block,) = report.blocks
    assert block.ssrc == 7
    assert block.lost == done.lost
    assert block.fraction_lost == 256 * done.lost // 200
    assert block.highest_sequence & 0xFFFF == (65_500 + 199) & 0xFFFF
    assert (block.highest_sequence - 65_500) % 0x10000 == 199
    assert block.last_sr == 0x33445566
    assert block.delay_since_sr == 2 * 65_536


def test_the_fraction_lost_is_that_since_the_last_report() -> None:
    core = RtpReceiver(CODECS)
    sender = Sender()
    sent = sender.packets(100)
    play(core, sent[:50] + sent[60:])
    assert _block(core, sender.at).fraction_lost == 256 * 10 // 100
    play(core, sender.packets(100))
    block = _block(core, sender.at)
    assert (block.fraction_lost, block.lost) == (0, 10)


def test_duplicates_make_the_loss_negative() -> None:
    core = RtpReceiver(CODECS)
    sent = Sender().packets(100)
    play(core, [packet for packet in sent for _ in range(2)])
    assert _block(core, sent[-1].at).lost == -100


def test_a_report_on_a_new_source_begins_anew() -> None:
    core = RtpReceiver(CODECS)
    sent = Sender().packets(100)
    play(core, sent[:50] + sent[60:])
    core.receive_rtcp(encode_compound([SenderReport(7, 0x1122334455667788, 0, 0, 0)]), PEER, sent[-1].at)
    assert _block(core, sent[-1].at).last_sr
    other = Sender(ssrc=8, at=sent[-1].at + 0.02).packets(100)
    play(core, other[:40] + other[60:])
    block = _block(core, other[-1].at)
    assert (block.ssrc, block.lost, block.fraction_lost) == (8, 20, 256 * 20 // 100)
    assert (block.last_sr, block.delay_since_sr) == (0, 0)


def test_without_packets_the_report_is_empty() -> None:
    packets, _ = parse_compound(RtpReceiver(CODECS).report(START))
    assert isinstance(packets[0], ReceiverReport)
    assert packets[0].blocks == ()


def test_the_round_trip_is_measured_by_our_own_reports() -> None:
    core = RtpReceiver(CODECS, ssrc=5)
    play(core, Sender().packets(5))
    packets, _ = parse_compound(core.report(START + 1, (1, 2, 3)))
    report = packets[0]
    assert isinstance(report, SenderReport)
    assert (report.rtp_timestamp, report.packets, report.octets) == (1, 2, 3)
    answer = ReceiverReport(7, (ReportBlock(5, last_sr=report.ntp >> 16 & 0xFFFFFFFF, delay_since_sr=32_768),))
    core.receive_rtcp(encode_compound([answer]), PEER, START + 1.65)
    assert core.stats.rtt_ms == pytest.approx(150, abs=0.1)


def test_a_round_trip_of_wrong_arithmetic_is_none() -> None:
    core = RtpReceiver(CODECS, ssrc=5)
    answer = ReceiverReport(7, (ReportBlock(5, last_sr=123, delay_since_sr=0),))
    core.receive_rtcp(encode_compound([answer]), PEER, START)
    assert core.stats.rtt_ms is None


def test_bye_is_told_once_and_another_source_is_received_at_once() -> None:
    core = RtpReceiver(CODECS)
    sender = Sender()
    play(core, sender.packets(10))
    bye = encode_compound([ReceiverReport(7), Goodbye((7,), b"moved")])
    core.receive_rtcp(bye, PEER, sender.at)
    core.receive_rtcp(bye, PEER, sender.at)
    assert core.take(sender.at) == [Bye("moved")]
    played = play(core, Sender(ssrc=8, at=sender.at).packets(1))
    assert len(played.audio) == 1
    assert not play(core, Sender(ssrc=9, at=sender.at).packets(1)).audio


def test_what_waits_is_received_before_the_bye() -> None:
    core = RtpReceiver(CODECS)
    sent = Sender().packets(10)
    play(core, sent[:8] + sent[9:])
    core.receive_rtcp(encode_compound([Goodbye((7,))]), PEER, sent[-1].at)
    events = core.take(sent[-1].at)
    assert [type(event) for event in events] == [Audio, Bye]


def test_bye_of_another_source_or_host_means_nothing() -> None:
    core = RtpReceiver(CODECS)
    play(core, Sender().packets(10))
    core.receive_rtcp(encode_compound([Goodbye((8,))]), PEER, START + 1)
    core.receive_rtcp(encode_compound([Goodbye((7,))]), THIRD, START + 1)
    assert not any(isinstance(event, Bye) for event in core.take(START + 0.21))
    assert core.stats.foreign == 1


def test_rtcp_on_the_rtp_port_is_read() -> None:
    core = RtpReceiver(CODECS)
    sender = Sender()
    play(core, sender.packets(10))
    core.receive(encode_compound([ReceiverReport(7), Goodbye((7,))]), PEER, sender.at)
    assert core.take(sender.at) == [Bye()]
    assert (core.stats.rtcp, core.stats.malformed) == (1, 0)
    assert core.rtcp_peer == PEER


def test_malformed_rtcp_is_counted() -> None:
    core = RtpReceiver(CODECS)
    core.receive_rtcp(b"\x80\xc9\x00\x10", PEER, START)
    assert (core.stats.rtcp, core.stats.malformed_rtcp) == (1, 1)


def test_what_waits_at_the_end_is_received() -> None:
    core = RtpReceiver(CODECS)
    sent = Sender().packets(10)
    played = play(core, sent[:8] + sent[9:])
    assert len(played.audio) == 8
    assert len(core.finish(sent[-1].at)) == 1
    assert (core.stats.received, core.stats.lost) == (9, 1)


# Signs of life


def test_a_report_is_a_sign_of_life() -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    assert core.alive_at == 0
    core.receive_rtcp(encode_compound([ReceiverReport(7)]), PEER, START + 3)
    assert (core.alive_at, core.arrived, core.stats.reports) == (START + 3, 0, 1)
    sent = Sender(at=START + 4).packets(2)
    play(core, sent)
    assert core.alive_at == sent[-1].at
    core.receive(encode_compound([SenderReport(7, 1, 2, 3, 4)]), PEER, START + 9)
    assert core.alive_at == START + 9


@pytest.mark.parametrize(
    ("data", "address"),
    [(b"\x80\xc9\x00\x10", PEER), (b"", PEER), (encode_compound([ReceiverReport(7)]), THIRD)],
    ids=["malformed", "empty", "of another host"],
)
def test_what_is_no_report_of_the_peer_is_no_sign_of_life(data: bytes, address: tuple[str, int]) -> None:
    core = RtpReceiver(CODECS, signalled=PEER)
    core.receive_rtcp(data, address, START)
    assert (core.alive_at, core.stats.reports) == (0, 0)


def test_a_packet_that_only_keeps_the_way_open_is_a_sign_of_life() -> None:
    """RFC 6263, sections 4.4 and 4.6: RTP of a type that nobody knows, before there is a stream and within it."""
    core = RtpReceiver(CODECS, signalled=PEER)
    core.receive(Sender().packet(b"", payload_type=20).data, PEER, START + 1)
    assert core.alive_at == START + 1
    core.receive(Sender(ssrc=4).packet(b"", payload_type=20).data, THIRD, START + 2)
    assert core.alive_at == START + 1


def test_a_protected_report_counts_once_it_is_open() -> None:
    key = Crypto(1, "AEAD_AES_128_GCM", bytes(28))
    core = RtpReceiver(CODECS, signalled=PEER, srtp=SrtpReceiver(key))
    report = encode_compound([ReceiverReport(7)])
    core.receive_rtcp(report, PEER, START)
    assert core.alive_at == 0
    core.receive_rtcp(SrtpSender(key).seal_rtcp(report), PEER, START + 1)
    assert core.alive_at == START + 1


def _block(core: RtpReceiver, now: float) -> ReportBlock:
    packets, _ = parse_compound(core.report(now))
    assert isinstance(packets[0], ReceiverReport)
    return packets[0].blocks[0]
