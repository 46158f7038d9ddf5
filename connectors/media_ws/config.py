"""Configuration of the WebSocket media connectors: section `[twilio]` of the configuration file."""

from urllib.parse import urlsplit

import msgspec

from connectors.calls import Role
from pipeline.credentials import check_credentials, masked


class Roles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who speaks on which track. The defaults fit a number that customers call: the caller comes in, the agent they
    are put through to goes out. Turn them round for calls that agents place."""

    inbound: Role = "customer"
    outbound: Role = "agent"


class MediaLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one peer may do.

    `max_message_bytes` holds at the socket, `max_payload_bytes` for the decoded audio of one message. `max_parameters`,
    `max_parameter_chars` (name and value together, 500 at Twilio): custom parameters of a stream. `max_malformed`:
    messages counted and ignored before the stream is closed. `reorder_window_ms`: how long a missing message is waited
    for. `max_pending`: sockets that have not started a stream. `start_timeout_s`: until they have to.
    `idle_timeout_s`: without any message on a running stream. `heartbeat_s`: ping when nothing comes, to find dead
    peers.
    """

    max_message_bytes: int = 1 << 20
    max_payload_bytes: int = 8000
    max_parameters: int = 32
    max_parameter_chars: int = 500
    max_malformed: int = 100
    reorder_window_ms: int = 60
    max_pending: int = 128
    start_timeout_s: float = 10.0
    idle_timeout_s: float = 600.0
    heartbeat_s: float = 30.0
    close_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0")


class TwilioConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Twilio Media Streams.

    `path`: of the WebSocket endpoint. `auth_token`: with it every upgrade must bear Twilio's signature; without it none
    is checked. `account_sid`: streams of other accounts are refused. `public_url`: the URL in the `<Stream>`, where
    a proxy hides it from this server (`wss://calls.example.com/twilio`). `origins`: web pages that may stream without a
    signature, such as `https://desk.example.com`, or `*`; others are refused.
    """

    path: str = "/twilio"
    auth_token: str | None = None
    account_sid: str | None = None
    public_url: str | None = None
    origins: tuple[str, ...] = ()
    roles: Roles = Roles()
    limits: MediaLimits = MediaLimits()

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError("path must begin with /")
        check_credentials(self, "auth_token", "account_sid")
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            if parts.scheme not in ("wss", "https") or not parts.netloc or parts.query or parts.fragment:
                raise ValueError("public_url must be like wss://calls.example.com/twilio, without a query")

    def __repr__(self) -> str:
        token = masked(self.auth_token)
        return f"TwilioConfig(path={self.path!r}, auth_token={token!r}, public_url={self.public_url!r})"
