"""What the load test offers, read by the parsers of the server."""

import pytest

from connectors.multipart import split_multipart
from connectors.sdp.capabilities import Capabilities
from connectors.sdp.description import Direction, parse
from connectors.sdp.offer_answer import NegotiationSession
from connectors.siprec.metadata_xml import parse_metadata
from trunkline.loadtest.bodies import Participant, metadata, offer, recording

WHO = (Participant("A & <B>", 'sip:a"b@example.com'), Participant("Agent", "tel:+15550100"))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_offer_is_one_line_of_pcmu_that_the_server_takes(address: str) -> None:
    description = parse(offer(address, [4000]).content)
    ((_, media),) = description.audio
    assert (media.address, media.port, media.ptime_ms, media.direction) == (address, 4000, 20, Direction.SENDRECV)
    assert [codec.name for codec in media.codecs] == ["PCMU"]
    assert description.ignored == 0
    _, streams = NegotiationSession(address, Capabilities(), lambda: 5000).answer(description)
    assert [stream.codec.name for stream in streams] == ["PCMU"]


def test_recorded_streams_are_labelled_and_only_send() -> None:
    audio = [media for _, media in parse(offer("127.0.0.1", [4000, 4002], labels=["1", "2"]).content).audio]
    assert [(media.port, media.label, media.direction) for media in audio] == [
        (4000, "1", Direction.SENDONLY),
        (4002, "2", Direction.SENDONLY),
    ]


def test_recording_body_is_read_back_without_a_difference() -> None:
    xml = metadata("session-1", WHO, ["1", "2"], "2026-01-01T00:00:00Z")
    sdp = offer("127.0.0.1", [4000, 4002], labels=["1", "2"])
    body = recording(sdp, xml, "boundary")
    parts = split_multipart(body.content_type, body.content)
    assert [part.body for part in parts] == [sdp.content, xml]
    read = parse_metadata(parts[1].body)
    assert not any(read.differences.values())
    assert [(person.name, person.aor) for person in read.participants] == [(who.name, who.aor) for who in WHO]
    assert [stream.label for stream in read.streams] == ["1", "2"]
    sends = {
        stream.label: one.participant_id
        for one in read.stream_associations
        for stream in read.streams
        if stream.id in one.send
    }
    assert sends == {"1": read.participants[0].id, "2": read.participants[1].id}


def test_ids_are_those_of_the_session_and_of_no_other() -> None:
    first = metadata("one", WHO, ["1", "2"], "2026-01-01T00:00:00Z")
    assert metadata("one", WHO, ["1", "2"], "2026-01-01T00:00:00Z") == first
    other = parse_metadata(metadata("two", WHO, ["1", "2"], "2026-01-01T00:00:00Z"))
    mine = parse_metadata(first)
    assert {one.id for one in mine.streams}.isdisjoint(one.id for one in other.streams)
