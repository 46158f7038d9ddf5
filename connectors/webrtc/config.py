"""Configuration of WebRTC: section `[webrtc]` of the configuration file. Knows nothing of the library behind it."""

from typing import Annotated, Literal

import msgspec

from connectors.calls import Role
from pipeline.credentials import check_credentials, masked

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class IceServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A STUN or TURN server (RFC 7064, RFC 7065), for this server's own candidates and for its peers."""

    url: Annotated[str, msgspec.Meta(pattern="^(stun|stuns|turn|turns):[^\\s<>]+$")]
    username: str | None = None
    credential: str | None = None

    def __post_init__(self) -> None:
        check_credentials(self, "username", "credential", spaces=True)

    def __repr__(self) -> str:
        return f"IceServer({self.url!r})"


class WebRtcLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What peers may do. `max_tracks`: audio tracks of one session. `setup_timeout_s`: from the answer to the first
    audio. `idle_timeout_s`: without audio afterwards. `max_parameters`, `max_parameter_chars`: of the URL."""

    max_sessions: Count = 200
    max_tracks: Annotated[int, msgspec.Meta(ge=1, le=16)] = 4
    max_body_bytes: Count = 65_536
    max_parameters: Count = 32
    max_parameter_chars: Count = 500
    max_candidates: Count = 100
    setup_timeout_s: Seconds = 20.0
    idle_timeout_s: Seconds = 60.0
    body_timeout_s: Seconds = 10.0
    retry_after_s: Count = 5


class WebRtcConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """WebRTC by WHIP.

    `path`: of the endpoint. `token`: the bearer token that every request needs; without it none does. `role`: who
    speaks on a track whose URL does not say. `codecs`: what is accepted. `origins`: web pages of other sites that may
    use the endpoint, such as `https://desk.example.com`, or `*`.
    """

    path: str = "/whip"
    token: str | None = None
    role: Role = "agent"
    codecs: tuple[Literal["OPUS", "PCMU", "PCMA", "G722"], ...] = ("OPUS", "PCMU")
    ice_servers: tuple[IceServer, ...] = ()
    origins: tuple[str, ...] = ()
    limits: WebRtcLimits = WebRtcLimits()

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or self.path.endswith("/") or "{" in self.path:
            raise ValueError("path must be like /whip")
        check_credentials(self, "token")
        if not self.codecs:
            raise ValueError("codecs must name at least one")

    def __repr__(self) -> str:
        return f"WebRtcConfig(path={self.path!r}, token={masked(self.token)!r}, codecs={self.codecs!r})"
