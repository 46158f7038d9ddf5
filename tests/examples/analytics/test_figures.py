"""Figures of conversations that were worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sinks.record import LegInfo, SpeakerRole
from tests.examples.analytics.calls import Fields, Said, call, write
from trunkline_analytics.database import Loaded, database, load
from trunkline_analytics.figures import CallFigures, Figures, LegFigures, compute


def figures_of(tmp_path: Path, records: Sequence[Fields], phrases: Sequence[str] = ()) -> tuple[Figures, Loaded]:
    with database() as connection:
        loaded = load(connection, [str(write(tmp_path / "records.jsonl", records))], None)
        return compute(connection, phrases), loaded


def one_call(tmp_path: Path, records: Sequence[Fields]) -> CallFigures:
    figures, _ = figures_of(tmp_path, records)
    [found] = figures.calls
    return found


def leg(found: CallFigures, name: str) -> LegFigures:
    [one] = [one for one in found.legs if one.leg == name]
    return one


# A word takes 0.4 s. The agent begins at 5.0 while the customer talks until 6.0, and goes on until 7.0: it interrupts.
# The customer's "yes" from 8.0 to 8.4 is within the agent's talk from 7.6 to 9.6: overlap, no interruption.
TALK: list[Said] = [
    ("agent", 0.0, "good morning how can", "en-US"),  # to 1.6
    ("caller", 2.0, "one two three four five six seven eight nine ten", "en-US"),  # to 6.0
    ("agent", 5.0, "one two three four five", "en-US"),  # to 7.0
    ("agent", 7.6, "one two three four five", "en-US"),  # to 9.6
    ("caller", 8.0, "yes", "en-US"),  # to 8.4
]


def test_talk_silence_overlap_and_interruptions(tmp_path: Path) -> None:
    found = one_call(tmp_path, call(TALK))
    assert found.span_s == pytest.approx(9.6)
    assert found.silence_s == pytest.approx(0.4 + 0.6)
    assert found.longest_silence_s == pytest.approx(0.6)
    assert found.overlap_s == pytest.approx(1.0 + 0.4)
    agent, caller = leg(found, "agent"), leg(found, "caller")
    assert agent.talk_s == pytest.approx(1.6 + 2.0 + 2.0)
    assert caller.talk_s == pytest.approx(4.0 + 0.4)
    assert agent.talk_share == pytest.approx(5.6 / 10)
    assert (agent.role, caller.role) == ("agent", "customer")
    assert (agent.words, caller.words) == (14, 11)
    assert agent.words_a_minute == pytest.approx(60 * 14 / 5.6)
    assert (agent.interruptions, caller.interruptions) == (1, 0)


def test_short_pause_of_a_leg_is_talk(tmp_path: Path) -> None:
    found = one_call(tmp_path, call([("agent", 0.0, "one two", "en-US"), ("agent", 1.0, "three", "en-US")]))
    assert found.silence_s == pytest.approx(0)
    assert leg(found, "agent").talk_s == pytest.approx(1.4)


def test_leg_that_began_later_is_moved_by_its_arrival_times(tmp_path: Path) -> None:
    said: list[Said] = [("caller", 0.0, "one two", "en-US"), ("agent", 0.0, "three", "en-US")]
    together = one_call(tmp_path, call(said, late_s={"agent": 0.8}))
    assert [together.span_s, together.overlap_s] == pytest.approx([0.8, 0.4])
    later = one_call(tmp_path, call(said, late_s={"agent": 5.0}))
    assert [later.span_s, later.silence_s, later.overlap_s] == pytest.approx([5.4, 4.2, 0])


def test_times_of_files_say_nothing_of_when_a_leg_began(tmp_path: Path) -> None:
    records = call([("caller", 0.0, "one two", "en-US"), ("agent", 0.0, "three", "en-US")], late_s={"agent": 5.0})
    found = one_call(tmp_path, [one | {"latency_ms": 0.0} for one in records if one["type"] == "transcript"])
    assert found.overlap_s == pytest.approx(0.4)
    assert found.connector is None


def test_languages_and_switches(tmp_path: Path) -> None:
    said: list[Said] = [
        ("caller", 0.0, "uno dos tres", "es-US"),
        ("agent", 2.0, "one", "en-US"),
        ("caller", 4.0, "one two", "en-US"),
        ("caller", 6.0, "uno", "es-US"),
    ]
    figures, _ = figures_of(tmp_path, call(said))
    [found] = figures.calls
    assert found.languages == ["es-US", "en-US"]
    assert (leg(found, "caller").switches, leg(found, "agent").switches, found.switches) == (2, 0, 2)
    assert figures.languages == {"es-US": 4, "en-US": 3}


def test_later_final_replaces_the_earlier_and_partials_are_no_words(tmp_path: Path) -> None:
    records = call([("agent", 0.0, "one two three", "en-US")])
    [final] = [one for one in records if one.get("is_final")]
    later = final | {"revision": 2, "words": final["words"][:1], "event_id": "later", "seq": 2}
    found = one_call(tmp_path, [later, *records])
    assert leg(found, "agent").words == 1


def test_missing_and_reordered_seq(tmp_path: Path) -> None:
    records = call(TALK)
    of_agent = [place for place, one in enumerate(records) if one["leg"] == "agent"]
    records[of_agent[0]], records[of_agent[1]] = records[of_agent[1]], records[of_agent[0]]
    del records[of_agent[2]]
    found = one_call(tmp_path, records)
    assert (found.missing, found.reordered) == (1, 1)


def test_doubles_count_once_and_are_counted(tmp_path: Path) -> None:
    records = call(TALK)
    once, _ = figures_of(tmp_path, records)
    twice, loaded = figures_of(tmp_path, [*records, *records[2:5]])
    assert twice == once
    assert (loaded.records, loaded.doubles) == (len(records), 3)


def test_runs_of_one_call_are_apart_and_old_records_have_none(tmp_path: Path) -> None:
    said: list[Said] = [("agent", 0.0, "one two", "en-US")]
    records = [*call(said), *call(said, run="a1"), *call([*said, ("agent", 3.0, "three", "en-US")], run="b2")]
    figures, _ = figures_of(tmp_path, records)
    assert {found.run: leg(found, "agent").words for found in figures.calls} == {"": 2, "a1": 2, "b2": 3}


def test_latency_by_connector(tmp_path: Path) -> None:
    records = [*call(TALK, "a", connector="sip", latency_ms=50), *call(TALK, "b", connector="twilio", latency_ms=90)]
    figures, _ = figures_of(tmp_path, records)
    assert [(one.connector, one.is_final, one.count, one.p50, one.p99) for one in figures.latencies] == [
        ("sip", True, 5, 50.0, 50.0),
        ("sip", False, 5, 50.0, 50.0),
        ("twilio", True, 5, 90.0, 90.0),
        ("twilio", False, 5, 90.0, 90.0),
    ]


def test_keywords_of_few_calls_come_before_those_of_all(tmp_path: Path) -> None:
    records = [*call([("agent", 0.0, "hello refund refund hello", "en-US")], "a")]
    records += [one for name in "bcd" for one in call([("agent", 0.0, "hello there is it", "en-US")], name)]
    figures, _ = figures_of(tmp_path, records, ["refund refund", "Hello there", "hell", "refund"])
    ranks = [one.text for one in figures.keywords]
    assert ranks.index("refund") < ranks.index("there")
    assert "it" not in ranks
    assert [(one.text, one.times, one.calls) for one in figures.asked] == [
        ("refund refund", 1, 1),
        ("Hello there", 3, 3),
        ("hell", 0, 0),
        ("refund", 2, 1),
    ]


def test_turns_and_key_presses_are_counted_whatever_their_other_fields(tmp_path: Path) -> None:
    envelope = {"schema": "trunkline/1", "call_id": "CA1", "leg": "caller", "at": "2026-11-24T12:00:00.000Z"}
    records = [
        envelope | {"type": "turn", "event_id": "1", "seq": 0, "event": "EndOfTurn", "reason": {"text": "pause"}},
        envelope | {"type": "turn", "event_id": "2", "seq": 1},
        envelope | {"type": "dtmf", "event_id": "3", "seq": 2, "digit": "5"},
    ]
    figures, loaded = figures_of(tmp_path, records)
    assert (figures.turns, figures.key_presses) == ({"EndOfTurn": 1, "unknown": 1}, 1)
    assert dict(loaded.unknown_fields) == {"turn.reason": 1}


def test_no_records_are_no_fault(tmp_path: Path) -> None:
    figures, loaded = figures_of(tmp_path, [])
    assert (figures.calls, figures.keywords, loaded.records) == ([], [], 0)


def test_several_legs_of_a_role(tmp_path: Path) -> None:
    legs = [LegInfo(leg=name, speaker_role=SpeakerRole.UNKNOWN, channel_index=i) for i, name in enumerate("abc")]
    found = one_call(tmp_path, call([(name, 0.0, "one two", "en-US") for name in "abc"], legs=legs))
    assert found.overlap_s == pytest.approx(0.8)
    assert [round(one.talk_share or 0, 3) for one in found.legs] == [0.333] * 3
