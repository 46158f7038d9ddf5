"""A connector as the server runs it: what SIP, WebRTC and the media WebSockets have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from connectors.stats import ConnectorStats
from supervision import Supervisor

if TYPE_CHECKING:
    from connectors.sip.stats import SipStats


class Connector(Protocol):
    """A way for calls to come in, made from its section of the configuration. In this order: `routes`, `start`,
    `drain`, `close`."""

    @property
    def stats(self) -> "ConnectorStats | SipStats":
        """Read by whoever exports them."""
        ...

    @property
    def supervisor(self) -> Supervisor:
        """Of its background work."""
        ...

    def routes(self) -> Sequence[web.RouteDef]:
        """What it serves on the server's HTTP port; none where it has sockets of its own."""
        ...

    async def start(self) -> None:
        """Take calls from now on. Raises a `ConnectorError` where it cannot be had as it is configured."""

    def drain(self) -> None:
        """Take no new calls where peers can be sent elsewhere for them; those that run go on."""

    def reload(self) -> list[str]:
        """Read again what may have changed on disk. Returns what was done, or could not be, in a line each."""
        ...

    async def close(self) -> None:
        """Take nothing more, end what still runs, and wait until its calls have ended."""
