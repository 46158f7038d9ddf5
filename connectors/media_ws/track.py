"""The tracks of a media stream."""

from enum import StrEnum


class Track(StrEnum):
    """Direction as the carrier sees it: `inbound` comes from the party that is connected to the carrier's call leg."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
