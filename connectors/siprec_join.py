"""Media lines joined to participants: the line's label names a stream (RFC 4574), and the metadata who sends it.

Sits below `connectors.siprec`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.media_lines import AudioMedia
from connectors.recording import RsMetadata, RsParticipant, RsStream

UNLABELLED = "stream or media line without a label"
UNNAMED = "media line that no stream names"
UNASSOCIATED = "streams that no participant sends"


@dataclass(frozen=True, slots=True)
class Line:
    """A media line of a recording. `participants`: who is heard on it, none where it is not known."""

    index: int
    label: str | None
    stream_id: str | None
    sends: bool
    participants: tuple[RsParticipant, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    lines: tuple[Line, ...]
    differences: Counter[str]


def join(media: Sequence[tuple[int, AudioMedia]], metadata: RsMetadata) -> Joined:
    """One `Line` for each media line. Where labels are missing, streams and lines are taken in their order; where no
    stream has a sender, participants are, if there are as many as lines."""
    differences: Counter[str] = Counter()
    streams: dict[int, RsStream] = {}
    senders = metadata.senders()
    for index, line in media:
        named = [stream for stream in metadata.streams if line.label is not None and _same(stream.label, line.label)]
        if named:
            # An update may leave the former stream of a label behind: the one that somebody sends counts.
            streams[index] = max(named, key=lambda stream: stream.id in senders)
    taken = {stream.id for stream in streams.values()}
    spare = [stream for stream in metadata.streams if stream.id not in taken]
    for index, line in media:
        stream = next((item for item in spare if item.label is None or line.label is None), None)
        if index not in streams and stream is not None:
            differences[UNLABELLED] += 1
            spare.remove(stream)
            streams[index] = stream
    if metadata.streams:
        differences[UNNAMED] += sum(index not in streams for index, _ in media)
    heard = _heard(media, streams, metadata, senders, differences)
    lines = tuple(
        Line(index, line.label, streams[index].id if index in streams else None, line.direction.sends, heard[index])
        for index, line in media
    )
    return Joined(lines, +differences)


def _heard(
    media: Sequence[tuple[int, AudioMedia]],
    streams: Mapping[int, RsStream],
    metadata: RsMetadata,
    senders: Mapping[str, Sequence[str]],
    differences: Counter[str],
) -> dict[int, tuple[RsParticipant, ...]]:
    present = {participant.id: participant for participant in metadata.participants}
    for participant_id in _left(metadata):
        present.pop(participant_id, None)
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
