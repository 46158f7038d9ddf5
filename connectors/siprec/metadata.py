"""What recording metadata says (RFC 7865): the objects of a recorded call, and how an update changes them.

Read by `connectors.siprec.metadata_xml`, kept by `connectors.siprec.recording_session`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar
from urllib.parse import unquote

from connectors.telephone import plain_number

MAX_OBJECTS = 64
"""Objects of one kind that are kept, in a document and over all updates: the newest ones."""

_SCHEMES = frozenset({"sip", "sips", "tel"})

MAX_REFERENCES = 16
"""Streams that one association names, identifiers of one session."""

MAX_EXTENSIONS = 16
MAX_TEXT = 256


class Difference(StrEnum):
    """What a peer does otherwise than RFC 7865 says, and we take."""

    NO_NAMESPACE = "no namespace"
    OTHER_NAMESPACE = "other namespace"
    NO_DATA_MODE = "no dataMode"
    ELEMENT_ORDER = "element order"
    NAME_CASE = "element name in other case"
    DRAFT_ATTRIBUTES = "attribute names of a draft"
    DRAFT_ASSOCIATION = "streams named in the participant"
    NO_GROUP = "no group"
    NO_IDENTIFIER = "no identifier"
    UPPER_CASE_UUID = "upper-case UUID"
    DUPLICATE = "two objects of one identifier"
    DANGLING = "reference to nothing"
    TOO_MANY = "too many objects"
    WRAPPED = "objects in an element of their own"
    NESTED_REFERENCE = "stream named in an element or attribute of its own"
    BARE_AMPERSAND = "ampersand that is not escaped"
    NAME_OUTSIDE = "name or address outside of nameID"


@dataclass(frozen=True, slots=True)
class RsSession:
    """A communication session: one recorded call, or one part of it. `extensions`: elements that RFC 7865 does not
    know, by name."""

    id: str
    group_id: str | None = None
    sip_session_ids: tuple[str, ...] = ()
    start_time: str | None = None
    stop_time: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class RsParticipant:
    id: str
    aor: str = ""
    name: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def number(self) -> str:
        """The user part of a sip: URI or the number of a tel: URI, without parameters, and visual separators of a
        telephone number; '' where there is none."""
        address = address_of(self.aor)
        scheme, colon, rest = address.partition(":")
        scheme, rest = (scheme.lower(), rest) if colon and scheme.lower() in _SCHEMES else ("", address)
        user, at, _ = rest.rpartition("@")
        if scheme == "tel" or not (scheme or at):
            number = rest.split(";")[0]
            digits = "".join(sign for sign in number if sign not in "-.() ")
            # Without a scheme it is a number only where it looks like one.
            return digits if scheme or not digits.strip("+*#0123456789") else ""
        is_phone = "user=phone" in rest.rpartition("@")[2].lower().split(";")
        return plain_number(unquote(user.split(";")[0].split(":")[0]).strip(), is_phone=is_phone)


def address_of(text: str) -> str:
    """The URI of an address with or without a display name (RFC 3261, section 25.1: name-addr or addr-spec)."""
    _, bracket, rest = text.partition("<")
    return rest.partition(">")[0].strip() if bracket else text.strip().strip("<>")


@dataclass(frozen=True, slots=True)
class RsStream:
    """`label`: that of the media line which carries it (RFC 4574)."""

    id: str
    session_id: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class StreamAssociation:
    """Who sends and receives which streams. `ended`: a disassociate-time is given."""

    participant_id: str
    send: tuple[str, ...] = ()
    receive: tuple[str, ...] = ()
    ended: bool = False

    @property
    def id(self) -> str:
        return self.participant_id


@dataclass(frozen=True, slots=True)
class SessionAssociation:
    """A participant's part in a session."""

    participant_id: str
    session_id: str
    ended: bool = False

    @property
    def id(self) -> tuple[str, str]:
        return self.participant_id, self.session_id


RsObject = TypeVar("RsObject", RsSession, RsParticipant, RsStream, StreamAssociation, SessionAssociation)


@dataclass(frozen=True, slots=True)
class RsMetadata:
    """One document, or all that is known after several: `merged`. `complete`: it replaces what was known before.
    `mode_given`: it says so itself. Objects are in the order in which they were first seen."""

    complete: bool = True
    mode_given: bool = True
    groups: tuple[str, ...] = ()
    sessions: tuple[RsSession, ...] = ()
    participants: tuple[RsParticipant, ...] = ()
    streams: tuple[RsStream, ...] = ()
    stream_associations: tuple[StreamAssociation, ...] = ()
    session_associations: tuple[SessionAssociation, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict, hash=False)
    differences: Mapping[Difference, int] = field(default_factory=dict, compare=False)

    def merged(self, update: "RsMetadata") -> "RsMetadata":
        """What is known after an update (RFC 7865, section 6.1): an object of a partial one replaces that of its
        identifier. One that does not say what it is, and lacks streams or participants, is taken as partial."""
        if update.complete and (update.mode_given or (update.streams and update.participants)):
            return update
        return replace(
            update,
            complete=True,
            groups=tuple(dict.fromkeys((*self.groups, *update.groups)))[-MAX_OBJECTS:],
            sessions=_updated(self.sessions, update.sessions),
            participants=_updated(self.participants, update.participants),
            streams=_updated(self.streams, update.streams),
            stream_associations=_updated(self.stream_associations, update.stream_associations),
            session_associations=_updated(self.session_associations, update.session_associations),
            extensions=dict(list({**self.extensions, **update.extensions}.items())[-MAX_EXTENSIONS:]),
        )

    @property
    def dangling(self) -> int:
        """References to objects that are not there."""
        streams = {stream.id for stream in self.streams}
        participants = {participant.id for participant in self.participants}
        sessions = {session.id for session in self.sessions}
        missing = 0
        for association in self.stream_associations:
            missing += sum(stream_id not in streams for stream_id in (*association.send, *association.receive))
            missing += association.participant_id not in participants
        for link in self.session_associations:
            missing += (link.participant_id not in participants) + (link.session_id not in sessions)
        return missing

    def senders(self) -> dict[str, list[str]]:
        """Identifiers of the streams, each with those of the participants whose voice it carries."""
        found: dict[str, list[str]] = {}
        for association in self.stream_associations:
            for stream_id in () if association.ended else association.send:
                found.setdefault(stream_id, []).append(association.participant_id)
        return found

    def receivers(self, stream_id: str) -> list[str]:
        """Identifiers of the participants that receive the stream."""
        return [one.participant_id for one in self.stream_associations if not one.ended and stream_id in one.receive]


def _updated(known: tuple[RsObject, ...], update: tuple[RsObject, ...]) -> tuple[RsObject, ...]:
    items = {item.id: item for item in known}
    items |= {item.id: item for item in update}
    return tuple(items.values())[-MAX_OBJECTS:]
