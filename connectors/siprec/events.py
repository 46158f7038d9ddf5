"""What the recording of a call reports to its connector, in the order in which it is to be done."""

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.siprec.metadata import RsParticipant
from pipeline.records import SpeakerRole


@dataclass(frozen=True, slots=True)
class LegAdded:
    """A stream to record. `leg`: its name, used once in a call; `index`: place of its media line in the description of
    this dialog. `participants`: whose voice it carries, several for a mixed stream, none while it is not known."""

    leg: str
    label: str | None
    index: int
    channel_index: int
    participants: tuple[RsParticipant, ...]
    role: SpeakerRole

    @property
    def participant(self) -> RsParticipant | None:
        return self.participants[0] if self.participants else None


@dataclass(frozen=True, slots=True)
class LegUpdated:
    """More or other is known of who speaks on a leg, and nobody has taken another's place."""

    leg: str
    label: str | None
    participants: tuple[RsParticipant, ...]
    role: SpeakerRole


@dataclass(frozen=True, slots=True)
class LegRemoved:
    leg: str
    label: str | None


@dataclass(frozen=True, slots=True)
class LegRefused:
    """The line is not recorded: the call has had as many legs as a call may have."""

    label: str | None
    index: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The recording of a leg pauses (RFC 7866, section 7.1): nothing is sent on it."""

    leg: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Resumed:
    leg: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Transferred:
    """Another participant speaks: on the same leg, or on a new one after the leg of `previous` went."""

    leg: str
    label: str | None
    previous: tuple[RsParticipant, ...]
    participants: tuple[RsParticipant, ...]
    role: SpeakerRole


@dataclass(frozen=True, slots=True)
class MetadataChanged:
    """All that is to stand in the call's metadata, `siprec.` before each name."""

    metadata: Mapping[str, str]


SiprecEvent = LegAdded | LegUpdated | LegRemoved | LegRefused | Paused | Resumed | Transferred | MetadataChanged
