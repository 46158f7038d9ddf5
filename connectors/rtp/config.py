"""Configuration of RTP: section `[sip.rtp]` of the configuration file."""

from typing import Annotated

import msgspec

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class RtpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`first_port`, `last_port`: UDP ports for media, two for each leg. `symmetric`: a peer may send from another
    address than its session description says, as it does behind NAT. `report_s`: between two receiver reports.
    `inactivity_s`: a leg without RTP and RTCP for so long, and not on hold, is given up."""

    first_port: Port = 20_000
    last_port: Port = 29_999
    symmetric: bool = True
    report_s: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 5.0
    inactivity_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0

    def __post_init__(self) -> None:
        if self.last_port <= self.first_port:
            raise ValueError("last_port must be greater than first_port")
