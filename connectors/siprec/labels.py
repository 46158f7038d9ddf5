"""Media lines joined to participants: the line's label names a stream (RFC 4574), and the metadata who sends it.

Sits below `connectors.siprec.recording_session`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.sdp.media_lines import AudioMedia
from connectors.siprec.metadata import RsMetadata, RsParticipant, RsStream

UNLABELLED = "stream or media line without a label"
UNNAMED = "media line that no stream names"
UNASSOCIATED = "streams that no participant sends"
AMBIGUOUS = "label of several streams with different senders"
BY_RECEIVER = "sender told only by who receives the stream"

GUESSES = (UNLABELLED, UNASSOCIATED)
"""Differences that leave who speaks on a line to the order of lines, streams and participants: to be reported."""


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """A media line of a recording. `participants`: who speaks on it, none where it is not known."""

    index: int
    label: str | None
    stream_id: str | None
    sends: bool
    participants: tuple[RsParticipant, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """`guessed`: of `GUESSES`, what the lines' participants rest on. `doubts`: why it is guessed or not known who
    speaks on a line."""

    lines: tuple[RecordedLine, ...]
    differences: Counter[str]
    doubts: tuple[str, ...] = ()

    @property
    def guessed(self) -> tuple[str, ...]:
        return tuple(kind for kind in GUESSES if self.differences[kind] and any(one.participants for one in self.lines))


def join(media: Sequence[tuple[int, AudioMedia]], metadata: RsMetadata) -> Joined:
    """One `RecordedLine` for each media line. Where labels are missing, streams and lines are taken in their order;
    where no stream has a sender, participants are, if there are as many as lines."""
    differences: Counter[str] = Counter()
    streams: dict[int, RsStream] = {}
    present = _present(metadata)
    senders = _senders(metadata, present, differences)
    unsure: set[int] = set()
    for index, line in media:
        named = [stream for stream in metadata.streams if line.label is not None and _same(stream.label, line.label)]
        if named:
            # An update may leave the former stream of a label behind: the one that somebody there sends counts.
            streams[index] = max(named, key=lambda stream: (stream.id in senders, _anybody(stream, senders, present)))
        if len({frozenset(senders[one.id]) for one in named if _anybody(one, senders, present)}) > 1:
            differences[AMBIGUOUS] += 1
            unsure.add(index)
    taken = {stream.id for stream in streams.values()}
    unclaimed = [stream for stream in metadata.streams if stream.id not in taken]
    for index, line in media:
        stream = next((item for item in unclaimed if item.label is None or line.label is None), None)
        if index not in streams and stream is not None:
            differences[UNLABELLED] += 1
            unclaimed.remove(stream)
            streams[index] = stream
    if metadata.streams:
        differences[UNNAMED] += sum(index not in streams for index, _ in media)
    speakers = _speakers(media, streams, present, senders, differences)
    speakers |= dict.fromkeys(unsure, ())
    lines = tuple(
        RecordedLine(
            index, line.label, streams[index].id if index in streams else None, line.direction.sends, speakers[index]
        )
        for index, line in media
    )
    doubts = {kind for kind in (*GUESSES, UNNAMED, AMBIGUOUS) if differences[kind]}
    if media and present and not senders:
        doubts.add(UNASSOCIATED)
    return Joined(lines, +differences, tuple(sorted(doubts)))


def _senders(
    metadata: RsMetadata, present: Mapping[str, RsParticipant], differences: Counter[str]
) -> dict[str, list[str]]:
    """Who sends each stream. Of two participants, what one receives and nobody is said to send is the other's."""
    senders = metadata.senders()
    if len(present) != len(metadata.participants) or len(present) != 2:
        return senders
    for association in metadata.stream_associations:
        others = [one for one in present if one != association.participant_id]
        for stream_id in () if association.ended or len(others) != 1 else association.receive:
            if stream_id not in senders and len(metadata.receivers(stream_id)) == 1:
                senders[stream_id] = others
                differences[BY_RECEIVER] += 1
    return senders


def _anybody(stream: RsStream, senders: Mapping[str, Sequence[str]], present: Mapping[str, RsParticipant]) -> bool:
    return any(one in present for one in senders.get(stream.id, ()))


def _present(metadata: RsMetadata) -> dict[str, RsParticipant]:
    left = _left(metadata)
    return {one.id: one for one in metadata.participants if one.id not in left}


def _speakers(
    media: Sequence[tuple[int, AudioMedia]],
    streams: Mapping[int, RsStream],
    present: Mapping[str, RsParticipant],
    senders: Mapping[str, Sequence[str]],
    differences: Counter[str],
) -> dict[int, tuple[RsParticipant, ...]]:
    if not senders:
        if len(present) == len(media) and present:
            differences[UNASSOCIATED] += 1
            return {index: (participant,) for (index, _), participant in zip(media, present.values(), strict=True)}
        return {index: () for index, _ in media}
    return {
        index: tuple(
            present[participant_id]
            for participant_id in (senders.get(streams[index].id, ()) if index in streams else ())
            if participant_id in present
        )
        for index, _ in media
    }


def _left(metadata: RsMetadata) -> set[str]:
    """Participants whose part in every one of their sessions has ended."""
    ended = {link.participant_id for link in metadata.session_associations if link.ended}
    return ended - {link.participant_id for link in metadata.session_associations if not link.ended}


def _same(label: str | None, other: str) -> bool:
    return label is not None and label.strip().casefold() == other.strip().casefold()
