"""The recording server's side of SIPREC: bodies, legs, and how updates change them."""

from dataclasses import replace

import pytest

from connectors.multipart import MultipartError
from connectors.sdp.description import Direction, OtherMedia, SdpError, parse
from connectors.siprec.labels import UNLABELLED, UNNAMED
from connectors.siprec.metadata import RsSession, RsStream
from connectors.siprec.metadata_xml import parse_metadata
from connectors.siprec.recording_session import (
    MAX_LEGS,
    LegAdded,
    LegRefused,
    LegRemoved,
    LegUpdated,
    MetadataChanged,
    Paused,
    RecordedCalls,
    Resumed,
    read_body,
)
from sinks.record import SpeakerRole
from tests.connectors.samples import METADATA, sample
from tests.connectors.siprec.dialogs import AGENT, ALEX, CUSTOMER, DANA, TWO, kinds, legs, line, offer, said, start


def test_legs_have_name_number_role_and_place() -> None:
    session = start()
    events = session.apply(offer("1", OtherMedia("video", 9, "RTP/AVP", ("31",)), "2"), TWO)
    assert events == [
        LegAdded("1", "1", 0, 0, (DANA,), CUSTOMER),
        LegAdded("2", "2", 2, 1, (ALEX,), AGENT),
        MetadataChanged({"siprec.session_id": "cs-1", "siprec.group_id": "g"}),
    ]
    assert session.call.key == "dialog"


@pytest.mark.parametrize("name", METADATA)
@pytest.mark.parametrize("order", [1, -1])
def test_whole_body_of_each_vendor_gives_a_customer_and_an_agent(name: str, order: int) -> None:
    parts = [
        b"Content-Type: application/sdp\r\n\r\n" + sample("recording.sdp"),
        b"Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n" + sample(name),
    ][::order]
    body = b"".join(b"--foobar\r\n" + part + b"\r\n" for part in parts) + b"--foobar--\r\n"
    read = read_body('multipart/mixed;boundary="foobar"', body)
    assert (read.metadata_error, read.others) == (None, ())
    calls = RecordedCalls()
    session = calls.open("dialog", read.metadata)
    events = session.apply(read.sdp, read.metadata)
    assert [(event.index, event.role) for event in events if isinstance(event, LegAdded)] == [(0, CUSTOMER), (2, AGENT)]
    assert all(event.participant and event.participant.number for event in events if isinstance(event, LegAdded))
    assert read.metadata is not None
    assert session.call.key == read.metadata.sessions[0].id
    assert calls.stats.differences == {kind.value: count for kind, count in read.metadata.differences.items()}


def test_vendors_call_identifiers_reach_the_calls_metadata() -> None:
    session = start()
    events = session.apply(offer("1", "3"), parse_metadata(sample("oracle.xml")))
    assert events[-1] == MetadataChanged(
        {
            "siprec.ucid": "00FA08000101;encoding=hex",
            "siprec.callerOrig": "true",
            "siprec.session_id": "b3JhY2xlLXNlc3Npb24tMQ==",
        }
    )


def test_body_of_one_type_and_bad_parts() -> None:
    only_sdp = read_body("application/sdp", sample("recording.sdp"))
    assert only_sdp.sdp == parse(sample("recording.sdp"))
    assert only_sdp.metadata is None
    only_metadata = read_body("application/rs-metadata", sample("standard.xml"))
    assert only_metadata.metadata == parse_metadata(sample("standard.xml"))
    broken = read_body("application/rs-metadata+xml", sample("billion_laughs.xml"))
    assert (broken.metadata, broken.metadata_error) == (None, "the document has a document type or an entity")
    assert read_body("multipart/mixed", b" \r\n") == read_body("", b"")
    other = read_body("text/plain", b"hello")
    assert [part.body for part in other.others] == [b"hello"]
    with pytest.raises(SdpError):
        read_body("application/sdp", b"m=audio")
    with pytest.raises(MultipartError):
        read_body("multipart/mixed", b"x")


def test_second_description_and_metadata_are_others() -> None:
    body = b"".join(
        b"--b\r\nContent-Type: " + kind + b"\r\n\r\n" + content + b"\r\n"
        for kind, content in [
            (b"application/sdp", b"v=0"),
            (b"application/rs-metadata", b"<bad"),
            (b"application/sdp", b"nonsense"),
            (b"application/rs-metadata", b"<recording/>"),
        ]
    )
    body += b"--b--"
    read = read_body("multipart/mixed;boundary=b", body)
    assert [part.body for part in read.others] == [b"nonsense", b"<recording/>"]
    assert read.metadata_error is not None


def test_metadata_may_come_after_the_description() -> None:
    session = start()
    assert legs(session.apply(offer("1", "2"), None)) == [
        ("1", "", SpeakerRole.UNKNOWN),
        ("2", "", SpeakerRole.UNKNOWN),
    ]
    events = session.apply(None, TWO)
    assert events[:2] == [LegUpdated("1", "1", (DANA,), CUSTOMER), LegUpdated("2", "2", (ALEX,), AGENT)]
    assert session.apply(None, TWO) == []
    assert session.apply(offer("1", "2"), None) == []


def test_streams_come_and_go() -> None:
    session = start()
    session.apply(offer("1"), said(("1", DANA)))
    events = session.apply(offer("1", "2"), TWO)
    assert events == [LegAdded("2", "2", 1, 1, (ALEX,), AGENT)]
    assert session.apply(offer("1", line("2", port=0)), None) == [LegRemoved("2", "2")]
    assert session.apply(offer("1"), None) == []
    back = session.apply(offer("1", "2"), None)
    assert back == [LegAdded("2-2", "2", 1, 2, (ALEX,), AGENT)]


def test_line_that_is_given_to_another_label_is_another_leg() -> None:
    session = start()
    session.apply(offer("1"), TWO)
    assert kinds(session.apply(offer("2"), None)) == [LegRemoved, LegAdded]


def test_only_accepted_lines_are_recorded() -> None:
    session = start()
    assert [leg for leg, *_ in legs(session.apply(offer("1", "2"), TWO, accepted=[1]))] == ["2"]
    assert session.apply(None, TWO, accepted=[1]) == []
    assert [leg for leg, *_ in legs(session.apply(offer("1", "2"), None))] == ["1"]


@pytest.mark.parametrize("direction", [Direction.INACTIVE, Direction.RECVONLY])
def test_pause_and_resume_by_direction(direction: Direction) -> None:
    session = start()
    session.apply(offer("1", "2"), TWO)
    assert not session.paused
    paused = line("1", direction=direction)
    assert session.apply(offer(paused, "2"), None) == [Paused("1", "1")]
    assert not session.paused
    assert session.apply(offer(paused, line("2", direction=direction)), None) == [Paused("2", "2")]
    assert session.paused
    assert session.apply(offer("1", line("2", direction=Direction.SENDRECV)), None) == [
        Resumed("1", "1"),
        Resumed("2", "2"),
    ]
    assert not session.paused


def test_recording_may_begin_paused() -> None:
    session = start()
    events = session.apply(offer(line("1", direction=Direction.INACTIVE)), said(("1", DANA)))
    assert kinds(events) == [LegAdded, Paused, MetadataChanged]


def test_null_address_is_no_pause_as_nothing_is_sent_there() -> None:
    session = start()
    assert Paused not in kinds(session.apply(offer(line("1", address="0.0.0.0")), TWO))


def test_two_lines_of_one_label_are_two_legs() -> None:
    assert legs(start().apply(offer("1", "1"), TWO)) == [("1", "Dana", CUSTOMER), ("1-2", "Dana", CUSTOMER)]


def test_first_session_of_a_call_names_it() -> None:
    sessions = (
        RsSession("cs-1", "g", extensions={"ucid": "1"}),
        RsSession("cs-2", "g", extensions={"ucid": "2", "x": "3"}),
    )
    events = start().apply(offer(), replace(TWO, sessions=sessions))
    assert events == [
        MetadataChanged({"siprec.session_id": "cs-1", "siprec.group_id": "g", "siprec.ucid": "1", "siprec.x": "3"})
    ]


def test_labels_that_are_missing_or_differ_in_case_are_joined_and_counted() -> None:
    calls = RecordedCalls()
    events = calls.open("d1", None).apply(offer(None, "AbC"), said(("x", DANA), (" aBc ", ALEX)))
    assert legs(events) == [("stream-0", "Dana", CUSTOMER), ("AbC", "Alex", AGENT)]
    assert calls.stats.differences == {UNLABELLED: 1}
    events = calls.open("d2", None).apply(offer("1", "2"), said((None, DANA), ("2", ALEX), session="cs-2"))
    assert legs(events) == [("1", "Dana", CUSTOMER), ("2", "Alex", AGENT)]
    assert calls.stats.differences == {UNLABELLED: 2}


def test_label_that_no_stream_has_is_recorded_without_a_name() -> None:
    calls = RecordedCalls()
    events = calls.open("d", None).apply(offer("9"), TWO)
    assert legs(events) == [("9", "", SpeakerRole.UNKNOWN)]
    assert calls.stats.differences == {UNNAMED: 1}


def test_stream_that_somebody_sends_goes_before_a_former_one_of_its_label() -> None:
    former = RsStream("old", "cs-1", "1")
    for streams in ((former, *TWO.streams), (*TWO.streams, former)):
        assert legs(start().apply(offer("1"), replace(TWO, streams=streams))) == [("1", "Dana", CUSTOMER)]


def test_legs_of_a_call_are_bounded_and_their_names_harmless() -> None:
    calls = RecordedCalls()
    session = calls.open("d", None)
    assert legs(session.apply(offer("a b/" + "c" * 500), None))[0][0] == "a_b_" + "c" * 60
    for number in range(MAX_LEGS + 5):
        session.apply(offer(str(number)), None)
    assert session.call.legs == MAX_LEGS
    assert calls.stats.refused_legs == 6
    assert session.apply(offer("one more"), None) == [LegRefused("one more", 0)]


def test_leg_that_could_not_be_opened_comes_again_under_its_name() -> None:
    session = start()
    session.apply(offer("1", "2", "3"), TWO)
    for leg in ("3", "2", "nobody"):
        session.refuse_leg(leg)
    assert session.stream_ids == {"cs-1-1"}
    assert session.apply(None, None, accepted=[0, 2]) == [LegAdded("3", "3", 2, 1, (), SpeakerRole.UNKNOWN)]
    assert session.apply(None, TWO) == [LegAdded("2", "2", 1, 2, (ALEX,), AGENT)]
    session.refuse_leg("3")  # not the newest one: its place stays free
    assert legs(session.apply(None, TWO)) == [("3", "", SpeakerRole.UNKNOWN)]
    assert session.call.legs == 4
