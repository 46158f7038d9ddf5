"""Configuration of the SIP and SIPREC server: section `[sip]` of the configuration file. With it, the server runs."""

from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

import msgspec

from connectors.calls import Role
from connectors.rtp.config import RtpConfig
from connectors.sdp.capabilities import SrtpPolicy
from connectors.siprec.roles import RoleRule
from pipeline.credentials import check_credentials

CodecName = Literal["PCMU", "PCMA", "G722", "OPUS", "L16"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
METADATA_HEADERS = ("User-to-User", "P-Asserted-Identity", "Diversion", "X-*")


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user that may call, by digest authentication."""

    username: str
    password: str

    def __post_init__(self) -> None:
        check_credentials(self, "username", "password", spaces=True)

    def __repr__(self) -> str:
        return f"Credential(username={self.username!r}, password='***')"


class PeerLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What peers may do; a peer is an IP address.

    `max_calls`, `max_calls_per_peer`: dialogs. `max_transactions`, `max_transactions_per_peer`: each is kept for 32 s
    after its answer. `max_connections`, `max_connections_per_peer`: of TCP and TLS together. `idle_connection_s`:
    without a message and without a call. `first_message_s`: from the beginning of a connection. `message_s`: from its
    first octet to its last.
    """

    max_calls: Count = 5_000
    max_calls_per_peer: Count = 5_000
    max_transactions: Count = 50_000
    max_transactions_per_peer: Count = 50_000
    max_connections: Count = 1_000
    max_connections_per_peer: Count = 100
    idle_connection_s: Seconds = 900.0
    first_message_s: Seconds = 60.0
    message_s: Seconds = 10.0


class SipConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`udp`, `tcp`, `tls`: addresses to listen on (`host` or `host:port`); TLS needs `tls_cert` and `tls_key`, and with
    `tls_client_ca` asks peers for a certificate. `advertised_address`: where peers reach this server and its RTP, when
    it is not the address of the interface. `rtp`: ports and timeouts of the media.

    `codecs`: in order of preference. `role`: of the caller's audio; `recording_roles`: who of a recorded call is the
    agent (SIPREC). `credentials`: with them INVITEs are challenged, by each of `digest_algorithms` in this order:
    `["MD5"]` for peers that read the first challenge only. `allow`: networks that may call, such as `192.0.2.0/24`;
    empty: everybody. `metadata_headers`: copied into the metadata of the call, `*` stands for anything. `refer`: 603
    declines transfers, 405 says that there are none. `ring`: send 180 before the 200. `session_expires_s`: of the
    session timer where the peer can have one and names none, 0 for none; `min_se_s`: shorter ones are refused.
    `retry_after_s`: with every 503. `srtp`: `optional` takes what is offered, `required` nothing else.
    """

    udp: str | None = "0.0.0.0:5060"
    tcp: str | None = "0.0.0.0:5060"
    tls: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    advertised_address: str | None = None
    rtp: RtpConfig = RtpConfig()
    codecs: tuple[CodecName, ...] = ("PCMU", "PCMA", "G722", "OPUS", "L16")
    role: Role = "customer"
    recording_roles: RoleRule = RoleRule()
    realm: str = "trunkline"
    credentials: tuple[Credential, ...] = ()
    digest_algorithms: tuple[Literal["SHA-256", "MD5"], ...] = ("SHA-256", "MD5")
    allow: tuple[str, ...] = ()
    metadata_headers: tuple[str, ...] = METADATA_HEADERS
    refer: Literal[405, 603] = 603
    ring: bool = False
    session_expires_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 1800
    min_se_s: Annotated[int, msgspec.Meta(ge=90, le=86_400)] = 90
    retry_after_s: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 5
    srtp: SrtpPolicy = SrtpPolicy.OPTIONAL
    server_name: str = "trunkline"
    limits: PeerLimits = PeerLimits()

    def __post_init__(self) -> None:
        if self.udp is None and self.tcp is None and self.tls is None:
            raise ValueError("give at least one of udp, tcp and tls")
        for name in DEFAULT_PORTS:
            if (value := getattr(self, name)) is not None:
                parse_listen(name, value)
        check_credentials(self, "tls_cert", "tls_key", "tls_client_ca", spaces=True)
        if self.tls is not None and (self.tls_cert is None or self.tls_key is None):
            raise ValueError("tls needs tls_cert and tls_key")
        if not self.codecs:
            raise ValueError("codecs is empty")
        if self.advertised_address is not None:
            _check_address("advertised_address", self.advertised_address)
        for network in self.allow:
            try:
                ip_network(network)
            except ValueError as exc:
                raise ValueError(f"allow: {exc}") from exc
        if not self.digest_algorithms:
            raise ValueError("digest_algorithms is empty")
        if len({one.username for one in self.credentials}) != len(self.credentials):
            raise ValueError("credentials: a username stands there twice")


def parse_listen(name: str, value: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5060`, `[2001:db8::1]:5060` -> host and port. Raises `ValueError`."""
    host, colon, port = value.rpartition(":")
    if not colon or value.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = value, str(DEFAULT_PORTS[name])
    host = host.strip("[]")
    _check_address(name, host)
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{name} = {value!r}: use host:port")
    return host, int(port)


def _check_address(name: str, host: str) -> None:
    try:
        ip_address(host)
    except ValueError as exc:
        raise ValueError(f"{name}: {host!r} is not an IP address") from exc
