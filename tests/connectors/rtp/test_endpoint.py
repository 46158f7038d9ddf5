"""The driver on real sockets: a peer on loopback, RTP to it and from it."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from connectors.rtp import DtmfEvent, NoFreePort, PortPool, RtpEndpoint, RtpPacket
from connectors.rtp.events import Bye
from connectors.rtp.rtcp import Goodbye, ReceiverReport, SenderReport, encode_compound, parse_compound
from connectors.rtp.srtp import SrtpReceiver, SrtpSender
from connectors.sdp.media_lines import Direction
from connectors.sdp.sdes import Crypto
from tests.connectors.rtp.keys import press
from tests.connectors.rtp.legs import FakeLeg
from tests.connectors.rtp.network import PCMA
from tests.connectors.rtp.sockets import HOST, Open, Peer, until


async def arrived(sock: socket.socket, wanted: Callable[[bytes], bool] = bool) -> bytes:
    """The first datagram that is wanted."""
    async with asyncio.timeout(5):
        while True:
            data = await asyncio.get_running_loop().sock_recv(sock, 2048)
            if wanted(data):
                return data


def say(endpoint: RtpEndpoint, packets: int = 1) -> None:
    assert endpoint.outlet is not None
    for index in range(packets):
        at = asyncio.get_running_loop().time() + 0.02 * index
        endpoint.outlet.send(np.zeros(160, np.int16), at, starts=not index)


async def test_packets_reach_the_leg(peer: Peer, opened: Open) -> None:
    leg, endpoint = FakeLeg(), await opened()
    endpoint.attach(leg)
    endpoint.update(peer.agreed())
    for packet in peer.sender.packets(20):
        peer.send(endpoint, packet.data)
    await until(lambda: len(leg.frames) >= 20)
    assert [frame.pts for frame in leg.frames[:20]] == list(range(0, 3200, 160))
    assert endpoint.stats.received == 20


async def test_packets_wait_for_leg_and_agreement(peer: Peer, opened: Open) -> None:
    leg, endpoint = FakeLeg(), await opened()
    endpoint.update(peer.agreed())
    peer.send(endpoint, peer.sender.packet().data)
    await asyncio.sleep(0.02)
    endpoint.attach(leg)
    await until(lambda: len(leg.frames) == 1)


async def test_what_waits_behind_a_gap_comes_without_another_packet(peer: Peer, opened: Open) -> None:
    leg, endpoint = FakeLeg(), await opened()
    endpoint.attach(leg)
    endpoint.update(peer.agreed())
    packets = peer.sender.packets(3)
    peer.send(endpoint, packets[0].data)
    peer.send(endpoint, packets[2].data)
    await until(lambda: endpoint.stats.received == 2)
    assert endpoint._running is not None
    assert endpoint.stats.lost or endpoint._running._due <= asyncio.get_running_loop().time() + 0.12
    await until(lambda: len(leg.frames) >= 2)
    assert leg.frames[1].samples.size == 320
    assert endpoint.stats.lost == 1


async def test_silence_is_received_where_nothing_is_sent(peer: Peer, opened: Open) -> None:
    leg, endpoint = FakeLeg(), await opened()
    endpoint.attach(leg)
    endpoint.update(peer.agreed())
    peer.send(endpoint, peer.sender.packet().data)
    await until(lambda: sum(frame.samples.size for frame in leg.frames) >= 160 + 1600)


async def test_keys_and_goodbye_reach_their_callbacks(peer: Peer, opened: Open) -> None:
    keys: list[DtmfEvent] = []
    byes: list[Bye] = []
    endpoint = await opened()
    endpoint.attach(FakeLeg(), keys.append, byes.append)
    endpoint.update(peer.agreed())
    for packet in [*peer.sender.packets(2), *press(peer.sender, "7", 2)]:
        peer.send(endpoint, packet.data)
    await until(lambda: len(keys) == 1)
    assert keys[0].digit == "7"
    peer.send(endpoint, encode_compound([ReceiverReport(7), Goodbye((7,))]), control=True)
    await until(lambda: byes == [Bye()])


async def test_reports_go_to_the_peers_rtcp_port(peer: Peer, opened: Open) -> None:
    endpoint = await opened()
    endpoint.attach(FakeLeg())
    endpoint.update(peer.agreed())
    peer.send(endpoint, peer.sender.packet().data)
    data = await arrived(peer.rtcp, lambda data: len(data) > 40)
    packets, error = parse_compound(data)
    assert error is None
    assert isinstance(packets[0], ReceiverReport)
    assert packets[0].blocks[0].ssrc == 7


async def test_with_rtcp_mux_reports_go_to_the_rtp_port(peer: Peer, opened: Open) -> None:
    endpoint = await opened()
    endpoint.attach(FakeLeg())
    endpoint.update(peer.agreed(mux=True))
    packets, _ = parse_compound(await arrived(peer.rtp))
    assert isinstance(packets[0], ReceiverReport)


async def test_a_peer_elsewhere_is_answered_where_it_is(peer: Peer, opened: Open) -> None:
    endpoint = await opened()
    endpoint.attach(FakeLeg())
    endpoint.update(peer.agreed(port=9, mux=True))
    for packet in peer.sender.packets(3):
        peer.send(endpoint, packet.data)
    await until(lambda: endpoint.stats.received == 3)
    say(endpoint)
    await arrived(peer.rtp, lambda data: data[1] & 0x7F == 0)


async def test_audio_is_sent_and_reported(peer: Peer, opened: Open) -> None:
    endpoint = await opened()
    assert endpoint.outlet is None
    endpoint.attach(FakeLeg())
    endpoint.update(peer.agreed())
    assert endpoint.outlet is not None
    assert (endpoint.outlet.sample_rate_hz, endpoint.outlet.packet_ms, endpoint.outlet.ready) == (8_000, 20, True)
    say(endpoint, 10)
    packets = [RtpPacket.parse(await arrived(peer.rtp)) for _ in range(10)]
    assert [packet.sequence for packet in packets] == [(packets[0].sequence + index) % 65536 for index in range(10)]
    data = await arrived(peer.rtcp, lambda data: data[1] == 200)
    report = parse_compound(data)[0][0]
    assert isinstance(report, SenderReport)
    assert (report.ssrc, report.octets) == (packets[0].ssrc, 160 * report.packets)
    endpoint.update(peer.agreed(codec=PCMA))
    say(endpoint)
    assert RtpPacket.parse(await arrived(peer.rtp)).payload_type == 8
    assert endpoint.outlet.sent_ms == endpoint.outlet.played_ms(0.0) == 220


@pytest.mark.parametrize("direction", [Direction.RECVONLY, Direction.INACTIVE])
async def test_nothing_may_be_sent_on_hold_and_after_the_end(peer: Peer, opened: Open, direction: Direction) -> None:
    endpoint = await opened()
    endpoint.attach(FakeLeg())
    endpoint.update(peer.agreed())
    outlet = endpoint.outlet
    assert outlet is not None
    endpoint.update(replace(peer.agreed(), direction=direction))
    assert not outlet.ready
    endpoint.update(peer.agreed())
    assert outlet.ready
    agreed = peer.agreed()
    endpoint.update(replace(agreed, remote=replace(agreed.remote, address="0.0.0.0")))
    assert not outlet.ready
    endpoint.update(agreed)
    await endpoint.close()
    assert not outlet.ready


async def test_srtp_both_ways_and_its_state_outlives_a_new_agreement(peer: Peer, opened: Open) -> None:
    theirs, ours = (
        Crypto(1, "AES_CM_128_HMAC_SHA1_80", bytes(30)),
        Crypto(1, "AES_CM_128_HMAC_SHA1_80", bytes(range(30))),
    )
    agreed = replace(peer.agreed(), remote_crypto=theirs, local_crypto=ours)
    leg, endpoint = FakeLeg(), await opened()
    endpoint.attach(leg)
    endpoint.update(agreed)
    seal, unseal = SrtpSender(theirs), SrtpReceiver(ours)
    first = seal.seal(peer.sender.packet().data)
    peer.send(endpoint, first)
    await until(lambda: len(leg.frames) == 1)
    endpoint.update(replace(agreed))
    peer.send(endpoint, first)
    peer.send(endpoint, peer.sender.packet().data)
    await until(lambda: (endpoint.stats.replayed, endpoint.stats.unauthentic) == (1, 1))
    say(endpoint)
    assert len(RtpPacket.parse(unseal.open(await arrived(peer.rtp))).payload) == 160
    packets, error = parse_compound(unseal.open_rtcp(await arrived(peer.rtcp)))
    assert error is None
    assert packets


async def test_a_hold_is_not_received_and_no_inactivity(peer: Peer, opened: Open) -> None:
    silent: list[bool] = []
    leg = FakeLeg()
    endpoint = await opened(on_inactive=lambda: silent.append(True))
    endpoint.pause()
    endpoint.attach(leg)
    endpoint.update(peer.agreed())
    peer.send(endpoint, peer.sender.packet().data)
    await until(lambda: endpoint.stats.received == 1)
    await asyncio.sleep(0.5)
    assert not leg.frames
    assert not silent
    endpoint.resume()
    peer.send(endpoint, peer.sender.packet().data)
    await until(lambda: bool(leg.frames))
    assert leg.frames[0].pts >= 160
    await until(lambda: silent == [True])
    await asyncio.sleep(0.3)
    assert silent == [True]


async def test_a_peer_that_sends_reports_alone_is_no_inactivity(peer: Peer, opened: Open) -> None:
    silent: list[bool] = []
    endpoint = await opened(on_inactive=lambda: silent.append(True))
    endpoint.attach(FakeLeg())
    endpoint.update(peer.agreed())
    assert endpoint.alive_at == 0
    for _ in range(12):
        peer.send(endpoint, encode_compound([ReceiverReport(7)]), control=True)
        await asyncio.sleep(0.05)
    assert not silent
    assert endpoint.alive_at > 0
    assert (endpoint.stats.reports, endpoint.stats.received) == (12, 0)
    await until(lambda: silent == [True])


async def test_another_clock_of_the_timestamps_is_told_once(
    peer: Peer, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    leg, endpoint = FakeLeg(), await opened()
    endpoint.attach(leg)
    endpoint.update(peer.agreed())
    peer.sender.clock = 16_000
    for _ in range(30):
        peer.send(endpoint, peer.sender.packet().data)
        await asyncio.sleep(0.018)
    await until(lambda: len(leg.frames) >= 30)
    await until(lambda: "wrong clock" in caplog.text)
    await asyncio.sleep(0.2)
    assert [record.getMessage() for record in caplog.records] == [
        f"media port {endpoint.port}: the peer's RTP timestamps run at 16000 a second and are read so; "
        "its sender has the wrong clock"
    ]


async def test_a_port_that_changes_is_received_and_answered_on(peer: Peer, opened: Open) -> None:
    leg, endpoint = FakeLeg(), await opened()
    endpoint.attach(leg)
    endpoint.update(peer.agreed())
    for _ in range(20):
        peer.send(endpoint, peer.sender.packet().data)
        await asyncio.sleep(0.005)
    await until(lambda: len(leg.frames) == 20)
    moved = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    moved.setblocking(False)
    with moved:
        for packet in peer.sender.packets(5):
            moved.sendto(packet.data, (HOST, endpoint.port))
        await until(lambda: len(leg.frames) == 25)
        assert endpoint.stats.moves == 1
        say(endpoint)
        assert await arrived(moved)


async def test_closing_hands_on_what_waits_and_says_goodbye(peer: Peer, ports: PortPool) -> None:
    leg, endpoint = FakeLeg(), await RtpEndpoint.open(HOST, ports)
    endpoint.attach(leg)
    endpoint.update(peer.agreed())
    packets = peer.sender.packets(3)
    peer.send(endpoint, packets[0].data)
    await until(lambda: len(leg.frames) == 1)
    peer.send(endpoint, packets[2].data)
    await until(lambda: endpoint.stats.received == 2)
    await endpoint.close()
    await endpoint.close()
    assert len(leg.frames) == 2
    assert (leg.stats.packets, leg.stats.lost) == (2, 1)
    packets_, _ = parse_compound(await arrived(peer.rtcp))
    assert isinstance(packets_[-1], Goodbye)
    assert ports.taken == 0


async def test_an_endpoint_that_never_ran_gives_its_ports_back(ports: PortPool) -> None:
    endpoint = await RtpEndpoint.open(HOST, ports)
    assert ports.taken == 1
    assert endpoint.stats.received == 0
    await endpoint.close()
    assert ports.taken == 0


async def test_no_free_port_is_reported() -> None:
    pool = PortPool(42_000, 42_001)
    endpoint = await RtpEndpoint.open(HOST, pool)
    with pytest.raises(NoFreePort):
        await RtpEndpoint.open(HOST, pool)
    await endpoint.close()


async def test_many_endpoints_are_served_side_by_side(peer: Peer, opened: Open) -> None:
    legs = [FakeLeg() for _ in range(20)]
    endpoints = [await opened() for _ in legs]
    for endpoint, leg in zip(endpoints, legs, strict=True):
        endpoint.attach(leg)
        endpoint.update(peer.agreed())
    for packet in peer.sender.packets(10):
        for endpoint in endpoints:
            peer.send(endpoint, packet.data)
    await until(lambda: all(len(leg.frames) >= 10 for leg in legs))
    assert all([frame.pts for frame in leg.frames[:10]] == list(range(0, 1600, 160)) for leg in legs)
