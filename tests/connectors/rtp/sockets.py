"""Endpoints and their peers on loopback sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from connectors.rtp import PortPool, RtpConfig, RtpEndpoint
from connectors.sdp.media_lines import AudioMedia, Direction
from connectors.sdp.offer_answer import Negotiated
from connectors.sdp.rtp_codec import RtpCodec
from tests.connectors.rtp.network import CODECS, EVENTS, PCMU, Sender

HOST = "127.0.0.1"


CONFIG = RtpConfig(report_s=0.1, inactivity_s=0.25)


class Peer:
    """Two sockets of another party."""

    def __init__(self) -> None:
        self.rtp, self.rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.rtp, self.rtcp):
            sock.bind((HOST, 0))
            sock.setblocking(False)
        self.port: int = self.rtp.getsockname()[1]
        self.rtcp_port: int = self.rtcp.getsockname()[1]
        self.sender = Sender()

    def agreed(self, *, mux: bool = False, port: int | None = None, codec: RtpCodec = PCMU) -> Negotiated:
        remote = AudioMedia(HOST, port or self.port, codecs=CODECS, rtcp_port=self.rtcp_port, rtcp_mux=mux)
        return Negotiated(0, remote, remote, codec, CODECS, EVENTS, Direction.SENDRECV, None, None, 20)

    def send(self, endpoint: RtpEndpoint, data: bytes, *, control: bool = False) -> None:
        sock, port = (self.rtcp, endpoint.port + 1) if control else (self.rtp, endpoint.port)
        sock.sendto(data, (HOST, port))

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def ports() -> PortPool:
    return PortPool(41_000, 41_999)


Open = Callable[..., Awaitable[RtpEndpoint]]


@pytest.fixture
async def opened(ports: PortPool) -> AsyncIterator[Open]:
    endpoints: list[RtpEndpoint] = []

    async def make(**options: object) -> RtpEndpoint:
        endpoints.append(await RtpEndpoint.open(HOST, ports, CONFIG, **options))  # type: ignore[arg-type]
        return endpoints[-1]

    yield make
    for endpoint in endpoints:
        await endpoint.close()
    assert ports.taken == 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is that of code under test
            await asyncio.sleep(0.005)
