"""Several recording dialogs of one call, and any updates of theirs in any order."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sdp.description import Direction, OtherMedia, SessionDescription
from connectors.siprec.metadata import RsMetadata, RsParticipant, RsStream, StreamAssociation
from connectors.siprec.recording_session import (
    LegAdded,
    LegRefused,
    LegRemoved,
    LegUpdated,
    MetadataChanged,
    Paused,
    RecordedCalls,
    RecordingSession,
    Resumed,
    SiprecEvent,
    Transferred,
)
from tests.connectors.siprec.dialogs import AGENT, ALEX, CUSTOMER, DANA, SAM, TWO, legs, line, offer, said


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
