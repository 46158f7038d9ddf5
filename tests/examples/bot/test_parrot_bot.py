"""The bot of the documentation."""

from pathlib import Path

import pytest

from pipeline import BotPlugin, CallInfo, load_bot
from tests.examples.bot.room import room
from tests.services.missing import missing
from trunkline_bot.voice import has_espeak


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_espeak():
        missing("espeak-ng is not installed: apt-get install espeak-ng")
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "examples" / "bot")


async def test_it_says_back_what_is_said_and_stops_when_it_is_spoken_to() -> None:
    bot = load_bot(BotPlugin(class_="parrot_bot:ParrotBot", options={"language": "es-US"}))
    async with room(bot, (0.2, "Where is my order and my telephone?"), (4.0, "No.")) as one:
        await one.until(lambda: one.playback.utterances == 2)
        assert one.playback.stops == 1
        assert 0 < one.playback.seconds < 2.3  # of 2.4


def test_it_leaves_the_calls_of_a_queue_alone() -> None:
    bot = load_bot(BotPlugin(class_="parrot_bot:ParrotBot"))
    assert bot.attends(CallInfo("C", "sip"))
    assert not bot.attends(CallInfo("C", "sip", metadata={"queue": "people"}))
