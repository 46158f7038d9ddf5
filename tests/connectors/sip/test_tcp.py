"""What is to be sent to peers that have yet to be connected to is bounded, and what is not sent is counted."""

import asyncio

import msgspec

from connectors.sip.config import PeerLimits
from connectors.sip.message.message import SipResponse
from connectors.sip.transaction import Flow
from connectors.sip.transport.peers import AllowList, TransportStats
from connectors.sip.transport.tcp import MAX_WAITING, TcpTransport

LIMITS = msgspec.structs.replace(PeerLimits(), max_connections_per_peer=1)


class Nobody:
    """Receives nothing."""

    def received(self, message: object, flow: Flow, /) -> None:
        raise AssertionError("nobody has sent anything")

    def fault(self, error: Exception, what: str, /) -> None:
        raise error

    def is_busy(self, flow: Flow, /) -> bool:
        return False


def flow(port: int) -> Flow:
    return Flow("TCP", ("127.0.0.1", port), ("127.0.0.1", 5060))


async def test_messages_beyond_the_bounds_are_counted_as_unsent() -> None:
    stats = TransportStats()
    transport = TcpTransport(Nobody(), AllowList(()), stats, LIMITS)
    message = SipResponse(200, "OK")
    for _ in range(MAX_WAITING + 3):
        transport.send(message, flow(1))
    assert stats.unsent == 3
    transport.send(message, flow(2))
    assert stats.unsent == 4
    async with asyncio.timeout(10):
        await transport.close()
    assert stats.sent == 0
