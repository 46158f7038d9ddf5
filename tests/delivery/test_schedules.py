"""Every kind of fault once, around real emitters on a real broker; `python -m benchmarks.faults` draws hundreds.

The schedules of a test run side by side and mostly wait. What is promised is in `testing/faults/__init__.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.faults.schedule import TOO_LARGE_FOR_CLIENT, TOO_LARGE_FOR_TOPIC, Fault, Kind, drawn
from testing.faults.world import World
from tests.delivery.carrying_out import carried_out, check, schedules, world


@pytest.fixture(scope="module")
def one_broker() -> Iterator[World]:
    with world(cluster=False) as made:
        yield made


def test_faults_of_server_disk_topics_and_rights(one_broker: World, tmp_path: Path) -> None:
    rejected = Fault(Kind.RECORD_REJECTED, 0.5, 0.0, str(TOO_LARGE_FOR_TOPIC))
    given = schedules(
        (Fault(Kind.SERVER_KILLED, 1.0, 0.2), Fault(Kind.DISK, 2.0, 1.0, "no space")),
        (Fault(Kind.POWER_LOST, 1.0, 0.2, "1"), Fault(Kind.DISK, 2.0, 1.0, "no sync")),
        (
            rejected,
            Fault(Kind.KILLED_AT, 1.0, 0.0, "spool._delete:after:3:server"),
            Fault(Kind.DISK, 2.0, 1.0, "no read"),
        ),
        (
            Fault(Kind.KILLED_AT, 1.0, 0.0, "lane._on_acknowledged:before:5:both"),
            Fault(Kind.DISK, 2.0, 1.0, "no write"),
        ),
        (
            Fault(Kind.TOPIC_DELETED, 1.0, 1.0, "transcripts"),
            Fault(Kind.DELIVERY_KILLED, 1.8),
            Fault(Kind.CLOCK_STEPPED, 2.0, 0.0, "86400"),
        ),
        (Fault(Kind.CREDENTIALS_REVOKED, 1.0, 4.0), Fault(Kind.RECORD_REJECTED, 1.0, 0.0, str(TOO_LARGE_FOR_CLIENT))),
        (Fault(Kind.WRITE_DENIED, 1.0, 2.0, "events"), Fault(Kind.KILLED_AT, 1.5, 0.0, "lane._send:after:3:delivery")),
    )
    outcomes = carried_out(one_broker, given, tmp_path)
    check(outcomes)
    assert [outcome.tally.dead_lettered for outcome in outcomes] == [0, 0, 1, 0, 0, 1, 0]


def test_a_broker_that_is_frozen_and_one_that_is_killed(one_broker: World, tmp_path: Path) -> None:
    given = schedules(
        (),
        (Fault(Kind.SERVER_KILLED, 4.0, 0.2),),
        (Fault(Kind.POWER_LOST, 11.0, 0.0, "2"),),
        (Fault(Kind.DISK, 3.0, 2.0, "no space"),),
        broker=(Fault(Kind.BROKER_FROZEN, 1.0, 6.0), Fault(Kind.BROKER_KILLED, 10.0, 0.5)),
    )
    check(carried_out(one_broker, given, tmp_path))


def test_mutants_of_the_spool_are_caught(one_broker: World, tmp_path: Path) -> None:
    denied = tuple(Fault(Kind.WRITE_DENIED, 2.5, 3.0, topic) for topic in ("transcripts", "events"))
    power_lost, killed = Fault(Kind.POWER_LOST, 4.0, 0.0, "3"), Fault(Kind.SERVER_KILLED, 4.0)
    given = schedules((*denied, power_lost), (*denied, killed), denied, (*denied, power_lost))
    mutants = {0: "no fsync", 1: "deleted before it is acknowledged", 2: "two swapped"}
    unsynced, early, swapped, sound = carried_out(one_broker, given, tmp_path, mutants)
    assert unsynced.tally.lost
    assert early.tally.lost
    assert swapped.tally.out_of_order
    check([sound])


def test_a_schedule_is_a_function_of_its_seed() -> None:
    first = [drawn(seed) for seed in range(200)]
    assert first == [drawn(seed) for seed in range(200)]
    assert {fault.kind for one in first for fault in (*one.broker, *one.own)} == set(Kind)
    assert all(1 <= len((*one.broker, *one.own)) <= 3 for one in first)
