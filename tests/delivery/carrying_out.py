"""What the tests of schedules share: a world, the layer under the spool, and what is asked of every outcome."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from testing.faults.disk import built
from testing.faults.run import LIVENESS_WAIT_S, Outcome, run_group
from testing.faults.schedule import Fault, Schedule
from testing.faults.world import World
from testing.services.missing import ServiceMissing
from tests.services.missing import missing


@contextmanager
def world(*, cluster: bool) -> Iterator[World]:
    """Started; the test is skipped where it cannot be."""
    try:
        made = World(cluster=cluster)
        made.start()
    except ServiceMissing as error:
        missing(str(error))
    try:
        yield made
    finally:
        made.remove()


def carried_out(
    made: World, schedules: Sequence[Schedule], base: Path, mutants: Mapping[int, str] | None = None
) -> list[Outcome]:
    """Side by side."""
    try:
        library = built(base)
    except ServiceMissing as error:
        missing(str(error))
    return asyncio.run(run_group(made, schedules, base, library, mutants=mutants or {}))


def schedules(*own: tuple[Fault, ...], broker: tuple[Fault, ...] = (), cluster: bool = False) -> list[Schedule]:
    """One for each of `own`, with the brokers' faults in common; numbered from 0."""
    return [Schedule(seed, cluster, broker, faults) for seed, faults in enumerate(own)]


def check(outcomes: Sequence[Outcome]) -> None:
    """The promise, with how far each is from it in the report of a failure. That delivery is under way again within
    five seconds is the benchmark's to say: here it is under way at all."""
    for outcome in outcomes:
        said = f"{outcome.schedule}: {outcome.tally}, see {outcome.folder}"
        assert outcome.tally.kept, said
        assert outcome.tally.emitted, said
        assert outcome.ended_in_order, said
        assert outcome.liveness_s < LIVENESS_WAIT_S, said
