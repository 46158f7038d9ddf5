"""SIP dialogs (RFC 3261, section 12), as the party that was called sees them."""

from dataclasses import dataclass
from ipaddress import ip_address

from connectors.sip.message.envelope import Envelope
from connectors.sip.message.headers import RouteSet
from connectors.sip.message.leniency import read_addresses
from connectors.sip.message.message import Headers, SipRequest
from connectors.sip.message.uri import SipUri, Uri
from connectors.sip.transaction import Flow


@dataclass(slots=True)
class Dialog:
    """`local`, `remote`: the To and From of the INVITE, with their tags. `local_seq`, `remote_seq`: the CSeq numbers
    last used. `flow`: where the peer's last request came from. `natted`: its Via names another address than it came
    from, so its Contact cannot be believed either."""

    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    remote: str
    remote_seq: int
    remote_target: Uri
    routes: RouteSet
    flow: Flow
    natted: bool
    local_seq: int = 0
    confirmed: bool = False

    @classmethod
    def from_invite(cls, request: SipRequest, envelope: Envelope, local_tag: str, flow: Flow) -> "Dialog":
        """Section 12.1.1. Raises `SipParseError`: no Contact, or a broken Record-Route."""
        to = request.to
        via_host = envelope.via.host.strip("[]").lower()
        return cls(
            call_id=envelope.call_id,
            local_tag=local_tag,
            remote_tag=envelope.from_tag or "",
            local=str(to.with_tag(local_tag)),
            remote=str(request.from_),
            remote_seq=envelope.cseq,
            remote_target=request.contacts[0].uri,
            routes=RouteSet(read_addresses(request.headers.get_all("Record-Route"), "Record-Route")[0]),
            flow=flow,
            natted=_is_address(via_host) and via_host != flow.remote[0].lower(),
        )

    @property
    def id(self) -> tuple[str, str, str]:
        return (self.call_id, self.local_tag, self.remote_tag)

    def advance(self, cseq: int) -> bool:
        """Whether a request's number is in order (12.2.2): it may skip, and never fall back."""
        if cseq <= self.remote_seq:
            return False
        self.remote_seq = cseq
        return True

    def refresh_target(self, request: SipRequest, flow: Flow) -> None:
        """The Contact of a re-INVITE or UPDATE is where our requests go from now on (12.2.2)."""
        self.flow = flow
        contacts = request.contacts
        if contacts:
            self.remote_target = contacts[0].uri

    def request(self, method: str, branch: str, *, cseq: int | None = None) -> tuple[SipRequest, Flow]:
        """A request in this dialog (12.2.1.1) without Contact and body, and where it is to be sent. `cseq`: of an
        ACK, which has the number of its INVITE."""
        if cseq is None:
            self.local_seq += 1
            cseq = self.local_seq
        uri, routes = self.routes.target(self.remote_target)
        flow = self._next_hop()
        host, port = flow.local
        headers = Headers()
        headers.add("Via", f"SIP/2.0/{flow.transport} {bracketed(host)}:{port};branch={branch};rport")
        headers.add("Max-Forwards", "70")
        for route in routes:
            headers.add("Route", route)
        headers.add("From", self.local)
        headers.add("To", self.remote)
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{cseq} {method}")
        return SipRequest(method, uri, headers), flow

    def _next_hop(self) -> Flow:
        """The first route or the target where that is an address; names are not looked up here: the peer is where
        its last request came from. A connection is kept as long as it lasts."""
        hop: object = self.routes.routes[0].uri if self.routes.routes else self.remote_target
        if not isinstance(hop, SipUri) or (self.natted and not self.routes.routes):
            return self.flow
        host, port = hop.address
        return self.flow._replace(remote=(host, port)) if _is_address(host) else self.flow


def bracketed(host: str) -> str:
    """An IPv6 address as it stands in a Via or URI."""
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
