"""The recording server's side of SIPREC (RFC 7866): from descriptions and metadata to legs with a participant each.

Sits between the dialogs of the recording client and the call that the pipeline sees. A dialog is a `RecordingSession`;
several that record the same communication session share one `RecordedCall`. No sockets and no clock: what a request
brings goes in, events come out. Memory is bounded by the open dialogs.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.sdp.description import SessionDescription
from connectors.sdp.media_lines import AudioMedia
from connectors.siprec.body import RecordingBody, read_body
from connectors.siprec.events import (
    LegAdded,
    LegRefused,
    LegRemoved,
    LegUpdated,
    MetadataChanged,
    Paused,
    Resumed,
    SiprecEvent,
    Transferred,
)
from connectors.siprec.labels import RecordedLine, join
from connectors.siprec.metadata import RsMetadata, RsParticipant
from connectors.siprec.roles import CallRoles, RoleRule
from pipeline.records import SpeakerRole

__all__ = [
    "LegAdded",
    "LegRefused",
    "LegRemoved",
    "LegUpdated",
    "MetadataChanged",
    "Paused",
    "RecordedCall",
    "RecordedCalls",
    "RecordingBody",
    "RecordingSession",
    "Resumed",
    "RoleRule",
    "SiprecEvent",
    "SiprecStats",
    "Transferred",
    "read_body",
]

MAX_LEGS = 256
"""Legs of one call over its whole life; media lines after that are refused."""

MAX_SESSION_IDS = 64
MAX_NAME = 64


@dataclass(slots=True)
class SiprecStats:
    """Over all calls. `documents` of metadata taken in, `bad_documents` left out; `asked`: for all metadata anew, as
    what came could not be read or referred to nothing. `differences` from RFC 7865 and in the join with the
    description. `duplicate_streams`: recorded by another dialog already. `unmerged`: a dialog turned out to record a
    running call after it had begun as one of its own. `refused_legs`: over the limit."""

    documents: int = 0
    bad_documents: int = 0
    asked: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    duplicate_streams: int = 0
    unmerged: int = 0
    refused_legs: int = 0


@dataclass(slots=True)
class _Leg:
    name: str
    line: RecordedLine
    channel_index: int
    participants: tuple[RsParticipant, ...]
    role: SpeakerRole
    paused: bool = False


class RecordedCall:
    """One call, whatever number of dialogs record it. `key`: its first communication session's identifier, or that of
    the first dialog while no metadata has come."""

    def __init__(self, key: str, rule: RoleRule) -> None:
        self.key = key
        self.roles = CallRoles(rule)
        self.sessions: list[RecordingSession] = []
        self.session_ids: dict[str, None] = {}
        self.departed: dict[SpeakerRole, tuple[RsParticipant, ...]] = {}
        self.legs = 0
        self._names: set[str] = set()

    def new_name(self, line: RecordedLine) -> str:
        """A leg's name: its label where that is free."""
        label = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in (line.label or "")[:MAX_NAME])
        base = name = label or f"stream-{line.index}"
        count = 1
        while name in self._names:
            count += 1
            name = f"{base}-{count}"
        self._names.add(name)
        self.legs += 1
        return name

    def take_back(self, leg: "_Leg") -> None:
        """There is no such leg after all."""
        self._names.discard(leg.name)
        if leg.channel_index == self.legs - 1:
            self.legs -= 1

    def carries(self, stream_id: str | None, other_than: "RecordingSession") -> bool:
        """Whether another dialog records the stream."""
        return stream_id is not None and any(
            session is not other_than and stream_id in session.stream_ids for session in self.sessions
        )


class RecordedCalls:
    """All calls that are being recorded, by the identifiers of their communication sessions. `active`: how many."""

    def __init__(self, rule: RoleRule | None = None) -> None:
        self.stats = SiprecStats()
        self.rule = rule or RoleRule()
        self.active = 0
        self._calls: dict[str, RecordedCall] = {}

    def open(self, dialog_id: str, metadata: RsMetadata | None) -> "RecordingSession":
        """A new dialog: of the running call that its metadata names, or of a new one. Nothing of the metadata is taken
        in before `apply`. `dialog_id`: the call's key where there is no metadata."""
        ids = [session.id for session in metadata.sessions] if metadata else []
        call = next((self._calls[session_id] for session_id in ids if session_id in self._calls), None)
        if call is None:
            call = RecordedCall(next(iter(ids), dialog_id), self.rule)
            self.active += 1
            self.bind(call, ids)
        session = RecordingSession(call, self)
        call.sessions.append(session)
        return session

    def parties(self, metadata: RsMetadata) -> list[RsParticipant]:
        """Who called and who was called, in this order, as far as a document says."""
        return sorted(metadata.participants, key=lambda participant: self.rule.called(participant) is not True)[:2]

    def bind(self, call: RecordedCall, session_ids: Sequence[str]) -> None:
        """The call has these communication sessions, too."""
        for session_id in session_ids:
            owner = self._calls.get(session_id)
            if owner is None and len(call.session_ids) < MAX_SESSION_IDS:
                self._calls[session_id] = call
            elif owner is not None and owner is not call:
                self.stats.unmerged += session_id not in call.session_ids
            if len(call.session_ids) < MAX_SESSION_IDS:
                call.session_ids[session_id] = None

    def forget(self, session: "RecordingSession") -> None:
        """A dialog is over; with the last one, its call is."""
        call = session.call
        call.sessions.remove(session)
        if not call.sessions:
            self.active -= 1
            for session_id in call.session_ids:
                if self._calls.get(session_id) is call:
                    del self._calls[session_id]


class RecordingSession:
    """One dialog of a recording client, made by `RecordedCalls.open`; its `call` may have other dialogs."""

    def __init__(self, call: RecordedCall, calls: RecordedCalls) -> None:
        self.call = call
        self._calls = calls
        self._metadata = RsMetadata(mode_given=False)
        self._media: tuple[tuple[int, AudioMedia], ...] = ()
        self._legs: dict[int, _Leg] = {}
        self._published: Mapping[str, str] = {}
        self._guessed: tuple[str, ...] = ()
        self._doubts: tuple[str, ...] = ()
        self._incomplete = False
        self._closed = False

    @property
    def metadata(self) -> RsMetadata:
        """All that is known, over all updates."""
        return self._metadata

    @property
    def is_incomplete(self) -> bool:
        """The last document was an update that refers to what was never described."""
        return self._incomplete

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it is guessed or not known who speaks on a leg, where metadata have come."""
        return self._doubts

    @property
    def has_legs(self) -> bool:
        """It records something that no other dialog does."""
        return bool(self._legs)

    @property
    def paused(self) -> bool:
        """All legs pause, and there is one."""
        return bool(self._legs) and all(leg.paused for leg in self._legs.values())

    @property
    def stream_ids(self) -> set[str]:
        """The streams that this dialog records, as far as metadata has named them."""
        return {leg.line.stream_id for leg in self._legs.values() if leg.line.stream_id is not None}

    def apply(
        self,
        sdp: SessionDescription | None,
        metadata: RsMetadata | None,
        *,
        accepted: Collection[int] | None = None,
    ) -> list[SiprecEvent]:
        """Take in what a request brought: the client's description, its metadata, or one of them.

        `accepted`: places of the media lines that we take; None means all that are in use. Description and metadata
        both None: streams are looked at anew, for one that another dialog of the call has given up.
        """
        if self._closed:
            return []
        if metadata is not None:
            self._learn(metadata)
        if sdp is not None:
            self._media = tuple(sdp.audio)
        media = [item for item in self._media if accepted is None or item[0] in accepted]
        joined = join(media, self._metadata)
        if metadata is not None:
            self._calls.stats.differences.update(joined.differences)
        lines = {line.index: line for line in joined.lines}
        self._guessed, self._doubts = joined.guessed, joined.doubts
        events: list[SiprecEvent] = []
        for index, leg in list(self._legs.items()):
            if index not in lines or lines[index].label != leg.line.label:
                events.append(self._remove(index))
        for line in lines.values():
            known = self._legs.get(line.index)
            events += self._add(line) if known is None else self._update(known, line)
        published = self._call_metadata()
        if published != self._published:
            self._published = published
            events.append(MetadataChanged(published))
        return events

    def refuse_leg(self, leg: str) -> None:
        """A leg that was added could not be opened. It is added again as soon as anything changes."""
        for index, known in list(self._legs.items()):
            if known.name == leg:
                self.call.take_back(self._legs.pop(index))

    def close(self) -> list[SiprecEvent]:
        """The dialog is over: its legs go. The call is over where `call.sessions` is empty then."""
        if self._closed:
            return []
        events: list[SiprecEvent] = [self._remove(index) for index in list(self._legs)]
        self._closed = True
        self._calls.forget(self)
        return events

    def _learn(self, metadata: RsMetadata) -> None:
        stats = self._calls.stats
        stats.documents += 1
        stats.differences.update({difference.value: count for difference, count in metadata.differences.items()})
        self._metadata = merged = self._metadata.merged(metadata)
        self._incomplete = merged is not metadata and merged.dangling > 0
        self._calls.bind(self.call, [session.id for session in self._metadata.sessions])
        self.call.roles.learn(self._metadata.participants)

    def _add(self, line: RecordedLine) -> list[SiprecEvent]:
        call, stats = self.call, self._calls.stats
        if call.carries(line.stream_id, self):
            stats.duplicate_streams += 1
            return []
        if call.legs >= MAX_LEGS:
            stats.refused_legs += 1
            return [LegRefused(line.label, line.index)]
        channel_index, name = call.legs, call.new_name(line)
        leg = _Leg(name, line, channel_index, line.participants, call.roles.of(line.participants))
        self._legs[line.index] = leg
        events: list[SiprecEvent] = [LegAdded(name, line.label, line.index, channel_index, leg.participants, leg.role)]
        previous = call.departed.pop(leg.role, ()) if leg.participants else ()
        if _replaced(previous, leg.participants):
            events.append(Transferred(name, line.label, previous, leg.participants, leg.role))
        return events + self._pause(leg, line)

    def _update(self, leg: _Leg, line: RecordedLine) -> list[SiprecEvent]:
        before, participants = (leg.participants, leg.role), line.participants or leg.participants
        role = self.call.roles.of(participants)
        leg.line, leg.participants, leg.role = line, participants, role
        events = self._pause(leg, line)
        if (participants, role) == before:
            return events
        if _replaced(before[0], participants):
            return [Transferred(leg.name, line.label, before[0], participants, role), *events]
        return [LegUpdated(leg.name, line.label, participants, role), *events]

    def _pause(self, leg: _Leg, line: RecordedLine) -> list[SiprecEvent]:
        """A client that sends nothing pauses; its address does not matter, as nothing is sent there."""
        paused = not line.sends
        if paused == leg.paused:
            return []
        leg.paused = paused
        return [Paused(leg.name, line.label) if paused else Resumed(leg.name, line.label)]

    def _remove(self, index: int) -> LegRemoved:
        leg = self._legs.pop(index)
        if leg.participants:
            self.call.departed[leg.role] = leg.participants
        return LegRemoved(leg.name, leg.line.label)

    def _call_metadata(self) -> dict[str, str]:
        known = self._metadata
        items = dict(known.extensions)
        for session in reversed(known.sessions):
            items |= session.extensions
        for name, values in (
            ("session_id", [session.id for session in known.sessions]),
            ("group_id", known.groups),
            ("sip_session_id", [text for session in known.sessions for text in session.sip_session_ids]),
        ):
            if values:
                items[name] = values[0]
        if self._guessed:
            items["speakers"] = f"by order: {', '.join(self._guessed)}"
        return {f"siprec.{name}": value for name, value in items.items()}


def _replaced(old: Sequence[RsParticipant], new: Sequence[RsParticipant]) -> bool:
    """Somebody went and somebody else came. One with a new identifier and the old address is the same person."""
    gone = [participant for participant in old if participant.id not in {other.id for other in new}]
    come = [participant for participant in new if participant.id not in {other.id for other in old}]
    came = {participant.aor.lower() for participant in come if participant.aor}
    left = {participant.aor.lower() for participant in gone if participant.aor}
    return any(participant.aor.lower() not in came for participant in gone) and any(
        participant.aor.lower() not in left for participant in come
    )
