"""The count tells apart what it is to tell apart."""

import json
from pathlib import Path

import pytest

from sinks.message import Message
from sinks.record import encode
from sinks.spool import Spool
from supervision import Supervisor
from testing.faults.count import Consumed, Tally, dead_letters, tally
from testing.faults.journal import Journal
from testing.faults.records import record

SEED = 1


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """With record 9 in it; record 8 is a dead letter."""
    path = tmp_path / "spool"
    made = Spool(path, max_bytes=1 << 20, max_age_s=1e6, on_committed=lambda: None, supervisor=Supervisor())
    made.start()
    made.append([Message("finals", b"call", encode(record(SEED, n)), ()) for n in (8, 9)])
    made.flush(10)
    made.reject(made.read("finals", 0, 1)[0].id)
    made.stop()
    return path


def count(spool: Path, *arrived: int, destroyed: frozenset[int] = frozenset()) -> Tally:
    """Of records 0 to 9, all committed, and 10, which was not."""
    lines = ["up 0 1.0", *(f"published {n} 1.0 0.0" for n in range(11)), "committed 9 2.0"]
    path = spool.with_name("journal")
    path.write_text("\n".join([*lines, "acknowledged 3 2."]))  # cut off
    consumed = [Consumed("topic", 0, record(SEED, n)) for n in arrived]
    return tally(Journal(path).follow(), consumed, set(dead_letters(spool)), spool, set(destroyed))


def test_every_record_is_in_one_place(spool: Path) -> None:
    found = count(spool, 0, 1, 2, 3, 4, 5, 6, 5, 6, destroyed=frozenset({6, 7}))
    assert found.kept
    assert (found.emitted, found.delivered, found.dead_lettered, found.spooled, found.destroyed) == (10, 7, 1, 1, 1)
    assert (found.repeated, found.uncommitted, found.uncommitted_arrived) == (2, 1, 0)


def test_what_breaks_the_promise_is_named(spool: Path) -> None:
    assert count(spool, 0, 1, 2, 3, 4, 5, 6).lost == (7,)
    assert count(spool, *range(9)).doubled == (8,)
    assert count(spool, *range(8), 11).strangers == (11,)
    calls = [json.loads(encode(record(SEED, n)))["call_id"] for n in range(8)]
    earlier = next(k for k in range(7) if calls[k] == calls[7])
    swapped = [*range(earlier), 7, *range(earlier, 7)]
    assert earlier in count(spool, *swapped).out_of_order
    assert not count(spool, *swapped).lost
