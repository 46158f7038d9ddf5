"""Endpoints whose streams in order are read in bulk: real sockets, a real intake."""

import asyncio

import numpy as np

from connectors.rtp import DtmfEvent, RtpEndpoint
from connectors.rtp.reader import MediaReader
from connectors.rtp.rtcp import Goodbye, encode_compound
from engine.api import Session
from pipeline.call import LegStats
from pipeline.g711 import decode_mulaw
from pipeline.ingest import Ingest
from tests.connectors.rtp.keys import press
from tests.connectors.rtp.network import PCMA, Arrival
from tests.connectors.rtp.sockets import Open, Peer, until
from tests.pipeline.collector import Collector


class Leg:
    def __init__(self, ingest: Ingest, number: int = 0) -> None:
        self.stats = LegStats()
        self.intake = ingest.open(Session(number, number, 0, 160), f"call-{number}")
        self.push = self.intake.push

    def fail(self, error: Exception) -> None:
        raise error


class Stage:
    """A peer that speaks to one endpoint, in real time, every packet in order, with the tick after every packet."""

    def __init__(self, peer: Peer) -> None:
        self.recognizer = Collector()
        self.ingest = Ingest(self.recognizer)
        self.leg = Leg(self.ingest)
        self.peer = peer
        self.sent: list[bytes] = []

    async def play(self, endpoint: RtpEndpoint, packets: list[Arrival]) -> None:
        for packet in packets:
            before, due = endpoint.stats.received, asyncio.get_running_loop().time() + 0.02
            self.peer.send(endpoint, packet.data)
            await until(lambda before=before: endpoint.stats.received > before)  # type: ignore[misc]
            self.ingest.tick()
            self.sent.append(packet.data[12:])
            await asyncio.sleep(due - asyncio.get_running_loop().time())

    async def play_into_lane(self, endpoint: RtpEndpoint) -> None:
        """Some packets, again where a busy machine held one up: that is a stream with a gap."""
        for _ in range(10):
            await self.play(endpoint, self.peer.sender.packets(16))
            if in_lane(endpoint):
                return
        raise AssertionError("never in a lane")

    def received(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        self.ingest.close(self.leg.intake)
        return self.recognizer.audio(self.leg.intake.session)[::2] * 32768

    @property
    def expected(self) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        return decode_mulaw(np.frombuffer(b"".join(self.sent), np.uint8))


def in_lane(endpoint: RtpEndpoint) -> bool:
    return endpoint._running is not None and endpoint._running._lane is not None


async def test_a_stream_in_order_is_read_in_bulk_and_received_whole(peer: Peer, opened: Open) -> None:
    stage, endpoint = Stage(peer), await opened()
    endpoint.attach(stage.leg)
    endpoint.update(peer.agreed())
    await stage.play(endpoint, peer.sender.packets(30))
    assert in_lane(endpoint)
    assert endpoint.stats.received == 30
    assert stage.leg.intake.stats.frames == 30
    await endpoint.close()
    assert stage.leg.stats.packets == 30
    assert np.array_equal(stage.received(), stage.expected)


async def test_packets_that_came_before_the_end_are_heard_however_late_the_loop_is(peer: Peer, opened: Open) -> None:
    stage, endpoint = Stage(peer), await opened()
    endpoint.attach(stage.leg)
    endpoint.update(peer.agreed())
    await stage.play_into_lane(endpoint)
    before = endpoint.stats.received
    for packet in peer.sender.packets(40):
        peer.send(endpoint, packet.data)
        stage.sent.append(packet.data[12:])
    await endpoint.close()  # as for a BYE in the same turn of the loop
    stage.ingest.tick()
    assert stage.leg.stats.packets == before + 40
    assert np.array_equal(stage.received(), stage.expected)


async def test_keys_hold_and_goodbye_leave_the_lane(peer: Peer, opened: Open) -> None:
    stage, endpoint = Stage(peer), await opened()
    events: list[object] = []
    endpoint.attach(stage.leg, events.append, events.append)
    endpoint.update(peer.agreed())
    await stage.play(endpoint, peer.sender.packets(16))
    for packet in press(peer.sender, "7", 3):
        peer.send(endpoint, packet.data)
    await until(lambda: len(events) == 1)
    assert isinstance(events[0], DtmfEvent)
    await stage.play_into_lane(endpoint)
    endpoint.pause()
    frames = stage.leg.intake.stats.frames
    await stage.play(endpoint, peer.sender.packets(4))
    assert not in_lane(endpoint)
    assert stage.leg.intake.stats.frames == frames
    endpoint.resume()
    await stage.play_into_lane(endpoint)
    peer.send(endpoint, encode_compound([Goodbye((7,))]), control=True)
    await until(lambda: len(events) == 2)
    assert not in_lane(endpoint)


async def test_a_lane_ends_where_the_codec_or_the_leg_changes(peer: Peer, opened: Open) -> None:
    stage, endpoint = Stage(peer), await opened()
    endpoint.attach(stage.leg)
    endpoint.update(peer.agreed())
    await stage.play(endpoint, peer.sender.packets(16))
    peer.sender.codec = PCMA
    await stage.play(endpoint, peer.sender.packets(1))
    assert not in_lane(endpoint)
    await stage.play_into_lane(endpoint)
    endpoint.leg_changed()
    assert not in_lane(endpoint)


async def test_a_stream_that_stops_leaves_its_lane_and_becomes_silence(peer: Peer, opened: Open) -> None:
    stage, endpoint = Stage(peer), await opened()
    endpoint.attach(stage.leg)
    endpoint.update(peer.agreed())
    await stage.play_into_lane(endpoint)
    await until(lambda: not in_lane(endpoint))

    def silent() -> bool:
        stage.ingest.tick()
        return stage.leg.intake.media_s > 0.4

    await until(silent)
    assert endpoint.stats.lost == 0


async def test_endpoints_of_two_pipelines_are_both_received(peer: Peer, opened: Open) -> None:
    other = Peer()
    stages = [(Stage(peer), await opened()), (Stage(other), await opened())]
    for stage, endpoint in stages:
        endpoint.attach(stage.leg)
        endpoint.update(stage.peer.agreed())
    for stage, endpoint in stages:
        await stage.play(endpoint, stage.peer.sender.packets(16))
        assert np.array_equal(stage.received(), stage.expected)
    other.close()


async def test_the_last_socket_takes_the_reader_with_it(peer: Peer, opened: Open) -> None:
    loop = asyncio.get_running_loop()
    stage, endpoint = Stage(peer), await opened()
    endpoint.attach(stage.leg)
    endpoint.update(peer.agreed())
    await stage.play(endpoint, peer.sender.packets(16))
    reader = MediaReader.of(loop)
    await endpoint.close()
    assert reader._pacing is None
    assert not reader._listening
    assert reader._epoll.closed
    assert loop not in MediaReader._readers
