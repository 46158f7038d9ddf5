"""Does delivery to Kafka lose, double or reorder a record under faults, and how soon is it under way again after them?

`python -m benchmarks.faults [--schedules 200] [--first 0] [--seed N]`

Each schedule is one to three faults of broker, server, disk, topics, rights and clock, drawn from its seed
(`testing/faults`), around a process with the Kafka sink that emits 40 records a second. Four run at a time. What
arrived is counted by a consumer that reads everything. A schedule that breaks the promise is printed with its seed and
its folder is kept; `--seed N` carries that one out again, alone. The last line is JSON; the exit status is 1 where the
promise was broken.
"""

import argparse
import asyncio
import itertools
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from testing.faults.disk import built
from testing.faults.run import Outcome, run_group
from testing.faults.schedule import GROUP, Schedule, drawn
from testing.faults.world import World

GOAL_S = 5.0


def held(outcome: Outcome) -> bool:
    return outcome.tally.kept and outcome.ended_in_order and outcome.liveness_s < GOAL_S


def described(outcome: Outcome) -> str:
    tally = outcome.tally
    return (
        f"{'ok    ' if held(outcome) else 'BROKEN'} {outcome.schedule} | emitted {tally.emitted}"
        f" delivered {tally.delivered} dead {tally.dead_lettered} spooled {tally.spooled} destroyed {tally.destroyed}"
        f" lost {tally.lost[:5]} doubled {tally.doubled[:5]} out of order {tally.out_of_order[:5]}"
        f" repeated {tally.repeated} uncommitted {tally.uncommitted} live after {outcome.liveness_s:.2f} s"
        f"{'' if outcome.ended_in_order else '; did not end'}{'' if held(outcome) else f'; see {outcome.folder}'}"
    )


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def summary(outcomes: Sequence[Outcome], seconds: float) -> dict[str, object]:
    tallies = [outcome.tally for outcome in outcomes]
    liveness = [outcome.liveness_s for outcome in outcomes]
    quiet = [lag for outcome in outcomes for lag in outcome.quiet_lag_s]
    disturbed = [lag for outcome in outcomes for lag in outcome.disturbed_lag_s]
    return {
        "schedules": len(outcomes),
        "emitted": sum(one.emitted for one in tallies),
        "delivered": sum(one.delivered for one in tallies),
        "dead_lettered": sum(one.dead_lettered for one in tallies),
        "spooled": sum(one.spooled for one in tallies),
        "destroyed_with_topic": sum(one.destroyed for one in tallies),
        "lost": sum(len(one.lost) for one in tallies),
        "doubled_after_dedup": sum(len(one.doubled) for one in tallies),
        "out_of_order": sum(len(one.out_of_order) for one in tallies),
        "strangers": sum(len(one.strangers) for one in tallies),
        "repeated": sum(one.repeated for one in tallies),
        "uncommitted_at_kill": sum(one.uncommitted for one in tallies),
        "liveness_p95_s": round(percentile(liveness, 0.95), 2),
        "liveness_max_s": round(max(liveness), 2),
        "loop_lag_p95_ms": {
            "during_faults": round(1000 * percentile(disturbed, 0.95), 1),
            "else": round(1000 * percentile(quiet, 0.95), 1),
        },
        "publish_p99_ms": round(1000 * percentile([s for one in outcomes for s in one.publish_s], 0.99), 3),
        "failed_seeds": [outcome.schedule.seed for outcome in outcomes if not held(outcome)],
        "seconds": round(seconds),
    }


async def measure(world: World, schedules: Sequence[Schedule], base: Path, library: Path) -> list[Outcome]:
    found = []
    for _, group in itertools.groupby(schedules, lambda one: one.seed // GROUP):
        for outcome in await run_group(world, list(group), base, library):
            print(described(outcome), flush=True)
            found.append(outcome)
            if held(outcome):
                shutil.rmtree(outcome.folder)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--seed", type=int, help="this one alone")
    given = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.ERROR)  # what it says of brokers that are away is no result
    first, many = (given.first, given.schedules) if given.seed is None else (given.seed, 1)
    schedules = [drawn(seed) for seed in range(first, first + many)]
    base = Path(tempfile.mkdtemp(prefix="trunkline-faults-"))
    began = time.monotonic()
    library = built(base)
    outcomes = []
    for cluster in sorted({one.cluster for one in schedules}):
        world = World(cluster=cluster)
        try:
            world.start()
            of_world = [one for one in schedules if one.cluster == cluster]
            outcomes += asyncio.run(measure(world, of_world, base, library))
        finally:
            world.remove()
    if all(map(held, outcomes)):
        shutil.rmtree(base)
    print(json.dumps(summary(outcomes, time.monotonic() - began)))
    return 0 if all(map(held, outcomes)) else 1


if __name__ == "__main__":
    sys.exit(main())
