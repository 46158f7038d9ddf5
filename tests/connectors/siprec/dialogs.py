"""Recording dialogs of three people: their offers, their metadata, and what is told of them."""

from dataclasses import replace
from typing import Any

from connectors.sdp.description import AudioMedia, Direction, OtherMedia, RtpCodec, SessionDescription
from connectors.siprec.metadata import RsMetadata, RsParticipant, RsSession, RsStream, StreamAssociation
from connectors.siprec.recording_session import LegAdded, RecordedCalls, RecordingSession, RoleRule, SiprecEvent
from sinks.record import SpeakerRole

CUSTOMER, AGENT = SpeakerRole.CUSTOMER, SpeakerRole.AGENT
DANA = RsParticipant("dana", "sip:+15550001111@carrier.example", "Dana")
ALEX = RsParticipant("alex", "sip:4711@agents.example", "Alex")
SAM = RsParticipant("sam", "sip:4720@agents.example", "Sam")


def line(label: str | None, **fields: Any) -> AudioMedia:
    media = AudioMedia(
        "198.51.100.1", 4000, codecs=(RtpCodec(0, "PCMU", 8000),), direction=Direction.SENDONLY, label=label
    )
    return replace(media, **fields)


def offer(*media: AudioMedia | OtherMedia | str | None) -> SessionDescription:
    return SessionDescription(media=tuple(line(item) if isinstance(item, str | None) else item for item in media))


def said(*speakers: tuple[str | None, RsParticipant], session: str = "cs-1", **fields: Any) -> RsMetadata:
    """Metadata in which each participant sends the stream of a label."""
    return replace(
        RsMetadata(
            groups=("g",),
            sessions=(RsSession(session, "g"),),
            participants=tuple(dict.fromkeys(person for _, person in speakers)),
            streams=tuple(RsStream(f"{session}-{label}", session, label) for label, _ in speakers),
            stream_associations=tuple(
                StreamAssociation(person.id, (f"{session}-{label}",)) for label, person in speakers
            ),
        ),
        **fields,
    )


def start(rule: RoleRule | None = None) -> RecordingSession:
    return RecordedCalls(rule).open("dialog", None)


def kinds(events: list[SiprecEvent]) -> list[type]:
    return [type(event) for event in events]


def legs(events: list[SiprecEvent]) -> list[tuple[str, str, SpeakerRole]]:
    return [
        (event.leg, event.participant.name if event.participant else "", event.role)
        for event in events
        if isinstance(event, LegAdded)
    ]


def roles(events: list[SiprecEvent]) -> dict[str, SpeakerRole]:
    return {name: role for _, name, role in legs(events)}


TWO = said(("1", DANA), ("2", ALEX))
