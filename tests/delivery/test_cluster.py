"""Three brokers whose leaders are killed and restarted, one after the other."""

from pathlib import Path

from testing.faults.schedule import Fault, Kind
from tests.delivery.carrying_out import carried_out, check, schedules, world


def test_leaders_of_a_cluster_that_are_killed_and_restarted(tmp_path: Path) -> None:
    faults = Fault(Kind.LEADER_RESTARTED, 1.0, 1.0, "1:SIGKILL"), Fault(Kind.LEADER_RESTARTED, 2.0, 0.0, "2:SIGTERM")
    given = schedules((), (Fault(Kind.SERVER_KILLED, 3.0),), broker=faults, cluster=True)
    with world(cluster=True) as made:
        check(carried_out(made, given, tmp_path))
