from pathlib import Path

import pytest

from pipeline.bots import BotPlugin, BotsConfig
from sinks.config import SinkPlugin, SinksConfig
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config
from trunkline.doctor.findings import Level
from trunkline.doctor.plugins import check_bots, check_plugins

EXAMPLES = Path(__file__).parents[3] / "examples" / "sinks"


def config(*named: str) -> Config:
    options = {"path": "calls.db"}
    return Config(sinks=SinksConfig(plugins=tuple(SinkPlugin(class_=one, options=options) for one in named)))


def test_none() -> None:
    assert [finding.what for finding in check_plugins(Config())] == ["none is configured"]


def test_each_is_made_and_none_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    (tmp_path / "other_sink.py").write_text("class Other:\n    def __init__(self, size): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = list(check_plugins(config("sqlite_table:SqliteTable", "none_such:Sink", "other_sink:Other")))
    one(found, Level.OK, "sqlite_table:SqliteTable: it can be made; its name is 'sqlite'")
    one(found, Level.FAULT, "none_such:Sink: cannot be imported: ModuleNotFoundError")
    one(found, Level.FAULT, "other_sink:Other: cannot be made with these options: TypeError")
    assert not (tmp_path / "calls.db").exists()


def test_two_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    found = list(check_plugins(config("sqlite_table:SqliteTable", "sqlite_table:SqliteTable")))
    one(found, Level.FAULT, "another sink is named 'sqlite', too: rename one")
    assert all_ok(found[:1])


def bots(*plugins: BotPlugin) -> Config:
    return Config(bots=BotsConfig(plugins=plugins))


def test_bots_are_made_and_those_that_cannot_be_say_why() -> None:
    found = list(
        check_bots(
            bots(
                BotPlugin(class_="trunkline_bot:OrderBot", options={"voice": "null"}, connectors=("sip", "webrtc")),
                BotPlugin(class_="trunkline_bot:OrderBot", options={"voice": "loud"}),
                BotPlugin(class_="none_such:Bot"),
            )
        )
    )
    one(found, Level.OK, "trunkline_bot:OrderBot: it can be made; 'order' is asked for calls by sip, webrtc")
    one(found, Level.FAULT, "trunkline_bot:OrderBot: cannot be made with these options: ValueError: voice = 'loud'")
    one(found, Level.FAULT, "none_such:Bot: cannot be imported: ModuleNotFoundError")


def test_no_bots() -> None:
    assert [finding.what for finding in check_bots(bots())] == ["none is configured"]
