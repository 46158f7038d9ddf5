"""The recording server's side of SIPREC: bodies, legs, roles, updates, and several dialogs of one call."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.multipart import MultipartError
from connectors.sdp.description import AudioMedia, Direction, OtherMedia, RtpCodec, SdpError, SessionDescription, parse
from connectors.siprec.labels import UNASSOCIATED, UNLABELLED, UNNAMED
from connectors.siprec.metadata import (
    RsMetadata,
    RsParticipant,
    RsSession,
    RsStream,
    SessionAssociation,
    StreamAssociation,
)
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
    RecordingSession,
    Resumed,
    RoleRule,
    SiprecEvent,
    Transferred,
    read_body,
)
from sinks.record import SpeakerRole
from tests.connectors.samples import METADATA, sample

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


def test_party_that_called_comes_first() -> None:
    calls = RecordedCalls()
    oracle = parse_metadata(sample("oracle.xml"))
    assert [party.number for party in calls.parties(oracle)] == ["4075550101", "8885550100"]
    reversed_ = replace(oracle, participants=oracle.participants[::-1])
    assert [party.number for party in calls.parties(reversed_)] == ["4075550101", "8885550100"]
    assert calls.parties(said(("1", DANA), ("2", ALEX), ("3", SAM))) == [DANA, ALEX]
    assert calls.parties(RsMetadata()) == []


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


def test_transfer_on_the_same_stream() -> None:
    session = start()
    session.apply(sample_offer(), parse_metadata(sample("standard.xml")))
    events = session.apply(None, parse_metadata(sample("transfer_partial.xml")))
    [transfer] = events
    assert isinstance(transfer, Transferred)
    assert (transfer.leg, transfer.role) == ("3", AGENT)
    assert [person.name for person in transfer.previous] == ["Alex Agent"]
    assert [person.number for person in transfer.participants] == ["4720"]
    assert session.apply(sample_offer(), None) == []


def sample_offer() -> SessionDescription:
    return parse(sample("recording.sdp"))


def test_transfer_to_another_stream_at_once_or_later() -> None:
    at_once, later = start(), start()
    after = said(("1", DANA), ("3", SAM))
    for session in (at_once, later):
        session.apply(offer("1", "2"), TWO)
    expected = [LegAdded("3", "3", 2, 2, (SAM,), AGENT), Transferred("3", "3", (ALEX,), (SAM,), AGENT)]
    assert at_once.apply(offer("1", line("2", port=0), "3"), after) == [LegRemoved("2", "2"), *expected]
    assert later.apply(offer("1", line("2", port=0)), said(("1", DANA))) == [LegRemoved("2", "2")]
    assert later.apply(offer("1", line("2", port=0), "3"), after) == expected


def test_new_identifier_with_the_old_address_is_the_same_person() -> None:
    session = start()
    session.apply(offer("1", "2"), TWO)
    renamed = replace(ALEX, id="alex-2", name="Alexandra")
    assert session.apply(None, said(("1", DANA), ("2", renamed))) == [LegUpdated("2", "2", (renamed,), AGENT)]


def test_anonymous_parties_with_one_address_keep_their_roles() -> None:
    first, second = RsParticipant("a", "sip:anonymous@x"), RsParticipant("b", "sip:anonymous@x")
    events = start().apply(offer("1", "2"), said(("1", first), ("2", second)))
    assert [role for *_, role in legs(events)] == [CUSTOMER, AGENT]


def test_second_anonymous_party_is_not_taken_for_the_first_one() -> None:
    first, second = RsParticipant("a", "sip:anonymous@x"), RsParticipant("b", "sip:anonymous@x")
    for update in (said(("1", first), ("2", second)), said(("2", second), complete=False)):
        session = start()
        session.apply(offer("1", "2"), said(("1", first)))
        assert session.apply(None, update)[0] == LegUpdated("2", "2", (second,), AGENT)


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


def test_held_party_that_sends_nothing_for_a_while_keeps_its_name() -> None:
    session = start()
    session.apply(offer("1", "2"), TWO)
    gone = replace(TWO, stream_associations=TWO.stream_associations[:1])
    assert session.apply(None, gone) == []
    assert session.apply(None, TWO) == []


def test_participant_whose_part_in_all_sessions_ended_is_not_heard() -> None:
    ended = SessionAssociation("alex", "cs-1", ended=True)
    session = start()
    assert legs(session.apply(offer("2"), replace(TWO, session_associations=(ended,)))) == [
        ("2", "", SpeakerRole.UNKNOWN)
    ]
    elsewhere = SessionAssociation("alex", "cs-2")
    assert session.apply(None, replace(TWO, session_associations=(ended, elsewhere)))[0] == LegUpdated(
        "2", "2", (ALEX,), AGENT
    )


def test_mixed_stream_has_both_names_and_no_role() -> None:
    mixed = said(("1", DANA), ("1", ALEX))
    [added, _] = start().apply(offer("1"), mixed)
    assert added == LegAdded("1", "1", 0, 0, (DANA, ALEX), SpeakerRole.UNKNOWN)


def test_third_voice_on_a_stream_is_an_update() -> None:
    session = start()
    session.apply(offer("1", "2"), TWO)
    conference = said(("1", DANA), ("2", ALEX), ("2", SAM))
    assert session.apply(None, conference) == [LegUpdated("2", "2", (ALEX, SAM), AGENT)]


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


def test_participants_in_order_stand_in_for_missing_associations() -> None:
    calls = RecordedCalls()
    session = calls.open("d", None)
    bare = replace(TWO, stream_associations=())
    assert [name for _, name, _ in legs(session.apply(offer("1", "2"), bare))] == ["Dana", "Alex"]
    assert calls.stats.differences == {UNASSOCIATED: 1}
    assert [name for _, name, _ in legs(calls.open("e", None).apply(offer("1"), replace(bare, sessions=())))] == [""]


def test_stream_that_somebody_sends_goes_before_a_former_one_of_its_label() -> None:
    former = RsStream("old", "cs-1", "1")
    for streams in ((former, *TWO.streams), (*TWO.streams, former)):
        assert legs(start().apply(offer("1"), replace(TWO, streams=streams))) == [("1", "Dana", CUSTOMER)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (RoleRule(), {"Dana": CUSTOMER, "Alex": AGENT}),
        (RoleRule(caller="agent"), {"Dana": AGENT, "Alex": CUSTOMER}),
        (RoleRule(caller="unknown"), {"Dana": SpeakerRole.UNKNOWN, "Alex": SpeakerRole.UNKNOWN}),
        (RoleRule(agent_aor="@carrier"), {"Dana": AGENT, "Alex": CUSTOMER}),
        (RoleRule(customer_aor=r"^sip:\d{4}@"), {"Dana": AGENT, "Alex": CUSTOMER}),
        (RoleRule(agent_aor="@agents", customer_aor="nobody"), {"Dana": CUSTOMER, "Alex": AGENT}),
        (RoleRule(agent_aor="nobody", customer_aor="@agents"), {"Dana": AGENT, "Alex": CUSTOMER}),
    ],
)
def test_roles_by_rule(rule: RoleRule, expected: dict[str, SpeakerRole]) -> None:
    assert roles(start(rule).apply(offer("1", "2"), TWO)) == expected


def test_role_and_caller_that_the_vendor_states() -> None:
    stated = said(("1", replace(DANA, extensions={"role": "Agent"})), ("2", ALEX))
    assert roles(start(RoleRule(agent_aor="@agents")).apply(offer("1", "2"), stated)) == {"Dana": AGENT, "Alex": AGENT}
    assert roles(start().apply(offer("1", "2"), stated)) == {"Dana": AGENT, "Alex": CUSTOMER}
    called_first = said(("1", ALEX), ("2", replace(DANA, extensions={"callingParty": "TRUE"})))
    assert roles(start().apply(offer("1", "2"), called_first)) == {"Alex": AGENT, "Dana": CUSTOMER}
    other = replace(DANA, extensions={"kind": "agent", "orig": "true"})
    rule = RoleRule(role_element="kind", caller_element="orig")
    assert roles(start(rule).apply(offer("1", "2"), said(("1", ALEX), ("2", other)))) == {
        "Alex": CUSTOMER,
        "Dana": AGENT,
    }


def test_roles_stay_for_the_call_whatever_order_an_update_has() -> None:
    session = start()
    session.apply(offer("1", "2"), TWO)
    assert session.apply(None, said(("2", ALEX), ("1", DANA))) == []
    third = session.apply(offer("1", "2", "3"), said(("3", SAM), ("2", ALEX), ("1", DANA)))
    assert roles(third) == {"Sam": AGENT}


def test_bad_pattern_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="agent_aor is no regular expression"):
        RoleRule(agent_aor="(")


def test_two_dialogs_of_one_communication_session_are_one_call() -> None:
    calls = RecordedCalls()
    first = calls.open("d1", said(("1", DANA)))
    second_metadata = replace(said(("9", ALEX)), streams=(RsStream("other", "cs-1", "1"),))
    second_metadata = replace(second_metadata, stream_associations=(StreamAssociation("alex", ("other",)),))
    second = calls.open("d2", second_metadata)
    assert first.call is second.call
    assert calls.active == 1
    assert legs(first.apply(offer("1"), said(("1", DANA)))) == [("1", "Dana", CUSTOMER)]
    assert legs(second.apply(offer("1"), second_metadata)) == [("1-2", "Alex", AGENT)]
    assert first.close() == [LegRemoved("1", "1")]
    assert first.call.sessions == [second]
    assert calls.open("d3", said(("1", SAM))).call is second.call
    assert calls.active == 1


def test_call_is_over_with_its_last_dialog_and_its_session_may_come_again() -> None:
    calls = RecordedCalls()
    session = calls.open("d1", TWO)
    session.apply(offer("1", "2"), TWO)
    assert session.close() == [LegRemoved("1", "1"), LegRemoved("2", "2")]
    assert session.close() == []
    assert session.apply(offer("1"), TWO) == []
    assert (session.call.sessions, calls.active) == ([], 0)
    assert calls.open("d2", TWO).call is not session.call


def test_stream_that_two_dialogs_carry_is_recorded_once_and_taken_over() -> None:
    calls = RecordedCalls()
    first, second = calls.open("d1", TWO), calls.open("d2", TWO)
    first.apply(offer("1", "2"), TWO)
    assert legs(second.apply(offer("1", "2"), TWO)) == []
    assert calls.stats.duplicate_streams == 2
    first.close()
    assert legs(second.apply(None, None)) == [("1-2", "Dana", CUSTOMER), ("2-2", "Alex", AGENT)]


def test_further_sessions_of_a_dialog_belong_to_its_call() -> None:
    calls = RecordedCalls()
    session = calls.open("d1", TWO)
    session.apply(offer("1", "2"), TWO)
    session.apply(None, said(("1", DANA), ("2", SAM), session="cs-2"))
    assert calls.open("d2", said(("5", ALEX), session="cs-2")).call is session.call
    assert calls.open("d3", said(("5", ALEX), session="cs-3")).call is not session.call


def test_dialog_that_turns_out_to_belong_to_a_running_call_is_counted_once() -> None:
    calls = RecordedCalls()
    calls.open("d1", TWO).apply(offer("1", "2"), TWO)
    late = calls.open("d2", None)
    late.apply(offer("1"), None)
    late.apply(None, TWO)
    late.apply(None, TWO)
    assert calls.stats.unmerged == 1
    late.close()
    assert calls.open("d3", TWO).call.sessions[0].stream_ids == {"cs-1-1", "cs-1-2"}


def test_identifier_of_a_dialog_is_no_session_of_a_call() -> None:
    calls = RecordedCalls()
    victim = calls.open("d1", None)
    assert calls.open("d2", said(("1", SAM), session="d1")).call is not victim.call


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


people = st.sampled_from([DANA, ALEX, SAM, replace(ALEX, id="alex-2"), RsParticipant("x")])
labels = st.sampled_from([None, "1", "2", "3"])
media_lines = st.one_of(
    st.builds(line, labels, direction=st.sampled_from(Direction), port=st.sampled_from([0, 4000])),
    st.just(OtherMedia("video", 9, "RTP/AVP", ("31",))),
)
documents = st.builds(
    said, st.tuples(labels, people), st.tuples(labels, people), session=st.sampled_from(["cs-1", "cs-2"])
).flatmap(lambda whole: st.sampled_from([whole, replace(whole, complete=False), replace(whole, mode_given=False)]))
requests = st.tuples(
    st.integers(0, 2),
    st.none() | st.lists(media_lines, max_size=4).map(lambda media: offer(*media)),
    st.none() | documents,
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(requests, max_size=15))
def test_any_updates_of_any_dialogs_tell_a_consistent_story(
    steps: list[tuple[int, SessionDescription | None, RsMetadata | None, bool]],
) -> None:
    """Legs are added once, and only those that are there are paused, resumed, changed and removed."""
    calls = RecordedCalls()
    sessions: dict[int, RecordingSession] = {}
    alive: dict[int, dict[str, bool]] = {}
    used: set[tuple[int, str]] = set()

    def tell(number: int, session: RecordingSession, events: list[SiprecEvent]) -> None:
        mine = alive.setdefault(number, {})
        for event in events:
            match event:
                case LegAdded():
                    assert (id(session.call), event.leg) not in used
                    used.add((id(session.call), event.leg))
                    mine[event.leg] = False
                case Paused() | Resumed():
                    assert mine[event.leg] == isinstance(event, Resumed)
                    mine[event.leg] = isinstance(event, Paused)
                case LegRemoved():
                    del mine[event.leg]
                case LegUpdated() | Transferred():
                    assert event.leg in mine
                case MetadataChanged():
                    assert all(key.startswith("siprec.") for key in event.metadata)
                case LegRefused():
                    raise AssertionError("that many legs there are not")
        assert session.paused == (bool(mine) and all(mine.values()))

    kept = []  # identities stay unique while the calls are alive
    for number, sdp, metadata, hang_up in steps:
        if number not in sessions:
            sessions[number] = calls.open(f"d{number}", metadata)
            kept.append(sessions[number].call)
        session = sessions[number]
        tell(number, session, session.apply(sdp, metadata))
        assert session.apply(sdp, None) == []
        if hang_up:
            tell(number, session, sessions.pop(number).close())
            assert not alive.pop(number)
        assert calls.active == len({id(open_.call) for open_ in sessions.values()})
