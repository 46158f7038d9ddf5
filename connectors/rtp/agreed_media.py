"""What a media line's offer and answer mean for its packets: where they go, and under which keys."""

import ipaddress
from dataclasses import dataclass

from connectors.rtp.latching import Address
from connectors.rtp.srtp import SrtpReceiver, SrtpSender
from connectors.sdp.offer_answer import Negotiated
from connectors.sdp.sdes import Crypto


@dataclass(slots=True)
class SrtpContexts:
    """The SRTP contexts of a leg. They outlive a new agreement on the same keys, as their packet counts must
    (RFC 4568, section 7.1.4)."""

    receiver: SrtpReceiver | None = None
    sender: SrtpSender | None = None
    _remote: Crypto | None = None
    _local: Crypto | None = None

    def update(self, remote: Crypto | None, local: Crypto | None) -> None:
        """Raises `UnsupportedSuite`."""
        if remote != self._remote:
            self.receiver = None if remote is None else SrtpReceiver(remote)
            self._remote = remote
        if local != self._local:
            self.sender = None if local is None else SrtpSender(local)
            self._local = local


@dataclass(frozen=True, slots=True)
class AgreedMedia:
    """A media line as it was agreed, and the SRTP contexts for it."""

    negotiated: Negotiated
    srtp: SrtpContexts

    @property
    def listens(self) -> bool:
        """Whether the peer takes what we send; it does not on hold (RFC 3264, section 8.4)."""
        remote = self.negotiated.remote
        return self.negotiated.direction.sends and remote.port > 0 and not remote.null_address

    @property
    def rtp_address(self) -> Address | None:
        """Where the peer listens by its description; None where that says nothing of use."""
        remote = self.negotiated.remote
        if remote.address is None or not remote.port or remote.null_address:
            return None
        try:
            return str(ipaddress.ip_address(remote.address)), remote.port
        except ValueError:  # a name: the source of its packets is its address
            return None

    def rtcp_address(self, peer: Address | None) -> Address | None:
        """Where reports go. `peer`: where packets come from; behind NAT the RTCP port is taken to be next to that."""
        signalled = self.rtp_address
        if peer is not None and peer[:2] != signalled:
            return peer if self.negotiated.rtcp_mux else (peer[0], min(peer[1] + 1, 65_535))
        if signalled is None:
            return None
        return self.negotiated.remote.rtcp_address or signalled[0], self.negotiated.remote_rtcp_port
