"""Bots by the names of their classes."""

import sys
from pathlib import Path

import pytest

from pipeline import BotMisconfigured, BotPlugin, load_bot
from tests.pipeline.stage import info

MODULE = """
class Good:
    name = "good"
    def __init__(self, answer="yes"):
        self.answer = answer
    def attends(self, info):
        return True
    async def attend(self, call):
        pass

class Mute:
    name = "mute"
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_bot_of_ours.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "a_bot_of_ours", raising=False)


def test_a_bot_for_all_calls_and_one_for_a_connector() -> None:
    every = load_bot(BotPlugin(class_="a_bot_of_ours:Good", options={"answer": "no"}))
    assert (every.name, every.attends(info())) == ("good", True)
    sip = load_bot(BotPlugin(class_="a_bot_of_ours:Good", connectors=("sip",)))
    assert (sip.name, sip.attends(info())) == ("good", False)


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (BotPlugin(class_="a_bot_of_ours:Mute"), "it is no bot: it needs name, attends and attend"),
        (BotPlugin(class_="a_bot_of_ours:Bad"), "a_bot_of_ours has no class Bad"),
        (BotPlugin(class_="a_bot_of_ours"), "write it as module:Class"),
        (BotPlugin(class_="no_such_module:Bot"), "cannot be imported: ModuleNotFoundError"),
        (BotPlugin(class_="a_bot_of_ours:Good", options={"x": 1}), "cannot be made with these options: TypeError"),
    ],
)
def test_what_cannot_be_a_bot(plugin: BotPlugin, says: str) -> None:
    with pytest.raises(BotMisconfigured, match=r"\[bots\] plugins: ") as raised:
        load_bot(plugin)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
