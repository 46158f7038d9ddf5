"""What the microphone page needs to know of the endpoint that it speaks to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Microphone:
    """A WHIP endpoint (RFC 9725) of the same origin. `token`: its bearer token, handed only to pages that may read
    transcripts. `ice_servers`: as `RTCConfiguration.iceServers` of the browser has them."""

    whip_path: str
    token: str | None = field(default=None, repr=False)
    ice_servers: Sequence[Mapping[str, str]] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """The answer of `api/mic`."""
        return {"whip": self.whip_path, "token": self.token, "ice_servers": list(self.ice_servers)}
