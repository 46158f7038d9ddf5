"""Sinks of the user's own: how they are found, and what is said where they are not."""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks import fanout
from sinks.config import SinkPlugin
from sinks.errors import SinkMisconfigured
from sinks.fanout import FanOut
from sinks.plugin import load_plugin
from tests.sinks.records import end, start, transcript
from tests.sinks.waiting import taken, until

EXAMPLES = Path(__file__).parents[2] / "examples" / "sinks"

MODULE = """
from sinks.errors import SinkMisconfigured

class Good:
    name = "good"
    def __init__(self, **options): self.options = options
    async def start(self): ...
    async def write(self, records): ...
    async def close(self): ...

class Half:
    name = "half"
    async def write(self, records): ...

class Fussy(Good):
    def __init__(self): raise SinkMisconfigured("fussy: nothing is right")

class Broken(Good):
    def __init__(self): raise KeyError("boom")
"""


@pytest.fixture(autouse=True)
def _importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    (tmp_path / "own_sinks.py").write_text(MODULE)
    (tmp_path / "no_python.py").write_text("class")
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(3)")
    yield
    for name in sys.modules.keys() - known:
        del sys.modules[name]


def test_a_class_is_made_with_its_options() -> None:
    sink = load_plugin(SinkPlugin(class_="own_sinks:Good", options={"path": "x", "size": 3}))
    assert (sink.name, sink.options) == ("good", {"path": "x", "size": 3})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("own_sinks.Good", "write it as module:Class"),
        (":Good", "write it as module:Class"),
        ("not_there:Good", "cannot be imported: ModuleNotFoundError: No module named 'not_there': install it, or name"),
        ("no_python:Good", "cannot be imported: SyntaxError: "),
        ("ends:Good", "cannot be imported: SystemExit: 3"),
        ("own_sinks:Godo", "own_sinks has no class Godo"),
        ("own_sinks:Half", "it is no sink: it needs name, start, write and close"),
        ("own_sinks:Broken", "cannot be made with these options: KeyError: 'boom'"),
    ],
)
def test_what_is_no_sink_is_told_in_one_line(named: str, said: str) -> None:
    with pytest.raises(SinkMisconfigured) as caught:
        load_plugin(SinkPlugin(class_=named))
    text = str(caught.value)
    assert text.startswith(f"[sinks] plugins: {named}: {said}")
    assert "\n" not in text


def test_a_sink_says_itself_what_it_is_missing() -> None:
    with pytest.raises(SinkMisconfigured, match="fussy: nothing is right"):
        load_plugin(SinkPlugin(class_="own_sinks:Fussy"))


async def test_the_example_keeps_what_was_said_and_waits_for_a_table_that_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "RETRY_FIRST_S", 0.01)
    path = tmp_path / "calls.db"
    sink = load_plugin(SinkPlugin(class_="sqlite_table:SqliteTable", options={"path": str(path)}))
    fan = FanOut([sink])
    await fan.start()
    sink._database.execute("PRAGMA busy_timeout = 10")  # type: ignore[attr-defined]
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    fan.publish([start(), transcript("hel"), transcript("Hello.", revision=1, final=True), end()])
    await until(lambda: fan.deliveries["sqlite"].errors > 0)
    assert fan.deliveries["sqlite"].spooled == 3
    other.execute("ROLLBACK")
    await until(lambda: taken(fan, "sqlite") == 4)
    fan.publish([transcript("Hello.", revision=1, final=True)])
    await until(lambda: taken(fan, "sqlite") == 5)
    await fan.close(1.0)
    assert other.execute("SELECT call_id, leg, transcript FROM finals").fetchall() == [("CA1", "caller", "Hello.")]
    other.close()


def test_the_example_is_short() -> None:
    assert (EXAMPLES / "sqlite_table.py").read_text().count("\n") <= 50


async def test_the_example_says_where_it_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "none" / "calls.db"
    sink = load_plugin(SinkPlugin(class_="sqlite_table:SqliteTable", options={"path": str(path)}))
    with pytest.raises(SinkMisconfigured, match=f"sqlite: {path}: unable to open database file"):
        await sink.start()
