"""The folder of Parquet files, with processes that end in the middle of what they do."""

import itertools
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples.analytics.calls import call
from tests.examples.analytics.topics import stored
from trunkline_analytics import store as store_module
from trunkline_analytics.compact import compact
from trunkline_analytics.errors import StoreFailed
from trunkline_analytics.records import UNREAD, Row, read
from trunkline_analytics.store import (
    Partition,
    Store,
    covers,
    file_name,
    folder_of,
    folders,
    live_files,
    merged,
    ranges_of,
    sole,
)

PLACE = Partition("trunkline.transcripts", 0)
PLACE_FIELDS = {"topic": PLACE.topic, "partition": PLACE.number}

Topic = list[dict[str, Any]]
"""Rows of one partition, the offset being the place in the list."""


class KilledError(BaseException):
    """Stands for the end of the process: nothing handles it, nothing is done after it."""


@contextmanager
def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ends what runs within after so many changes of a folder: renames and deletions."""
    counter = itertools.count(1)

    def step(plain: Any) -> Any:
        def change(*arguments: Any, **named: Any) -> Any:
            result = plain(*arguments, **named)
            if next(counter) == steps:
                raise KilledError
            return result

        return change

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", step(Path.replace))
        patch.setattr(Path, "unlink", step(Path.unlink))
        try:
            yield
        except KilledError:
            return


def topic(numbers: list[int]) -> Topic:
    """A record for each number, the same record for the same number; those of odd numbers are of another day."""
    made = []
    for offset, number in enumerate(numbers):
        at = datetime(2026, 11, 24 + number % 2, 12, tzinfo=UTC)
        fields = call([], f"CA{number}", began=at)[0]
        outcome = read(msgspec.json.encode(fields))
        assert isinstance(outcome, Row)
        made.append(outcome.fields | PLACE_FIELDS | {"offset": offset})
    return made


def write_batch(store: Store, rows: Topic) -> None:
    by_folder: dict[Path, tuple[str, Topic]] = {}
    for row in rows:
        by_folder.setdefault(folder_of(store.root, "call", row["at"]), ("call", []))[1].append(row)
    store.write(PLACE, rows[0]["offset"], rows[-1]["offset"], by_folder)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_killed_and_compacted_in_between_every_record_is_there_once(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """A collector reads on from its committed offset, in batches of any size; it and compactions end anywhere."""
    rows = topic(data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=20)))
    expected = {row["event_id"] for row in rows}
    root = Path(tempfile.mkdtemp())
    try:
        committed, store = 0, Store(root)
        while committed < len(rows):
            size = data.draw(st.integers(1, 6))
            steps = data.draw(st.integers(1, 4))
            with killed_after(steps, monkeypatch):
                write_batch(store, rows[committed : committed + size])
                if data.draw(st.booleans()):
                    raise KilledError  # before the commit
                committed = min(committed + size, len(rows))
                if data.draw(st.booleans()):
                    continue
                raise KilledError
            store = Store(root)
            assert max(Counter(stored(root)).values(), default=1) == 1
            if data.draw(st.booleans()) and root.is_dir():
                with killed_after(data.draw(st.integers(1, 8)), monkeypatch):
                    compact(root)
                assert max(Counter(stored(root)).values(), default=1) == 1
        assert Counter(stored(root)) == Counter(expected)
        compact(root)
        assert Counter(stored(root)) == Counter(expected)
    finally:
        shutil.rmtree(root)


def test_compaction_makes_one_file_of_a_folder_and_the_next_has_nothing_to_do(tmp_path: Path) -> None:
    rows = topic([0, 2, 4, 1, 6, 8])
    store = Store(tmp_path)
    for row in rows:
        write_batch(store, [row])
    done = compact(tmp_path)
    assert (done.files, done.into, done.doubles) == (5, 1, 0)
    assert [len(list(folder.glob("*.parquet"))) for folder in folders(tmp_path)] == [1, 1]
    assert compact(tmp_path).files == 0
    [even, odd] = [ranges_of(live_files(folder)) for folder in folders(tmp_path)]
    assert even == {PLACE: [(0, 2), (4, 5)]}
    assert odd == {PLACE: [(3, 3)]}


def test_compaction_drops_doubles_that_two_collectors_have_written(tmp_path: Path) -> None:
    rows = topic([0, 2, 4])
    write_batch(Store(tmp_path), rows)
    [folder] = folders(tmp_path)
    shutil.copy(folder / file_name(PLACE, 0, 2), folder / file_name(PLACE, 1, 3))
    assert len(stored(tmp_path)) == 6
    assert compact(tmp_path).doubles == 3
    assert Counter(stored(tmp_path)) == Counter(row["event_id"] for row in rows)


def test_files_stay_apart_above_the_target(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for row in topic([0, 2, 4, 6]):
        write_batch(store, [row])
    [folder] = folders(tmp_path)
    size = max(path.stat().st_size for path in folder.iterdir())
    assert compact(tmp_path, target_bytes=2 * size).into == 2
    assert len(live_files(folder)) == 2


def test_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for row in topic([0, 2, 4]):
        write_batch(store, [row])
    [folder] = folders(tmp_path)
    damaged = folder / file_name(PLACE, 1, 1)
    damaged.write_bytes(damaged.read_bytes()[:50])
    done = compact(tmp_path)
    assert done.damaged == [str(damaged)]
    assert sorted(path.name for path in live_files(folder)) == sorted([damaged.name, *compacted_names(folder)])
    Store(tmp_path).write(PLACE, 9, 9, {folder: ("call", [topic([8])[0] | {"offset": 9}])})


def compacted_names(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("compacted-*.parquet")]


def test_one_compaction_at_a_time(tmp_path: Path) -> None:
    with sole(tmp_path), pytest.raises(StoreFailed, match="is being compacted by another process"):
        compact(tmp_path)


def test_temporary_files_are_never_read_and_go_when_their_writer_is_gone(tmp_path: Path) -> None:
    write_batch(Store(tmp_path), topic([0]))
    [folder] = folders(tmp_path)
    fresh, stale = folder / ".new.parquet.1.tmp", folder / ".old.parquet.2.tmp"
    for path in (fresh, stale):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * store_module.STALE_S
    os.utime(stale, (long_ago, long_ago))
    assert len(stored(tmp_path)) == 1
    compact(tmp_path)
    assert fresh.exists()
    assert not stale.exists()


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StoreFailed, match="cannot be written: No space left on device"):
        write_batch(Store(tmp_path), topic([0]))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_only_the_newest_event_ids_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "RECENT_IDS", 2)
    store = Store(tmp_path)
    for row in topic([0, 2, 4, 4, 0]):
        write_batch(store, [row])
    assert store.doubles == 1
    assert len(stored(tmp_path)) == 4
    assert compact(tmp_path).doubles == 1


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)).map(lambda one: (one[0], one[0] + one[1]))))
def test_ranges_cover_what_they_are_made_of_and_are_apart(given_ranges: list[tuple[int, int]]) -> None:
    ranges = merged(given_ranges)
    for offset in range(40):
        assert covers(ranges, offset) == any(first <= offset <= last for first, last in given_ranges)
    assert all(first[1] + 1 < second[0] for first, second in itertools.pairwise(ranges))


def test_rows_without_an_id_are_known_by_their_offsets_wherever_batches_begin(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, UNREAD, datetime(2026, 11, 24, tzinfo=UTC))
    rows = [{"reason": "not JSON", "value": b"{", **PLACE_FIELDS, "offset": offset} for offset in range(6)]
    for first, last in ((0, 2), (0, 1), (2, 4), (1, 5)):
        Store(tmp_path).write(PLACE, first, last, {folder: (UNREAD, rows[first : last + 1])})
        assert sorted(stored(tmp_path, "offset")) == list(range(max(3, last + 1)))
        compact(tmp_path)
