"""Who is heard on the legs of a recorded call: names, roles, and what happens when they change."""

from dataclasses import replace

import pytest

from connectors.sdp.description import SessionDescription, parse
from connectors.siprec.labels import UNASSOCIATED
from connectors.siprec.metadata import RsMetadata, RsParticipant, SessionAssociation
from connectors.siprec.metadata_xml import parse_metadata
from connectors.siprec.recording_session import LegAdded, LegRemoved, LegUpdated, RecordedCalls, RoleRule, Transferred
from sinks.record import SpeakerRole
from tests.connectors.samples import sample
from tests.connectors.siprec.dialogs import AGENT, ALEX, CUSTOMER, DANA, SAM, TWO, legs, line, offer, roles, said, start


def test_party_that_called_comes_first() -> None:
    calls = RecordedCalls()
    oracle = parse_metadata(sample("oracle.xml"))
    assert [party.number for party in calls.parties(oracle)] == ["4075550101", "8885550100"]
    reversed_ = replace(oracle, participants=oracle.participants[::-1])
    assert [party.number for party in calls.parties(reversed_)] == ["4075550101", "8885550100"]
    assert calls.parties(said(("1", DANA), ("2", ALEX), ("3", SAM))) == [DANA, ALEX]
    assert calls.parties(RsMetadata()) == []


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


def test_participants_in_order_stand_in_for_missing_associations() -> None:
    calls = RecordedCalls()
    session = calls.open("d", None)
    bare = replace(TWO, stream_associations=())
    assert [name for _, name, _ in legs(session.apply(offer("1", "2"), bare))] == ["Dana", "Alex"]
    assert calls.stats.differences == {UNASSOCIATED: 1}
    assert [name for _, name, _ in legs(calls.open("e", None).apply(offer("1"), replace(bare, sessions=())))] == [""]


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
